"""What the serving commands share: options, and what they make of them."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from pipebus.limits import Limits
from pipebus_anyio.bind import BindTo, parse_bind
from pipebus_anyio.options import DriverName, Options, ServeOptions, Wire
from pipebus_anyio.server import Server
from pipebus_anyio.tls import TLSConfig
from pipebus_cli.errors import USAGE, CliError, explain
from pipebus_cli.numbers import show
from pipebus_cli.runtimes import RuntimeName

LimitOptions = Annotated[
    Limits | None,
    Parameter(
        name="*",
        group=Group.create_ordered(
            "Limits", help="k, M and G are powers of 1,024; durations in seconds (or 250ms, 2m)."
        ),
    ),
]


def _installed(_: object, wire: str) -> None:
    Options(wire=wire).new_wire()


WireOption = Annotated[Wire, Parameter(validator=_installed)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How to serve."""

    runtime: RuntimeName = "asyncio"
    """The async library."""
    driver: DriverName = "auto"
    """What moves bytes."""
    wire: WireOption = "auto"
    """What takes message heads apart."""
    host: str = "127.0.0.1"
    """A name or an address to listen at; empty: every interface."""
    port: int | None = None
    """8000 by default; 0: any free one, which is printed."""
    uds: Path | None = None
    """A UNIX socket to listen at: in place of a port, or beside the one that --port names."""
    fd: tuple[int, ...] = ()
    """The number of an inherited socket to listen at, such as systemd's 3; likewise."""
    workers: int | None = None
    """Processes that share the addresses; SIGHUP replaces them, one by one."""
    worker: Annotated[str | None, Parameter(show=False)] = None
    """What `worker.SupervisorLink` takes, where this process is one of them."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a number of workers that is none."""
        if self.workers is not None and self.workers < 1:
            msg = f"--workers must be 1 or more, not {self.workers}"
            raise ValueError(msg)

    tls_cert: Path | None = None
    """Serve https: the certificate with its chain, PEM."""
    tls_key: Path | None = None
    """Its private key, PEM; without: in the certificate's file."""


def addresses(options: ServingOptions) -> list[BindTo]:
    """Return where to listen; raises `CliError` for what is no address."""
    bind: list[BindTo] = [f"fd:{number}" for number in options.fd]
    if options.uds is not None:
        bind.append(f"unix:{options.uds}")
    if not bind or options.port is not None:
        bind.append((options.host, 8000 if options.port is None else options.port))
    try:
        parse_bind(bind)
    except ValueError as error:
        raise CliError(str(error), USAGE) from error
    return bind


def serve_options(options: ServingOptions, limits: Limits, bind: Sequence[BindTo]) -> ServeOptions:
    """Return the arguments of `run`; raises `CliError` for a certificate that will not do."""
    return ServeOptions(
        bind=bind,
        tls=_tls(options.tls_cert, options.tls_key),
        limits=limits,
        driver=options.driver,
        wire=options.wire,
    )


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            msg = "--tls-key needs --tls-cert"
            raise CliError(msg, USAGE)
        return None
    try:
        return TLSConfig(certfile=cert, keyfile=key).context()
    except OSError as error:
        files = f"{cert}" if key is None else f"{cert} with the key {key}"
        msg = f"cannot use the PEM certificate {files}: {explain(error)}"
        raise CliError(msg) from error


def banner(what: str, workers: int | None, server: Server) -> str:
    """Say what was chosen, where it listens, and which limits are not the defaults."""
    grace = show(server.options.limits.grace)
    stack = f"{server.runtime}, driver {server.driver.name}, wire {server.wire.name}"
    lines = [f"{what} on {stack}, grace {grace} s"]
    if workers is not None:
        lines[0] += f", {workers} worker{'s' if workers > 1 else ''}"
    changed = differences(server.options.limits)
    if changed:
        lines.append(f"limits: {', '.join(changed)}")
    lines += [f"listening at {url}" for url in server.urls]
    return "\n".join(lines)


def differences(limits: Limits) -> list[str]:
    """Return the limits that are not the defaults, each as `max-body 64M (16M)`."""
    return [
        f"{field.name.replace('_', '-')} {show(value)} ({show(field.default)})"
        for field in fields(limits)
        if (value := getattr(limits, field.name)) != field.default
    ]
