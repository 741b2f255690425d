"""A bus, a dispatch and its peers in virtual time: the least that an engine and a driver do."""

from collections.abc import AsyncIterator, Callable, Sequence

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.subscription import Subscription
from pipebus.http.annotations import Annotations
from pipebus.http.dispatch import Dispatch
from pipebus.http.drain import Drain
from pipebus.http.gate import new_gate
from pipebus.http.response import Response
from pipebus.http.routes import Routes
from pipebus.http.server_events import Close
from pipebus.http.session import BodyStream, RouteTarget, Session
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Limits
from pipebus.resilience.admission import Admission
from pipebus.telemetry.trace import Attributes, SpanKind, TraceContext, Tracing
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock


class Peer:
    """The other side of a session, and the driver in between."""

    def __init__(self, world: "World", session: Session) -> None:
        self.world = world
        self.session = session
        self.reads = True
        """Whether it takes what is sent."""
        self.gulp = 0
        """How many bytes of it at a time; 0: all that are offered."""
        self.received = b""
        self.fin = False
        """The server shut its sending side, or closed."""
        self.ended = ""
        """How the socket ended: closed, reset, or by the peer itself: gone."""

    def send(self, data: bytes, *, pieces: int = 0) -> None:
        """Feed bytes, all at once or `pieces` bytes at a time, as far as they are wanted."""
        step = pieces or len(data)
        for start in range(0, len(data), step):
            if self.ended:
                return
            self.world.dispatch.receive_data(
                self.session, data[start : start + step], self.world.now
            )
            self.world.pump()

    def shut(self) -> None:
        """Send FIN."""
        if not self.ended:
            self.world.dispatch.receive_eof(self.session, self.world.now)
            self.world.pump()

    def reset(self) -> None:
        """Send RST."""
        if not self.ended:
            self.end("gone")
            self.world.pump()

    def end(self, how: str) -> None:
        self.ended = how
        self.fin = True
        self.world.dispatch.connection_lost(self.session, self.world.now)

    def is_open(self) -> bool:
        return not self.ended

    def read_again(self) -> None:
        self.reads = True
        self.flush()
        self.world.pump()

    def flush(self) -> None:
        """Do what a driver does when it is told to look."""
        session, world = self.session, self.world
        while self.reads and not self.ended:
            data = session.data_to_send()
            if not data:
                break
            if self.gulp:
                data = data[: self.gulp]
            self.received += data
            world.dispatch.data_sent(session, len(data), world.now)
        if self.ended:
            return
        close = session.wants_close
        if close is Close.RESET:
            self.end("reset")
        elif not session.data_to_send():
            if close is Close.AFTER_FLUSH:
                self.end("closed")
            elif close is Close.LINGER:
                self.fin = True

    @property
    def responses(self) -> list[tuple[int, dict[str, str], bytes]]:
        """What was received, taken apart: status, fields, body (chunked ones decoded)."""
        found = []
        rest = self.received
        while rest:
            head, blank, rest = rest.partition(b"\r\n\r\n")
            assert blank, head
            status_line, *lines = head.split(b"\r\n")
            status = int(status_line.split(b" ")[1])
            fields = {}
            for line in lines:
                name, _, value = line.partition(b":")
                fields[name.decode().lower()] = value.strip().decode()
            if status < 200:
                continue
            body = b""
            if "content-length" in fields:
                size = int(fields["content-length"])
                body, rest = rest[:size], rest[size:]
            elif fields.get("transfer-encoding") == "chunked":
                while True:
                    size_line, _, rest = rest.partition(b"\r\n")
                    size = int(size_line, 16) if size_line else 0
                    body += rest[:size]
                    rest = rest[size + 2 :]
                    if size == 0:
                        break
            elif status not in (204, 304):
                body, rest = rest, b""
            found.append((status, fields, body))
        return found

    @property
    def statuses(self) -> list[int]:
        return [status for status, _, _ in self.responses]


class RecordedSpan:
    """A span that remembers how it ended, which it does once."""

    def __init__(self, name: str, parent: TraceContext | None, number: int) -> None:
        self.name = name
        self.parent = parent
        self.context = TraceContext(f"00-{1:032x}-{number:016x}-01")
        self.stages: list[tuple[str, float, float]] = []
        self.ended: tuple[float, Attributes, str] | None = None

    def stage(self, name: str, start: float, end: float) -> None:
        self.stages.append((name, start, end))

    def end(self, now: float, attributes: Attributes, error: str) -> None:
        assert self.ended is None, "a span ends once"
        self.ended = now, attributes, error


class Recorder:
    """A tracer that adds its spans to a list."""

    def __init__(self, spans: list[RecordedSpan]) -> None:
        self.spans = spans

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> RecordedSpan:  # fmt: skip
        self.spans.append(RecordedSpan(name, parent, len(self.spans) + 1))
        return self.spans[-1]


class World:
    """Everything between the sockets and the handlers; the test is both of those."""

    def __init__(
        self,
        dispatch: type[Dispatch] = Dispatch,
        watched: Sequence[str] = ("net.>", "pipebus.>"),
        bus: type[Bus] = Bus,
        /,
        **limits: object,
    ) -> None:
        """`watched`: what the taps see that fill `events`.

        Among the limits: `rate_limit` and `trusted_proxies` of a gate, and `observed`, for all that
        is added to responses and recorded of requests (`spans`).
        """
        rate_limit = limits.pop("rate_limit", None)
        proxies = limits.pop("trusted_proxies", ())
        observed = bool(limits.pop("observed", False))
        self.now = 100.0
        self.limits = Limits(**limits)  # type: ignore[arg-type]  # a test names what it sets
        self.timers = TimerQueue()
        self.clock = WallClock()
        self.bus = bus(id_prefix="t", limits=self.limits, timers=self.timers, clock=self.clock)
        self.routes: Routes[RouteTarget] = Routes()
        self.admission = Admission(self.limits)
        self.drain = Drain(self.limits.grace, self.limits.linger_timeout)
        self.gate = new_gate(
            self.limits,
            self.timers,
            rate_limit=rate_limit,  # type: ignore[arg-type]  # a test names what it sets
            trusted_proxies=proxies,  # type: ignore[arg-type]  # likewise
            routes_limited=False,
        )
        self.spans: list[RecordedSpan] = []
        self.dispatch = dispatch(
            self.bus,
            self.routes,
            limits=self.limits,
            wire=H11Codec(),
            timers=self.timers,
            clock=self.clock,
            admission=self.admission,
            drain=self.drain,
            gate=self.gate,
            annotations=Annotations(request_id=True, server_timing=True) if observed else None,
            tracing=Tracing(Recorder(self.spans), 1.0, lambda: 0.0) if observed else None,
        )
        self.peers: dict[str, Peer] = {}
        self.started: list[Exchange] = []
        """Given to a handler and not finished by the test, oldest first."""
        self.ended: list[Exchange] = []
        self.writable: list[Exchange] = []
        self.news: list[BodyStream] = []
        self.on_start: Callable[[Exchange], None] | None = None
        self.taps = [
            self.bus.subscribe(pattern, self.now, kind="tap", maxsize=100_000)
            for pattern in watched
        ]
        self.events: list[Event] = []
        """What the taps saw, oldest first."""

    def route(
        self,
        pattern: str,
        *,
        stream: bool = False,
        timeout: float | None = None,
        max_body: int | None = 1000,
        concurrency: int | None = None,
        queue: int | None = None,
    ) -> RouteTarget:
        group = self.bus.group(pattern, queue_size=queue, routed=False)
        self.bus.add_responder(group, concurrency=concurrency, handler=pattern)
        target = RouteTarget(
            group,
            pattern.partition(" ")[2],
            stream=stream,
            timeout=self.limits.request_timeout if timeout is None else timeout,
            max_body=max_body,
        )
        self.routes.add(pattern, target)
        return target

    def connect(
        self, client: tuple[str, int] = ("192.0.2.1", 4711), *, proxied: bool = False
    ) -> Peer:
        session = self.dispatch.opened(client, False, None, self.now, proxied=proxied)
        peer = Peer(self, session)
        self.peers[session.publisher.name] = peer
        self.pump()
        return peer

    # --- the handlers' side ---

    def reply(self, response: object = None, exchange: Exchange | None = None) -> Exchange:
        """Let the oldest started handler (or that of `exchange`) return."""
        exchange = exchange or self.started[0]
        self.bus.reply(exchange, Response() if response is None else response, self.now)
        self.finish(exchange)
        return exchange

    def fail(self, error: BaseException, exchange: Exchange | None = None) -> None:
        exchange = exchange or self.started[0]
        self.bus.fail(exchange, error, self.now)
        self.finish(exchange)

    def stream(self, response: Response, exchange: Exchange | None = None) -> bool:
        exchange = exchange or self.started[0]
        goes_on = self.dispatch.start_stream(exchange, response, self.now)
        self.finish(exchange)
        return goes_on

    def finish(self, exchange: Exchange) -> None:
        """Say that the handler's task is gone (or its stream's head out)."""
        if exchange in self.started:
            self.started.remove(exchange)
            assert exchange.responder is not None
            self.bus.released(exchange.responder, self.now)
        self.pump()

    # --- the engine's side ---

    def pump(self) -> None:
        """Act on every output; then the taps run."""
        self.settle()
        for tap in self.taps:
            while (event := self.bus.take(tap, self.now)) is not None:
                self.events.append(event)
        if self.admission.bodies.granted:
            self.pump()

    def settle(self) -> None:
        while True:
            output = self.bus.next_output()
            if isinstance(output, Exchange):
                if output.outcome is None:
                    self.started.append(output)
                    self.dispatch.handler_began(output, self.now)
                    if self.on_start is not None:
                        self.on_start(output)
                else:
                    self.ended.append(output)
                    self.dispatch.exchange_ended(output, self.now)
            elif output is None:
                said = self.dispatch.next_output(self.now)
                if said is None:
                    return
                if isinstance(said, Session):
                    peer = self.peers.get(said.publisher.name)
                    if peer is not None:
                        peer.flush()
                elif isinstance(said, BodyStream):
                    self.news.append(said)
                else:
                    self.writable.append(said)
            elif not isinstance(output, Subscription):
                assert isinstance(output.owner, Session)
                self.dispatch.publisher_resumed(output.owner, self.now)

    def fire(self) -> None:
        """Act on what is due now."""
        while (timed := self.timers.next_due(self.now)) is not None:
            timed.handle_timeout(self.now)
            assert timed.deadline > self.now, "it would be due for ever"
            self.timers.watch(timed)
            self.pump()

    def wait(self, seconds: float) -> None:
        """Let time pass, from one deadline to the next."""
        end = self.now + seconds
        while True:
            deadline = self.timers.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.fire()
        self.now = end

    # --- what happened ---

    def of(self, topic: str) -> list[Event]:
        return [event for event in self.events if event.type == topic]

    def assert_nothing_left(self) -> None:
        """No connection is open, so nothing may be held, counted or timed any more."""
        assert self.bus.open_exchanges == 0
        assert self.admission.in_flight == 0
        assert self.admission.connections == 0
        assert self.admission.bodies.held == 0
        assert self.admission.bodies.waiting == 0
        assert self.dispatch.sessions == {}
        assert len(self.timers) == 0
        assert all(span.ended is not None for span in self.spans)
        if self.gate is not None:
            for counts in (self.gate.connections, self.gate.over, self.gate.in_flight):
                assert counts is None or counts.keys == 0


async def chunks() -> AsyncIterator[bytes]:
    """Stand for a streamed body in a `Response`; the test sends the chunks itself."""
    yield b""


def streamed(**fields: object) -> Response:
    return Response.stream(chunks(), **fields)  # type: ignore[arg-type]  # a test names what it sets
