"""Serving and calling without sockets and in virtual time; what both runtimes share.

`run_virtual` of `pipebus_asyncio.testing` or `pipebus_trio.testing` runs a test in a real event
loop whose clock jumps to the next deadline whenever nothing else can run: a timeout of 30 s takes
no time. A thread is not seen by that clock: while one runs, time may jump past what waits for it.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.client import BaseClient, within
from pipebus_anyio.memory import MemoryNetwork, MemoryTransport
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import Server, Surroundings, serve

__all__ = ["MemoryNetwork", "MemoryTransport", "client_in", "serve_in"]

VIRTUAL_EPOCH: Final = 1_700_000_000.0
"""The wall time at the virtual clock's zero: seconds since 1970, in November 2023."""


def _wall() -> float:
    return VIRTUAL_EPOCH + anyio.current_time()


def surroundings(network: MemoryNetwork, id_prefix: str) -> Surroundings:
    """Return what makes a run in `network` repeatable: wall time and ids are fixed."""
    return Surroundings(network, _wall, id_prefix)


def serve_in(
    new_runtime: Callable[[], Runtime],
    pipeline: Pipeline[Any],
    network: MemoryNetwork,
    options: Options,
) -> AbstractAsyncContextManager[Server]:
    """Serve a pipeline within a network in memory."""
    return serve(new_runtime, pipeline, options, surroundings(network, "t-"))


def client_in(client: BaseClient, network: MemoryNetwork) -> None:
    """Let a client that is not open yet connect within a network in memory."""
    within(client, surroundings(network, "c-"))
