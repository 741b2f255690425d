"""What a program on trio uses. `pipebus_asyncio` and `pipebus_trio` differ in nothing else."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Unpack

import trio

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.client import BaseClient
from pipebus_anyio.observe.logs import LogFormat
from pipebus_anyio.options import Options, ServeOptions
from pipebus_anyio.process import prepare, run_until_signal
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import Server
from pipebus_anyio.server import serve as serve_in
from pipebus_trio.runtime import TrioRuntime


def serve(
    pipeline: Pipeline[Any], **options: Unpack[ServeOptions]
) -> AbstractAsyncContextManager[Server]:
    """Serve a pipeline within a block.

    `async with serve(pipeline, bind="127.0.0.1:0") as server:`; the options are those of
    `pipebus_anyio.options.ServeOptions`. Leaving the block drains (`Limits.grace`); leaving it by
    an exception ends at once. Nothing global is touched: no signal, no logging. Raises `OSError`
    if an address cannot be listened at, `RegistrationError` for declarations in conflict,
    `ValueError` for an option that is wrong.
    """
    return serve_in(TrioRuntime, pipeline, Options(**options))


def run(
    pipeline: Pipeline[Any],
    *,
    started: Callable[[Server], None] | None = None,
    log_level: int | str = "INFO",
    log_format: LogFormat = "text",
    **options: Unpack[ServeOptions],
) -> None:
    """Serve a pipeline and own the process: signals, the limit of open files, logging.

    SIGTERM or SIGINT drains and returns; a second one ends at once by `SystemExit` (128 + the
    signal). `started` is called with the `Server` once it accepts. `log_level` is the root
    logger's and `log_format` (`text` or `json`) how its lines look, where no handler is configured
    yet. The other options and errors are `serve`'s.
    """
    ready = Options(**options)
    prepare(log_level, log_format)

    async def main() -> int:
        return await run_until_signal(TrioRuntime, pipeline, ready, started)

    status = trio.run(main)
    if status:
        raise SystemExit(status)


class Client(BaseClient):
    """Outgoing HTTP calls over a pool of its own: see `BaseClient`."""

    __slots__ = ()

    def _new_runtime(self) -> Runtime:
        return TrioRuntime()
