"""`serve`: a pipeline's engine, its driver and its listeners, from start to drained."""

import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from pipebus.engine.admin_routes import Operated, admin_pipeline
from pipebus.engine.engine import Engine
from pipebus.engine.http_calls import TaskClient
from pipebus.engine.metrics import collect
from pipebus.engine.wiring import wire_subscribers
from pipebus.http.message import Address
from pipebus.http.wire import WireCodec
from pipebus.limits import Limits
from pipebus.pipeline.client_protocol import HttpClientProtocol
from pipebus.pipeline.declare import Pipeline
from pipebus.telemetry.families import Family
from pipebus.telemetry.trace import Tracer, Tracing
from pipebus_anyio.bind import Bind
from pipebus_anyio.bus import ServerBus
from pipebus_anyio.host import Driver, Host
from pipebus_anyio.network import Network, SocketNetwork
from pipebus_anyio.observe.logs import access_log
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.streams import StreamsDriver
from pipebus_anyio.tls import client_contexts, server_context

logger: logging.Logger = logging.getLogger("pipebus")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What tests and measurements replace: network, wall clock, what makes ids, the engine."""

    network: Network | None = None
    """None: sockets."""
    wall: Callable[[], float] = time.time
    id_prefix: str = ""
    """Of every id; empty: random, so that ids of two processes differ."""
    new_engine: Callable[..., Engine] = Engine
    """What makes the engine, or wraps one: to read clocks round it, which the core may not."""


REAL: Final = Surroundings()

ADMIN: Final = "admin: "
"""How the text of an `OSError` begins where the admin listener cannot listen."""
_ADMIN_LIMITS: Final = Limits(max_connections=100, max_body=0, grace=1.0)


def url_of(scheme: str, address: Address) -> str:
    """Return the base URL of an address, or `unix:` and a path."""
    if isinstance(address, str):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}"


class Server:
    """A pipeline that is being served. `engine` is the core machine, for counts and for tests."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        driver: Driver,
        wire: WireCodec,
        options: Options,
        admin: "Server | None" = None,
    ) -> None:
        self._host = host
        self._admin = admin
        self.engine = engine
        self.options = options
        self.addresses: list[Address] = []
        """Where it listens: `(host, port)`, or the path of a UNIX socket; ports as they are."""
        self.admin_urls: list[str] = [] if admin is None else admin.urls
        """Where the admin listener is, if there is one: each the base of its paths."""
        self.bus: ServerBus = ServerBus(host, engine)
        self.client: HttpClientProtocol = TaskClient(engine, host)
        """Outgoing HTTP calls, over the bus and the pool that handlers use."""
        self.runtime: str = host.runtime_name
        """`asyncio` or `trio`."""
        self.driver: Driver = driver
        """What moves its bytes; `driver.name` names it."""
        self.wire = wire
        """The codec that takes its heads apart."""
        self.draining: bool = False

    @property
    def urls(self) -> list[str]:
        """Every address, such as `http://127.0.0.1:8000` or `unix:/run/app.sock`."""
        scheme = "http" if self.options.tls is None else "https"
        return [url_of(scheme, address) for address in self.addresses]

    @property
    def url(self) -> str:
        """The base URL of the first TCP address."""
        for url in self.urls:
            if not url.startswith("unix:"):
                return url
        msg = "this server listens at no TCP address"
        raise LookupError(msg)

    def metrics(self) -> list[Family]:
        """Read every metric, all at one moment. Any thread may ask; another one waits for the loop.

        Raises `RuntimeError` in another thread once the server has ended.
        """
        return self._host.read(partial(collect, self.engine))

    def open_admin(self, bind: Bind) -> None:
        """Have the admin listener, whose `admin=[]` was nowhere so far, begin to listen soon.

        For one who takes the place of another: who asks is to be told by one of them at a time.
        What cannot be listened at is logged.
        """
        assert self._admin is not None, "`admin` was not an empty list"
        self._admin._host.spawn(self._admin.driver.listen, bind)

    def close_admin(self) -> None:
        """Let the admin listener answer no more, for one who took its place is asked from now on.

        Its own connections are closed, too: who keeps one open would go on to ask here. Any thread
        may say it. Harmless without an admin listener; raises `RuntimeError` in another thread once
        the server has ended.
        """
        if self._admin is not None:
            self._host.read(self._admin.begin_drain)

    def begin_drain(self, begins: Callable[[], None] | None = None) -> None:
        """Stop accepting, finish what is in flight within `Limits.grace`, then close.

        Before that `/readyz` says 503 for `Limits.drain_delay`, and all is served as ever; `begins`
        is called when that is over.
        """
        self.draining = True
        self._host.leave(begins)

    async def wait_drained(self) -> None:
        """Wait until a drain is over."""
        await self._host.wait_drained()

    async def drain(self) -> None:
        """Drain, and wait until that is over."""
        self.begin_drain()
        await self.wait_drained()


@asynccontextmanager
async def hosted(
    new_runtime: Callable[[], Runtime],
    pipeline: Pipeline[Any],
    options: Options,
    surroundings: Surroundings,
) -> AsyncIterator[tuple[Host, Engine, Driver, WireCodec]]:
    """Run a pipeline's engine in a runtime of its own, and close it at the end."""
    wire = options.new_wire()
    with ExitStack() as last:
        async with new_runtime() as runtime:
            engine = surroundings.new_engine(
                pipeline,
                wire=wire,
                id_prefix=surroundings.id_prefix or f"{secrets.token_hex(4)}-",
                now=runtime.now(),
                limits=options.limits,
                client_limits=options.client_limits,
                timeouts=options.timeouts,
                rate_limit=options.rate_limit,
                trusted_proxies=options.trusted_proxies,
                request_id=options.request_id,
                server_timing=options.server_timing,
                tracing=(
                    None
                    if options.tracer is None
                    else Tracing(
                        _on_clock(options.tracer, runtime.now, surroundings.wall),
                        options.trace_ratio,
                        random.random,
                    )
                ),
                health_routes=options.health_routes,
                breaker=options.breaker,
                retry=options.retry,
                random=random.random,
            )
            if options.access_log:
                watching: Pipeline[Any] = Pipeline("access log")  # the user's stays as it is
                access_log(watching)
                wire_subscribers(watching, engine.bus, runtime.now())
            driver = _new_driver(engine, runtime, options, surroundings.network)
            host = Host(engine, runtime, driver, wall=surroundings.wall)
            driver.start(host)
            last.callback(_name_threads, host, runtime)
            last.callback(host.end)
            last.callback(driver.close)
            try:
                yield host, engine, driver, wire
            finally:
                driver.stop_accepting()
                host.close()


@runtime_checkable
class ClockedTracer(Tracer, Protocol):
    """A tracer that writes wall times, so it must know the clock whose times it is told."""

    def with_clock(self, clock: Callable[[], float], wall: Callable[[], float]) -> Tracer:
        """Return one for that monotonic clock; `wall`: seconds since the epoch."""
        ...


def _on_clock(tracer: Tracer, clock: Callable[[], float], wall: Callable[[], float]) -> Tracer:
    # asyncio's clock is `time.monotonic`, trio's begins anywhere.
    return tracer.with_clock(clock, wall) if isinstance(tracer, ClockedTracer) else tracer


def _new_driver(
    engine: Engine, runtime: Runtime, options: Options, network: Network | None
) -> Driver:
    server_tls, client_tls = server_context(options.tls), client_contexts(options.verify)
    # A network of one's own is made of streams.
    if network is None and options.driver_name() == "selector":
        return SelectorDriver(
            engine,
            runtime,
            server_tls=server_tls,
            client_tls=client_tls,
            unix_mode=options.unix_mode,
            proxy_protocol=options.proxy_protocol,
        )
    network = network or SocketNetwork(runtime.new_reader, unix_mode=options.unix_mode)
    return StreamsDriver(
        engine,
        runtime,
        network,
        server_tls=server_tls,
        client_tls=client_tls,
        proxy_protocol=options.proxy_protocol,
    )


def _name_threads(host: Host, runtime: Runtime) -> None:
    """Say which threads were abandoned: none can be ended, and the interpreter waits for them."""
    names = host.threads
    if names:
        logger.error("threads that did not end: %s", ", ".join(names))
        if runtime.on_stuck is not None:
            runtime.on_stuck(names)


@asynccontextmanager
async def serve(
    new_runtime: Callable[[], Runtime],
    pipeline: Pipeline[Any],
    options: Options,
    surroundings: Surroundings = REAL,
) -> AsyncIterator[Server]:
    """Serve a pipeline; leaving the block drains, leaving it by an exception ends at once.

    The pipeline's lifespan is around it all but the admin listener: entered first, left when every
    handler has gone.
    """
    lifespan: AbstractAsyncContextManager[Any] = (
        nullcontext() if pipeline.lifespan is None else pipeline.lifespan()
    )
    operated = Operated()
    async with (
        _admin(new_runtime, operated, options) as admin,
        lifespan as state,
        hosted(new_runtime, pipeline, options, surroundings) as (host, engine, driver, wire),
    ):
        engine.start(state, host.now())
        operated.engine = engine
        server = Server(host, engine, driver, wire, options, admin)
        server.addresses = await driver.listen(options.bind)
        yield server
        await server.drain()


@asynccontextmanager
async def _admin(
    new_runtime: Callable[[], Runtime], operated: Operated, options: Options
) -> AsyncIterator[Server | None]:
    """Serve what an operator asks, by an engine of its own: no load and no drain is in its way."""
    if options.admin is None:
        yield None
        return
    own = Options(
        bind=options.admin, limits=_ADMIN_LIMITS, wire=options.wire, driver=options.driver,
        unix_mode=options.unix_mode,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        try:
            admin = await stack.enter_async_context(
                serve(new_runtime, admin_pipeline(operated), own)
            )
        except OSError as error:  # which of the two listeners cannot have its address?
            error.strerror = f"{ADMIN}{error.strerror or error}"
            raise
        yield admin
