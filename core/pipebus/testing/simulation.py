"""A pipeline under test: requests in, answers out, and a clock that moves when it is told to."""

from collections.abc import Callable, Mapping, Sequence
from random import Random  # noqa: TID251 (seeded: a run that can be had again)
from types import TracebackType
from typing import Any, Final, Self

from pipebus.bus.event import Event
from pipebus.bus.topic import TopicTrie, check_pattern
from pipebus.engine.calls import Call, HttpCall
from pipebus.engine.engine import Engine
from pipebus.engine.host import Start
from pipebus.errors import NeedsRuntime
from pipebus.http.client import ClientRequest, ClientResponse
from pipebus.http.headers import Headers, HeadersInput
from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.declare import Pipeline, SubscriberDecl
from pipebus.pipeline.handlers import Handler
from pipebus.resilience.policies import BreakerPolicy, RateLimit, RetryPolicy
from pipebus.telemetry.trace import Tracing
from pipebus.testing.faults import Faults
from pipebus.testing.network import End, Network
from pipebus.testing.node import Node
from pipebus.testing.world import World

ORIGIN: Final = "http://app"
_ADDRESS: Final = ("app", 80)
_PATIENT: Final = Timeouts(connect=None, write=None, read=None, pool=None, total=None)


class SimulatedCall:
    """A request under way: `done`, then `response` or `error`; `cancel` calls it off."""

    def __init__(self, app: "Simulation", call: HttpCall) -> None:
        self._app = app
        self._call = call

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._call.done

    @property
    def error(self) -> BaseException | None:
        """Why there is no response."""
        return self._call.error

    @property
    def response(self) -> ClientResponse:
        """The response; raises the error, or `RuntimeError` while there is neither."""
        if not self._call.done:
            msg = "no answer yet: let time pass with advance(seconds)"
            raise RuntimeError(msg)
        response: ClientResponse = self._call.result()
        return response

    def cancel(self) -> None:
        """Call it off, as a client does that goes away: its connection is reset."""
        app = self._app
        app.client.engine.abandon(self._call, app.world.now)
        app.client.pump()
        app.settle()


class Simulation:
    """Runs a pipeline without sockets, event loop or waiting, in virtual time.

    A client and the pipeline's server, each a whole engine, talk over a simulated network (perfect,
    or with `faults`). Handlers are stepped: an `async def` may await only what its context gives,
    anything else raises `NeedsRuntime`. `state` is `ctx.state`; the lifespan is entered without it.

        with Simulation(pipeline) as app:
            call = app.start("GET", "/slow")
            app.advance(30)
            assert call.response.status == 504

    `events` holds every event so far. Leaving it drains the server, ends what `Limits.grace` did
    not suffice for, and raises `AssertionError` if anything is left behind even then (see
    `left_behind`), such as a handler that swallows its cancellation; `check=False` lets it be.
    """

    def __init__(
        self,
        pipeline: Pipeline[Any],
        *,
        state: object = None,
        limits: Limits | None = None,
        client_limits: ClientLimits | None = None,
        timeouts: Timeouts | None = None,
        wire: WireCodec | None = None,
        faults: Faults | None = None,
        wall: float = 1_700_000_000.0,
        rate_limit: RateLimit | None = None,
        trusted_proxies: Sequence[str] = (),
        request_id: bool = False,
        server_timing: bool = False,
        tracing: Tracing | None = None,
        health_routes: bool = False,
        breaker: BreakerPolicy | None = None,
        retry: RetryPolicy | None = None,
        random: Callable[[], float] | None = None,
        record: bool = True,
        check: bool = True,
    ) -> None:
        """`wall`: what the server's calendar says at first, in seconds since the epoch (UTC).

        `random` draws what jitter there is, from [0, 1); by default the same numbers in every run.
        `record=False` keeps no `events`: for long runs. The other options are those of `serve`.
        """
        self.world: World = World()
        self.network: Network = Network(self.world, faults)
        wire = wire or H11Codec()
        now = self.world.now
        self._pipeline = pipeline
        self._state = state
        self._check = check
        self._manager: Any = None
        self.engine: Engine = Engine(
            pipeline,
            wire=wire,
            id_prefix="s-",
            now=now,
            limits=limits,
            client_limits=client_limits,
            timeouts=timeouts,
            rate_limit=rate_limit,
            trusted_proxies=trusted_proxies,
            request_id=request_id,
            server_timing=server_timing,
            tracing=tracing,
            health_routes=health_routes,
            breaker=breaker,
            retry=retry,
            random=random or Random(0).random,
        )
        self.server: Node = Node("server", self.engine, self.world, self.network)
        self.client: Node = Node(
            "client",
            Engine(Pipeline("client"), wire=wire, id_prefix="c-", now=now, timeouts=_PATIENT),
            self.world,
            self.network,
        )
        self.network.listen(_ADDRESS, self.server)
        self._wire = wire
        self._upstreams: list[Node] = []
        self.engine.set_wall_clock(wall, now)
        self.events: list[Event] = []
        if record:
            recorder = Handler(self.events.append, "inline", takes_context=False, name="recorder")
            declared = SubscriberDecl(">", recorder, "tap")
            self.engine.bus.subscribe(">", now, kind="tap", maxsize=1_000_000, owner=declared)

    # --- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        lifespan = self._pipeline.lifespan
        if self._state is None and lifespan is not None:
            self._manager = lifespan()
            self._state = self._step("lifespan", self._manager.__aenter__())
        self.engine.start(self._state, self.world.now)
        self.settle()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            for node in (self.server, self.client, *self._upstreams):
                node.discard()
            return
        self.drain()
        if self._manager is not None:
            self._step("lifespan", self._manager.__aexit__(None, None, None))
        if self._check:
            rest = {what: count for what, count in left_behind(self.engine).items() if count}
            running = [str(invocation) for invocation in self.engine.invocations]
            assert not rest, f"left behind: {rest} {running}"

    def drain(self) -> None:
        """Drain the server as SIGTERM does, and let the time pass that it takes.

        What is open afterwards is cut, as the end of a process does; client and upstreams go, too.
        """
        self.engine.leave(self.world.now)
        self.server.pump()
        limits = self.engine.limits
        longest = limits.drain_delay + limits.grace + limits.linger_timeout + 1.0
        self.run_until(lambda: self.server.drained, longest)
        self.network.cut(self.server)
        for node in (self.client, *self._upstreams):
            node.engine.close(self.world.now)
        self.settle()

    def serve(
        self, pipeline: Pipeline[Any], host: str, port: int = 80, *, limits: Limits | None = None
    ) -> Node:
        """Have another server answer at `host`:`port`: an upstream for `ctx.client`."""
        number = len(self._upstreams)
        engine = Engine(
            pipeline, wire=self._wire, id_prefix=f"u{number}-", now=self.world.now, limits=limits
        )
        node = Node(host, engine, self.world, self.network)
        self.network.listen((host, port), node)
        self._upstreams.append(node)
        return node

    # --- HTTP ----------------------------------------------------------------------------------

    def start(
        self,
        method: str,
        path: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes = b"",
    ) -> SimulatedCall:
        """Send a request and do all that is possible without time passing."""
        url = path if "://" in path else ORIGIN + path
        request = ClientRequest(method, url, headers, body)
        call = self.client.engine.http(request, self.world.now, timeouts=_PATIENT, on_bus=False)
        self.client.pump()
        self.settle()
        return SimulatedCall(self, call)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes = b"",
        within: float = 60.0,
    ) -> ClientResponse:
        """Send a request and let time pass until it is answered, at most `within` seconds."""
        call = self.start(method, path, headers=headers, body=body)
        self.run_until(lambda: call.done, within)
        return call.response

    def get(self, path: str, *, headers: HeadersInput | Headers = ()) -> ClientResponse:
        """Send a GET."""
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, body: bytes = b"", *, headers: HeadersInput | Headers = ()
    ) -> ClientResponse:
        """Send a POST."""
        return self.request("POST", path, body=body, headers=headers)

    def dial(self) -> End:
        """Open a connection of raw bytes: `send` on it, read what it `received`."""
        end = self.network.dial(_ADDRESS)
        self.settle()
        return end

    def send(self, end: End, data: bytes) -> None:
        """Send raw bytes and do all that is possible without time passing."""
        self.network.send(end, data)
        self.settle()

    # --- the bus -------------------------------------------------------------------------------

    def publish(
        self, topic: str, data: object = None, *, metadata: Mapping[str, str] | None = None
    ) -> Event:
        """Publish from outside any handler, letting time pass while a lossless queue is full."""
        event: Event = self.wait(
            lambda now: self.engine.publish(topic, data, now, metadata=metadata)
        )
        return event

    def bus_request(self, topic: str, data: object = None, *, timeout: float = 30.0) -> Any:
        """Ask a topic's responder from outside any handler, letting time pass until it answers."""
        return self.wait(lambda now: self.engine.request(topic, data, now, timeout=timeout))

    def topics(self, pattern: str = ">") -> list[str]:
        """Return the topics of the events so far that match, in order."""
        return [event.type for event in self.of(pattern)]

    def of(self, pattern: str) -> list[Event]:
        """Return the events so far whose topic matches, in order."""
        check_pattern(pattern)
        trie: TopicTrie[bool] = TopicTrie()
        trie.add(pattern, True)
        return [event for event in self.events if trie.match(event.type)]

    # --- time ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Do all that is possible without time passing; raises `NeedsRuntime` for a handler."""
        self.world.settle()
        self._raise_problem()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.world.advance(seconds)
        self._raise_problem()

    def run_until(self, done: Callable[[], bool], within: float) -> bool:
        """Let time pass until `done()`, at most `within` seconds; say whether it came to that."""
        reached = self.world.run_until(done, self.world.now + within)
        self._raise_problem()
        return reached

    def wait(self, start: Start, within: float = 3_600.0) -> Any:
        """Start a call on the server's engine and let time pass until it is done."""
        call: Call = start(self.world.now)
        self.server.pump()
        if not self.run_until(lambda: call.done, within):
            self.engine.abandon(call, self.world.now)
            msg = f"not done after {within:g} s of virtual time"
            raise TimeoutError(msg)
        return call.result()

    def _step(self, name: str, coroutine: Any) -> Any:
        outcome: list[tuple[Any, BaseException | None]] = []
        self.server.spawn(name, coroutine, lambda *ended: outcome.append(ended))
        self.run_until(lambda: bool(outcome), 60.0)
        if not outcome:
            msg = f"the {name} does not end"
            raise NeedsRuntime(msg)
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def _raise_problem(self) -> None:
        for node in (self.server, self.client, *self._upstreams):
            if node.problems:
                raise node.problems.pop(0)


def left_behind(engine: Engine) -> dict[str, int]:
    """Count what an engine still holds; all zero after everything has ended.

    Keys: exchanges, in_flight, connections, body_bytes, invocations, uploads, client (calls and
    connections of the HTTP client), timers.
    """
    return {
        "exchanges": engine.bus.open_exchanges,
        "in_flight": engine.admission.in_flight,
        "connections": engine.admission.connections,
        "body_bytes": engine.admission.bodies.held,
        "invocations": engine.running,
        "uploads": engine.uploads,
        "client": engine.client.unfinished,
        "timers": len(engine.timers),
    }
