"""An HTTP client over a bus of its own, without a server: every call is a pair of events."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipebus.engine.engine import Engine
from pipebus.engine.http_calls import TaskClient
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import REAL, hosted


@asynccontextmanager
async def client_on_bus(
    new_runtime: Callable[[], Runtime], pipeline: Pipeline[None], options: Options
) -> AsyncIterator[tuple[TaskClient, Engine]]:
    """Give a client whose calls the subscribers of `pipeline` see, and the engine, for counts.

    A `Client` has no bus, and `serve` would want an address to listen at.
    """
    async with hosted(new_runtime, pipeline, options, REAL) as (host, engine, _, _):
        yield TaskClient(engine, host), engine
