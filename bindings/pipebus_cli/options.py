"""What the serving commands share: options, and what they make of them."""

import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Group, Parameter
from cyclopts.token import Token

from pipebus.http.forwarded import TrustedProxies
from pipebus.limits import Limits
from pipebus.resilience.rate_limit import RateLimit
from pipebus.telemetry.trace import Tracer
from pipebus_anyio.bind import BindTo, TcpBind, parse_bind
from pipebus_anyio.observe.logs import LogFormat
from pipebus_anyio.options import DriverName, Options, ServeOptions, Wire
from pipebus_anyio.server import Server
from pipebus_anyio.tls import TLSConfig
from pipebus_cli.errors import USAGE, CliError, explain
from pipebus_cli.numbers import show
from pipebus_cli.runtimes import RuntimeName

logger: logging.Logger = logging.getLogger("pipebus")

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


def _number(_: object, tokens: Sequence[Token]) -> float:
    """Read a number that is no duration: two a minute is not `2m`."""
    text = tokens[0].value
    try:
        return float(text)
    except ValueError:
        msg = f"{text!r} is no number"
        raise ValueError(msg) from None


_MOST_PORT: Final = 65_535
WireOption = Annotated[Wire, Parameter(validator=_installed)]
NumberOption = Annotated[float, Parameter(converter=_number)]


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
    tls_cert: Path | None = None
    """Serve https: the certificate with its chain, PEM."""
    tls_key: Path | None = None
    """Its private key, PEM; without: in the certificate's file."""
    admin: str | None = None
    """HOST:PORT or unix:PATH of /livez, /readyz and /metrics; with --workers each has its own port:
    this one and those after it."""
    health_routes: bool = False
    """Serve /livez and /readyz beside the pipeline's routes, too."""
    rate_limit: NumberOption | None = None
    """Requests a second that each client may send; beyond: 429. Each process counts for itself, so
    with --workers N it may be up to N times as many."""
    rate_burst: int | None = None
    """Requests that it may send at once; by default as many as in a second."""
    trusted_proxy: tuple[str, ...] = ()
    """A network, such as 10.0.0.0/8, or `unix`, whose X-Forwarded-For, Forwarded and X-Request-ID
    are believed; may be given several times."""
    proxy_protocol: bool = False
    """Every connection begins with a PROXY protocol header, version 1 or 2."""
    request_id: bool = False
    """Put an X-Request-ID into every response."""
    server_timing: bool = False
    """Put a Server-Timing into every response."""
    tracing: bool = False
    """Record spans by OpenTelemetry's global tracer provider, which the program sets up."""
    trace_ratio: NumberOption | None = None
    """Of requests without a trace context, the part that --tracing records; 1, all, by default."""
    access_log: bool = False
    """Log each request at its end."""
    log_format: LogFormat = "text"
    """How log lines look."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for what does not go together."""
        if self.workers is not None and self.workers < 1:
            msg = f"--workers must be 1 or more, not {self.workers}"
            raise ValueError(msg)
        if self.rate_burst is not None and self.rate_limit is None:
            msg = "--rate-burst needs --rate-limit"
            raise ValueError(msg)
        if self.trace_ratio is not None and not self.tracing:
            msg = "--trace-ratio needs --tracing"
            raise ValueError(msg)
        if self.trace_ratio is not None and not 0.0 <= self.trace_ratio <= 1.0:
            msg = f"--trace-ratio must be 0 to 1, not {self.trace_ratio:g}"
            raise ValueError(msg)


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


def admin_addresses(options: ServingOptions) -> list[tuple[str, int]]:
    """Return where the admin listener of each worker is: a port, and those after it.

    With port 0 each has any free one. Raises `CliError` for what is no such address.
    """
    if options.admin is None:
        return []
    with _said_of("--admin"):
        [found] = parse_bind(options.admin)
    workers = options.workers or 1
    if not isinstance(found, TcpBind) or found.port + workers - 1 > _MOST_PORT:
        msg = f"--admin needs a port for each of {workers} workers, not {options.admin}"
        raise CliError(msg, USAGE)
    step = 1 if found.port else 0
    return [(found.host, found.port + step * slot) for slot in range(workers)]


def serve_options(options: ServingOptions, limits: Limits, bind: Sequence[BindTo]) -> ServeOptions:
    """Return the arguments of `run`; raises `CliError` for a certificate that will not do.

    Likewise for an address of the admin listener, a network or a rate that is none.
    """
    with _said_of("--admin"):
        if options.admin is not None:
            parse_bind(options.admin)
    with _said_of("--trusted-proxy"):
        TrustedProxies(options.trusted_proxy)
    return ServeOptions(
        bind=bind,
        tls=_tls(options.tls_cert, options.tls_key),
        limits=limits,
        driver=options.driver,
        wire=options.wire,
        admin=options.admin,
        health_routes=options.health_routes,
        rate_limit=_rate_limit(options),
        trusted_proxies=options.trusted_proxy,
        proxy_protocol=options.proxy_protocol,
        request_id=options.request_id,
        server_timing=options.server_timing,
        tracer=_tracer() if options.tracing else None,
        trace_ratio=1.0 if options.trace_ratio is None else options.trace_ratio,
        access_log=options.access_log,
    )


def _tracer() -> Tracer:
    try:
        from pipebus_anyio.observe.tracing import OpenTelemetryTracer  # needs the extra
    except ImportError as error:
        raise CliError(str(error), USAGE) from error
    return OpenTelemetryTracer()


def warn_of_no_provider() -> None:
    """Log that spans go nowhere, if the program, which has started, set up no tracer provider."""
    from pipebus_anyio.observe.tracing import has_provider  # `serve_options` has found it

    if not has_provider():
        logger.warning("--tracing: no tracer provider was set up, so no span is recorded")


def _rate_limit(options: ServingOptions) -> RateLimit | None:
    if options.rate_limit is None:
        return None
    with _said_of("--rate-limit"):
        return RateLimit(options.rate_limit, options.rate_burst)


@contextmanager
def _said_of(option: str) -> Iterator[None]:
    """Turn a value that will not do into one line about its option."""
    try:
        yield
    except ValueError as error:
        msg = f"{option}: {error}"
        raise CliError(msg, USAGE) from error


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
    clients = _clients(server.options)
    if clients:
        lines.append(f"clients: {', '.join(clients)}")
    lines += [f"listening at {url}" for url in server.urls]
    if workers is None:  # else each has its own, which the supervisor says
        lines += [f"admin at {url}" for url in server.admin_urls]
    return "\n".join(lines)


def _clients(options: Options) -> list[str]:
    """Say who counts as a client, and what each may send, where that is not the default."""
    said = []
    limit = options.rate_limit
    if limit is not None:
        said.append(f"{limit.rate:g} requests a second, {limit.size} at once")
    if options.trusted_proxies:
        said.append(f"trusted proxies {' '.join(options.trusted_proxies)}")
    if options.proxy_protocol:
        said.append("PROXY protocol")
    return said


def differences(limits: Limits) -> list[str]:
    """Return the limits that are not the defaults, each as `max-body 64M (default 16M)`."""
    return [
        f"{field.name.replace('_', '-')} {show(value)} (default {show(field.default)})"
        for field in fields(limits)
        if (value := getattr(limits, field.name)) != field.default
    ]
