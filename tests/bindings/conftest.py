"""The parity matrix: every test of the bindings runs on each runtime, driver and wire codec.

The fixture proves which ran: a responder reports the async library it really runs in, and the
server the classes of its driver and codec.
"""

import importlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import sniffio

from pipebus.bus.event import Event
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.client import BaseClient
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.server import Server
from pipebus_anyio.streams import StreamsDriver
from tests.bindings.quiet import Sweeps

RUNTIMES = ("asyncio", "trio")
DRIVERS = {"streams": StreamsDriver, "selector": SelectorDriver}
WIRES = {"h11": H11Codec, "llhttp": LlhttpCodec}


@dataclass(frozen=True)
class Stack:
    """One cell of the matrix."""

    runtime: str
    driver: str
    wire: str

    def __str__(self) -> str:
        return f"{self.runtime}-{self.driver}-{self.wire}"

    @property
    def package(self) -> ModuleType:
        """pipebus_asyncio or pipebus_trio."""
        return importlib.import_module(f"pipebus_{self.runtime}")

    @property
    def testing(self) -> ModuleType:
        """Its twin in memory and virtual time."""
        return importlib.import_module(f"pipebus_{self.runtime}.testing")

    @asynccontextmanager
    async def serve(self, pipeline: Pipeline[Any], **options: Any) -> AsyncIterator[Server]:
        """Serve on a free port, with this cell's driver and codec, and prove that they run."""
        options.setdefault("bind", "127.0.0.1:0")
        serving = self.package.serve(pipeline, driver=self.driver, wire=self.wire, **options)
        async with self.proven(pipeline, serving) as server:
            yield server

    @asynccontextmanager
    async def proven(
        self, pipeline: Pipeline[Any], serving: AbstractAsyncContextManager[Server]
    ) -> AsyncIterator[Server]:
        async def where_am_i(_: Event) -> str:
            return sniffio.current_async_library()

        # A pipeline is read when the block is entered, so this is in time.
        pipeline.respond("tests.library")(where_am_i)
        async with serving as server:
            assert await server.bus.request("tests.library") == self.runtime == server.runtime
            assert type(server.driver) is DRIVERS[self.driver]
            assert type(server.wire) is WIRES[self.wire]
            yield server

    def new_runtime(self) -> Runtime:
        """Return a runtime of this cell's library."""
        module = importlib.import_module(f"pipebus_{self.runtime}.runtime")
        runtime: Runtime = getattr(module, f"{self.runtime.capitalize()}Runtime")()
        return runtime

    def client(self, **options: Any) -> BaseClient:
        """Return a client on this runtime."""
        client: BaseClient = self.package.Client(wire=self.wire, driver=self.driver, **options)
        return client


STACKS = [Stack(r, d, w) for r in RUNTIMES for d in DRIVERS for w in WIRES]

STREAMS = [stack for stack in STACKS if stack.driver == "streams"]
"""The cells for tests of what only that driver has: transports, and memory in place of sockets."""

DEFAULT_STACKS = [stack for stack in STACKS if (stack.driver, stack.wire) == ("selector", "llhttp")]
"""What users get who choose nothing, one cell for each runtime: for load and for other peers."""


@pytest.fixture(params=STACKS, ids=str)
def stack(request: pytest.FixtureRequest) -> Stack:
    cell: Stack = request.param
    return cell


@pytest.fixture
def anyio_backend(stack: Stack) -> str:
    """Run `async def` tests on the cell's runtime (anyio's plugin asks for this fixture)."""
    return stack.runtime


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    """Count the sweeps of every selector driver that the test starts."""
    sweeps = Sweeps()
    sweep = SelectorDriver._sweep

    def counted(driver: SelectorDriver) -> None:
        sweeps.count += 1
        sweep(driver)

    monkeypatch.setattr(SelectorDriver, "_sweep", counted)
    return sweeps
