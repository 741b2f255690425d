"""What belongs to a process and not to a server: signals, the file limit, logging, the end."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import anyio

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.observe.logs import LogFormat, new_handler
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import Server, serve

logger: logging.Logger = logging.getLogger("pipebus")

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_STUCK_STATUS: Final = 70  # EX_SOFTWARE of sysexits.h


def raise_file_limit() -> int | None:
    """Raise this process's limit of open files to the most it may have; return it, if known."""
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS calls the hard limit infinite and then refuses it
            return soft
    return hard


def end_hard(names: list[str]) -> None:
    """End the process although tasks will not: nothing after this line runs."""
    logger.error("ending the process in spite of: %s", ", ".join(names))
    logging.shutdown()
    os._exit(_STUCK_STATUS)


async def run_until_signal(
    new_runtime: Callable[[], Runtime],
    pipeline: Pipeline[Any],
    options: Options,
    started: Callable[[Server], None] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return 0; a second one ends at once: 128 + it.

    `started` is called once the server accepts; by default the log says where that is.
    """
    if started is None:
        started = _say_where
    status = 0

    async def watch(server: Server, scope: anyio.CancelScope) -> None:
        nonlocal status
        with anyio.open_signal_receiver(*STOP_SIGNALS) as signals:
            started(server)
            async for number in signals:
                name = signal.Signals(number).name
                if server.draining:
                    status = 128 + number
                    scope.cancel()
                    return
                delay = options.limits.drain_delay
                if delay:
                    logger.info("%s: not ready; draining in %g s", name, delay)
                    server.begin_drain(lambda: logger.info("draining"))
                else:
                    logger.info("%s: draining", name)
                    server.begin_drain()

    def new_owned_runtime() -> Runtime:
        runtime = new_runtime()
        runtime.on_stuck = end_hard
        return runtime

    with anyio.CancelScope() as scope:
        async with (
            serve(new_owned_runtime, pipeline, options) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(watch, server, scope)
            await server.wait_drained()
            tasks.cancel_scope.cancel()
    logger.info("ended")
    return status


def _say_where(server: Server) -> None:
    for url in server.urls:
        logger.info("listening at %s", url)
    for url in server.admin_urls:
        logger.info("admin at %s", url)


def prepare(log_level: int | str, log_format: LogFormat = "text") -> None:
    """Make the process ready to serve: log to standard error, unless configured; many files."""
    logging.basicConfig(level=log_level, handlers=[new_handler(log_format)])
    raise_file_limit()
