"""`pipebus serve` and `pipebus echo`: a pipeline, served until a signal."""

import importlib
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipebus.errors import RegistrationError
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio import bind
from pipebus_anyio.process import prepare
from pipebus_anyio.server import ADMIN, Server, url_of
from pipebus_cli.errors import USAGE, CliError, explain
from pipebus_cli.options import (
    ServingOptions,
    addresses,
    admin_addresses,
    banner,
    serve_options,
    warn_of_no_provider,
)
from pipebus_cli.runtimes import choose
from pipebus_cli.supervisor import Supervisor
from pipebus_cli.traces import explain_lifespan, failure
from pipebus_cli.worker import SupervisorLink


def load(target: str) -> Pipeline[Any]:
    """Return the pipeline that `MODULE:PIPELINE` names; modules are sought here first.

    Raises `CliError` if there is none; with a traceback, if the module itself raises.
    """
    module_name, colon, path = target.partition(":")
    if not (colon and path and all(name.isidentifier() for name in module_name.split("."))):
        msg = f"expected MODULE:PIPELINE, such as app:pipeline, not {target!r}"
        raise CliError(msg, USAGE)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        msg = f"cannot import {module_name}: {error}"
        raise CliError(msg) from error
    except RegistrationError as error:
        raise CliError(str(error)) from error
    except Exception as error:
        raise failure(f"cannot import {module_name}", error) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            msg = f"{module_name} has no {path}"
            raise CliError(msg) from error
    if not isinstance(found, Pipeline):
        msg = f"{target} is no Pipeline but a {type(found).__name__}"
        raise CliError(msg)
    return found


def serve(
    what: str, new: Callable[[], Pipeline[Any]], options: ServingOptions, limits: Limits
) -> None:
    """Serve what `new` returns until SIGTERM or SIGINT; `what` begins the banner.

    Raises `CliError` for an address that cannot be listened at and for options that are wrong,
    `SystemExit` after a second signal.
    """
    # Before anything of the user's runs, which may hang, or start programs that inherit.
    link = None if options.worker is None else SupervisorLink(options.worker)
    pipeline = new()
    explain_lifespan(pipeline)
    ready = serve_options(options, limits, addresses(options) if link is None else link.bind)
    if link is not None:
        ready["admin"] = link.admin

    def started(server: Server) -> None:
        text = banner(what, options.workers, server)
        if link is None:
            print(text, flush=True)
        else:
            link.started(text, server)
        if options.tracing:
            warn_of_no_provider()

    try:
        choose(options.runtime).serve(
            pipeline, started=started, log_format=options.log_format, **ready
        )
    except OSError as error:
        if not _from_listening(error):
            raise
        raise CliError(_why_not(error, options)) from error


def supervise(arguments: Sequence[str], options: ServingOptions, limits: Limits) -> int:
    """Serve by `options.workers` processes until SIGTERM or SIGINT; return the exit status.

    `arguments` are the command's own, which each worker is given. What is wrong with the pipeline,
    or the certificate, is the first worker's to find and to say. Raises `CliError` for an address
    that cannot be listened at.
    """
    assert options.workers is not None, "otherwise there is nothing to supervise"
    where, admin_at = addresses(options), admin_addresses(options)
    try:
        sockets = bind.open_listeners_for(options.workers, where)
    except OSError as error:
        raise CliError(_why_not(error, options)) from error
    admin = []
    for number, one in enumerate(admin_at, 1):
        try:
            admin += bind.open_listeners_for(1, one)
        except OSError as error:
            why = _why_not_on(one[0], error)
            raise CliError(f"--admin (worker {number}): {why}") from error
    prepare("INFO", options.log_format)
    supervisor = Supervisor(
        [sys.executable, "-m", "pipebus_cli", *arguments],
        sockets,
        admin=admin,
        grace=limits.drain_delay + limits.grace,
        started=lambda text: print("\n".join([text, *_admin_lines(admin)]), flush=True),
    )
    status = supervisor.run()
    if supervisor.error:
        raise CliError(supervisor.error, status)
    return status


def _admin_lines(admin: Sequence[Sequence[bind.ListeningSocket]]) -> list[str]:
    return [
        f"admin of worker {number} at {url_of('http', one.address)}"
        for number, sockets in enumerate(admin, 1)
        for one in sockets
    ]


def _from_listening(error: BaseException) -> bool:
    """Whether binding raised it, and no fault of this program's."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == bind.__file__ for frame, _ in frames)


def _why_not(error: OSError, options: ServingOptions) -> str:
    reason = error.strerror or ""
    if reason.startswith(ADMIN):
        error.strerror = reason.removeprefix(ADMIN)
        return f"--admin: {_why_not_on(str(options.admin), error)}"
    return _why_not_on(options.host, error)


def _why_not_on(host: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {host}: {explain(error)}"
    text = explain(error)
    return text if text.startswith("cannot listen on ") else f"cannot listen: {text}"
