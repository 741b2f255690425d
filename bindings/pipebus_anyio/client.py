"""`Client`: the HTTP client for programs without a server."""

import ssl
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, NoReturn, Self

from pipebus.engine.engine import Engine
from pipebus.engine.http_calls import TaskClient
from pipebus.limits import ClientLimits, Timeouts
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.telemetry.trace import Tracer
from pipebus_anyio.options import DriverName, Options, Wire
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import REAL, Surroundings, hosted
from pipebus_anyio.tls import StrPath


class _Closed:
    """The host of a client outside its block."""

    def _refuse(self, *_: object) -> NoReturn:
        msg = "a Client works inside its block: `async with Client() as client:`"
        raise RuntimeError(msg)

    now = pump = call = call_from_thread = run_in_loop = _refuse


_CLOSED: Final = _Closed()


class BaseClient(TaskClient):
    """Outgoing HTTP calls over a pool of its own: `async with Client() as client:`.

    `limits` bounds the pool and what a server may send, `timeouts` holds for calls that name none.
    `verify` says how https is checked: True (default), against the system's authorities; the path
    of a PEM file with others; an `ssl.SSLContext`; False, not at all. Redirects are not followed,
    cookies not kept. `breaker` and `retry` say when a server that fails is left alone, and which
    calls are made again; by default neither. `tracer` records each call (`ServeOptions.tracer`).
    Leaving the block closes every connection; calls under way are cancelled.
    """

    __slots__ = ("_options", "_stack", "_surroundings")

    _engine: Engine

    def __init__(
        self,
        *,
        limits: ClientLimits | None = None,
        timeouts: Timeouts | None = None,
        verify: bool | StrPath | ssl.SSLContext = True,
        wire: Wire = "auto",
        driver: DriverName = "auto",
        breaker: BreakerPolicy | None = None,
        retry: RetryPolicy | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._host = _CLOSED
        self._origin = None
        self._on_bus = False
        self._options = Options(
            client_limits=limits or ClientLimits(),
            timeouts=timeouts or Timeouts(),
            verify=verify,
            wire=wire,
            driver=driver,
            breaker=breaker,
            retry=retry,
            tracer=tracer,
        )
        self._surroundings = REAL
        self._stack = AsyncExitStack()

    def _new_runtime(self) -> Runtime:
        raise NotImplementedError  # by pipebus_asyncio and pipebus_trio

    async def __aenter__(self) -> Self:
        if self._host is not _CLOSED:
            msg = "this Client is open already"
            raise RuntimeError(msg)
        pipeline: Pipeline[None] = Pipeline("client")
        opening = hosted(self._new_runtime, pipeline, self._options, self._surroundings)
        host, self._engine, _, _ = await self._stack.enter_async_context(opening)
        self._host = host
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._host = _CLOSED
        await self._stack.__aexit__(kind, error, traceback)


def within(client: BaseClient, surroundings: Surroundings) -> None:
    """Put a client that is not open yet into other surroundings; for tests."""
    client._surroundings = surroundings
