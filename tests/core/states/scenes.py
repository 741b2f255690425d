"""How each cell of the table is played: a whole engine, in virtual time, over a network.

`play(resource, state, gone)` brings a resource into a state, takes its owner away, lets all the
time pass that anything could still want, and returns what was seen.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final

from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.engine.calls import RequestCall
from pipebus.http.client import ClientRequest
from pipebus.http.events import HttpFailed
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.network import End
from pipebus.testing.tasks import StepTask
from tests.core.states.table import Answer

LIMITS: Final = Limits(
    head_timeout=10.0, idle_timeout=11.0, body_timeout=12.0, write_timeout=13.0,
    request_timeout=20.0, stream_idle=14.0, publish_timeout=15.0, half_close_grace=1.0,
    linger_timeout=2.0, grace=2.5, subscription_queue=1,
)  # fmt: skip
CLOCKS: Final = Timeouts(connect=6.0, write=6.0, read=6.0, pool=3.0, total=40.0)


class Stage:
    """A program, a raw peer, a caller within the program, and what becomes of them."""

    def __init__(self) -> None:
        self.app = Simulation(
            self._pipeline(),
            limits=LIMITS,
            client_limits=ClientLimits(max_connections=1),
            timeouts=CLOCKS,
        )
        self.app.serve(_upstream(), "up")
        self.app.network.silence(("silent", 80))
        self.peer: End | None = None
        self.call: RequestCall | None = None
        self.exchange: Exchange | None = None
        """The one that the program itself has opened; its call lets go of it in the end."""
        self.handled: list[object] = []
        self.waited = False

    def _pipeline(self) -> Pipeline[None]:
        pipeline: Pipeline[None] = Pipeline()

        @pipeline.route("GET /wait")
        async def wait(request: Request, ctx: Context) -> Response:
            await ctx.sleep(100.0)
            return Response()

        @pipeline.route("GET /one", concurrency=1)
        async def first_waits(request: Request, ctx: Context) -> Response:
            await self.wait_if_first(ctx)
            return Response()

        @pipeline.route("POST /body")
        def body(request: Request) -> Response:
            return Response(200, request.body)

        @pipeline.route("GET /big")
        def big(request: Request) -> Response:
            return Response(200, bytes(300_000))

        @pipeline.route("GET /stream")
        async def stream(request: Request, ctx: Context) -> Response:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"piece"
                await ctx.sleep(100.0)

            return Response.stream(pieces())

        @pipeline.route("GET /do/{what}")
        async def do(request: Request, ctx: Context) -> Response:
            await _do(request.path_params["what"], ctx)
            return Response()

        @pipeline.respond("do")
        async def done(event: Event, ctx: Context) -> None:
            await _do(event.data, ctx)

        @pipeline.respond("one", concurrency=1)
        async def one(event: Event, ctx: Context) -> None:
            await self.wait_if_first(ctx)

        @pipeline.subscribe("stuck", queue=1)
        async def stuck(event: Event, ctx: Context) -> None:
            await ctx.sleep(1_000.0)

        @pipeline.subscribe("net.http.request")
        async def watcher(event: Event, ctx: Context) -> None:
            await ctx.sleep(4.0)
            self.handled.append(event.data.target)

        @pipeline.subscribe("work")
        async def worker(event: Event, ctx: Context) -> None:
            await ctx.sleep(8.0)
            self.handled.append(event.data)

        return pipeline

    async def wait_if_first(self, ctx: Context) -> None:
        """Hold the only slot; who gets it afterwards gives it back at once."""
        if not self.waited:
            self.waited = True
            await ctx.sleep(100.0)

    # --- acts -----------------------------------------------------------------------------------

    def connect(self, data: bytes = b"") -> None:
        """Connect the peer, and have it send something."""
        self.peer = self.app.dial()
        if data:
            self.app.send(self.peer, data)

    def get(self, path: str) -> None:
        self.connect(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    def ask(self, topic: str, data: object) -> None:
        """Have the program itself ask."""
        app = self.app
        self.call = app.engine.request(topic, data, app.world.now)
        self.exchange = self.call.exchange
        app.server.pump()
        app.settle()

    def kill(self, task: object) -> None:
        """Cancel a handler's task from outside."""
        assert isinstance(task, StepTask)
        self.app.server.cancel(task)
        self.app.settle()

    def task_of(self, *, kind: str) -> object:
        """Return the task of the oldest invocation of a kind."""
        return next(i.task for i in self.app.engine.invocations if i.kind == kind)

    # --- what is seen ---------------------------------------------------------------------------

    def seen_by_peer(self) -> str:
        """Say which answers the peer got, and how its connection stands."""
        peer = self.peer
        assert peer is not None
        heads = bytes(peer.received).split(b"HTTP/1.1 ")[1:]
        statuses = [head[:3].decode() for head in heads]
        end = "reset" if peer.lost else "closed" if peer.eof else "open"
        return " ".join([*statuses, end])

    def seen_by_caller(self) -> str:
        """Name the error that the caller got."""
        call = self.call
        assert call is not None
        assert call.done
        if call.error is not None:
            return type(call.error).__name__
        assert self.exchange is not None
        return "a reply" if self.exchange.outcome == "replied" else "nobody looks"


async def _do(what: str, ctx: Context) -> None:
    client = ctx.client
    if what == "publish":
        for number in range(4):
            await ctx.publish("stuck", number)
    elif what == "connecting":
        await client.get("http://silent/")
    elif what == "sending":
        await client.post("http://up/deaf", body=bytes(500_000))
    else:
        await client.get("http://up/slow")


def _upstream() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("upstream")

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(30.0)
        return Response()

    @pipeline.route("POST /deaf", stream=True)
    async def deaf(request: StreamRequest, ctx: Context) -> Response:
        await ctx.sleep(30.0)
        return Response()

    return pipeline


# --- connections -------------------------------------------------------------------------------

OPENINGS: Final[dict[str, bytes]] = {
    "no head": b"",
    "head partly": b"GET /wai",
    "body partly": b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
    "running": b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "streaming": b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "response buffered": b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    "lingering": b"GET /wait HTTP/1.1\r\nNo host: at all\r\n\r\n",
}


def connection(stage: Stage, state: str, gone: str) -> Answer:
    app = stage.app
    first = None
    if state == "request queued":
        stage.get("/one")
        first = stage.task_of(kind="route")
        stage.get("/one")
    else:
        stage.connect()
        assert stage.peer is not None
        if state in ("response buffered", "lingering"):  # one that reads would close its side
            app.network.pause(stage.peer)
        app.send(stage.peer, OPENINGS[state])
    session = list(app.engine.dispatch.sessions.values())[-1]
    _peer_leaves(stage, gone, first)
    assert stage.peer is not None
    if state == "response buffered" and gone == "eof":
        app.network.resume(stage.peer)
    app.advance(100.0)
    app.network.resume(stage.peer)
    app.settle()
    name = session.publisher.name
    ends = [
        event
        for event in app.events
        if event.type in ("net.http.response", "net.http.error") and event.source == name
    ]
    assert len(ends) <= 1
    outcome = published = ""
    for event in ends:
        outcome = event.data.outcome
        reason = event.data.reason if isinstance(event.data, HttpFailed) else ""
        published = f"{event.type} {reason}".strip()
    return Answer(outcome, stage.seen_by_peer(), published)


def _peer_leaves(stage: Stage, gone: str, first: object = None) -> None:
    app = stage.app
    assert stage.peer is not None
    if gone == "reset":
        app.network.reset(stage.peer)
    elif gone == "eof":
        app.network.send_eof(stage.peer)
    elif gone == "drain and grace":
        app.engine.drain(app.world.now)
        app.server.pump()
    elif gone == "handler dies":
        stage.kill(first or stage.task_of(kind="route"))
    else:
        assert gone == "timed out"
    app.settle()


# --- exchanges ---------------------------------------------------------------------------------


def exchange(stage: Stage, state: str, gone: str) -> Answer:
    if gone in ("reset", "eof"):
        return connection(stage, "request queued" if state == "queued" else state, gone)
    if state == "streaming":
        if gone == "cancelled":
            return _streamed_call(stage)
        return connection(stage, "streaming", gone)
    if state == "queued":
        stage.ask("one", None)
    first = stage.call
    stage.ask("one", None)
    if state == "running":
        assert first is None
    _caller_leaves(stage, gone)
    stage.app.advance(100.0)
    counts = stage.app.engine.bus.counts.outcomes
    outcome = _outcome(stage)
    assert sum(counts.values()) == (2 if state == "queued" else 1)
    return Answer(outcome, stage.seen_by_caller(), "")


def _streamed_call(stage: Stage) -> Answer:
    """Leave a streamed response of the HTTP client early: its exchange is streaming."""
    app = stage.app
    other: Pipeline[None] = Pipeline("other")

    @other.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"piece"
            await ctx.sleep(3.0)

        return Response.stream(pieces())

    app.serve(other, "other")
    call = app.engine.http(ClientRequest("GET", "http://other/"), app.world.now, stream=True)
    app.server.pump()
    app.settle()
    stage.call, stage.exchange = call, call.exchange
    assert stage.exchange is not None
    assert stage.exchange.state == "streaming"
    app.engine.abandon(call, app.world.now)
    app.server.pump()
    app.advance(100.0)
    event = app.of("net.http.client.*")[-1]
    return Answer(_outcome(stage), stage.seen_by_caller(), event.type)


def _caller_leaves(stage: Stage, gone: str) -> None:
    app = stage.app
    if gone == "cancelled":
        assert stage.call is not None
        app.engine.abandon(stage.call, app.world.now)
    elif gone == "drain and grace":
        app.engine.drain(app.world.now)
    elif gone == "handler dies":
        stage.kill(stage.task_of(kind="respond"))
    else:
        assert gone == "timed out"
    app.server.pump()
    app.settle()


# --- what a handler waits for ------------------------------------------------------------------


def _handler(stage: Stage, what: str, gone: str) -> None:
    """Have a handler wait, for a peer or for the program; then take away whom it works for."""
    if gone in ("reset", "eof", "drain and grace"):
        stage.get(f"/do/{what}")
        _peer_leaves(stage, gone)
    else:
        stage.ask("do", what)
        _caller_leaves(stage, gone)


def _seen(stage: Stage) -> str:
    return stage.seen_by_caller() if stage.call is not None else stage.seen_by_peer()


def publisher(stage: Stage, state: str, gone: str) -> Answer:
    assert state == "parked"
    _handler(stage, "publish", gone)
    stage.app.advance(100.0)
    dropped = dict(stage.app.engine.bus.counts.dropped)
    dropped.pop("overflow", None)
    outcome = _outcome(stage)
    return Answer(outcome, _seen(stage), "dropped " + " ".join(sorted(dropped)))


def call(stage: Stage, state: str, gone: str) -> Answer:
    app = stage.app
    if state == "waiting":  # for the only connection
        holder = app.engine.http(ClientRequest("GET", "http://up/slow"), app.world.now)
        app.server.pump()
        app.settle()
        assert not holder.done
    _handler(stage, state, gone)
    app.advance(100.0)
    pool = app.engine.client.pool
    assert (pool.slots, len(pool.blocked)) == (pool.idle, 0)
    # The holder's is the only one that no other event has caused.
    topics = ("net.http.client.error", "net.http.client.response")
    ends = [e for e in app.events if e.type in topics and e.causation_id != e.correlation_id]
    (event,) = ends
    published = f"{event.type} {event.data.outcome} {event.data.error}".strip()
    return Answer(_outcome(stage), _seen(stage), published)


def _outcome(stage: Stage) -> str:
    """Return the outcome of the exchange that the handler answers."""
    if stage.exchange is not None:
        return str(stage.exchange.outcome)
    ends = [e for e in stage.app.events if e.type in ("net.http.response", "net.http.error")]
    return str(ends[-1].data.outcome)


# --- subscriptions -----------------------------------------------------------------------------


def subscription(stage: Stage, state: str, gone: str) -> Answer:
    app = stage.app
    if gone in ("reset", "eof"):
        return _published_by_connections(stage, gone)
    if gone == "cancelled":
        return _programs_own(stage, state)
    events = 1 if state == "running" else 2
    for number in range(events):
        app.publish("work", number)
    if gone == "drain and grace":
        app.engine.drain(app.world.now)
        app.server.pump()
    else:
        assert gone == "handler dies"
        stage.kill(stage.task_of(kind="subscriber"))
    app.advance(100.0)
    return Answer("", f"handled {stage.handled}", _dropped(stage))


def _dropped(stage: Stage) -> str:
    dropped = stage.app.engine.bus.counts.dropped
    return " ".join(f"dropped {reason}" for reason in sorted(dropped))


def _published_by_connections(stage: Stage, gone: str) -> Answer:
    """Events about requests: one is handled, one queued, when the connections go."""
    app = stage.app
    for _ in range(2):
        stage.get("/wait")
        _peer_leaves(stage, gone)
    app.advance(100.0)
    return Answer("", f"handled {stage.handled}", _dropped(stage))


def _programs_own(stage: Stage, state: str) -> Answer:
    app = stage.app
    own = app.engine.subscribe("note", app.world.now, maxsize=1)
    app.publish("note", 0)
    if state == "running":
        stage.handled.append(app.engine.next_event(own, app.world.now).result().data)
    app.engine.unsubscribe(own, app.world.now)
    app.server.pump()
    app.publish("note", 1)
    app.advance(100.0)
    return Answer("", f"handled {stage.handled}", _dropped(stage))


SCENES: Final[dict[str, Callable[[Stage, str, str], Answer]]] = {
    "connection": connection,
    "exchange": exchange,
    "publisher": publisher,
    "call": call,
    "subscription": subscription,
}


def play(resource: str, state: str, gone: str) -> Answer:
    """Play one cell; leaving the simulation checks that nothing is left behind."""
    stage = Stage()
    with stage.app:
        return SCENES[resource](stage, state, gone)
