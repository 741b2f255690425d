"""Tests without sockets, in virtual time, on asyncio."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, TypeVarTuple, Unpack

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.memory import MemoryNetwork, MemoryTransport
from pipebus_anyio.options import Options, ServeOptions
from pipebus_anyio.server import Server
from pipebus_anyio.testing import client_in, serve_in
from pipebus_asyncio.api import Client as RealClient
from pipebus_asyncio.runtime import AsyncioRuntime
from pipebus_asyncio.virtual import VirtualTimeLoop

__all__ = ["Client", "MemoryNetwork", "MemoryTransport", "run_virtual", "serve"]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run_virtual(fn: Callable[[*Args], Coroutine[Any, Any, T]], *args: *Args) -> T:
    """Run `fn(*args)` in an event loop of its own whose clock jumps when nothing can run.

    The clock starts at 0. Nothing waits in real time, but for threads and sockets.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(fn(*args))


def serve(
    pipeline: Pipeline[Any], *, network: MemoryNetwork, **options: Unpack[ServeOptions]
) -> AbstractAsyncContextManager[Server]:
    """Serve a pipeline in memory; the options and the rest are those of `pipebus_asyncio.serve`.

    `await network.connect(server.addresses[0])` gives a raw connection to it.
    """
    return serve_in(AsyncioRuntime, pipeline, network, Options(**options))


class Client(RealClient):
    """A `Client` whose connections and names are those of `network`."""

    __slots__ = ()

    def __init__(self, network: MemoryNetwork, **options: Any) -> None:
        super().__init__(**options)
        client_in(self, network)
