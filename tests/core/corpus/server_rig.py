"""Everything of a server but engine, sockets and clock, round one connection and one echo route."""

from collections.abc import Iterable, Sequence
from typing import Final

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.http.dispatch import Dispatch
from pipebus.http.drain import Drain
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.routes import Routes
from pipebus.http.server_events import Close
from pipebus.http.session import RouteTarget, Session
from pipebus.http.wire import WireCodec
from pipebus.limits import Limits
from pipebus.resilience.admission import Admission
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock
from tests.core.corpus.case import MAX_BODY, MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE, Got

LIMITS: Final = Limits(
    max_request_line=MAX_REQUEST_LINE, max_head=MAX_HEAD, max_fields=MAX_FIELDS, max_body=MAX_BODY
)
WALL: Final = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT: the RFC's example of a date."""


def echo(request: Request) -> Response:
    """Answer with the request's body."""
    return Response(200, request.body)


class ServerRig:
    """One connection; `send`, `eof` and `wait` are the client's moves, the rest is what came of it."""

    def __init__(
        self,
        wire: WireCodec,
        *,
        patterns: Sequence[str] = ("/{rest...}",),
        limits: Limits = LIMITS,
        tls: bool = False,
        dispatch: type[Dispatch] = Dispatch,
        watched: str = "net.http.>",
    ) -> None:
        self.now = 1000.0
        self.sent = bytearray()
        """What the server wrote."""
        self.closed = ""
        """How the driver closed: `close`, `linger-close`, `reset`, or empty while it is open."""
        self.requests: list[Request] = []
        self.answer = echo
        timers = TimerQueue()
        clock = WallClock()
        clock.set(WALL, self.now)
        self._timers = timers
        self._lingers = False
        self.bus = Bus(id_prefix="x", limits=limits, timers=timers, clock=clock)
        self._tap = self.bus.subscribe(watched, self.now, kind="tap", maxsize=1000)
        routes: Routes[RouteTarget] = Routes()
        for pattern in patterns:
            group = self.bus.group(pattern, routed=False)
            self.bus.add_responder(group, concurrency=None, handler=None)
            routes.add(
                pattern,
                RouteTarget(
                    group, pattern, timeout=limits.request_timeout, max_body=limits.max_body
                ),
            )
        self.admission = Admission(limits)
        self.dispatch = dispatch(
            self.bus, routes, limits=limits, wire=wire, timers=timers, clock=clock,
            admission=self.admission, drain=Drain(limits.grace, limits.linger_timeout),
        )  # fmt: skip
        self.session = self.dispatch.opened(("192.0.2.1", 50000), tls, None, self.now)
        self._pump()

    # --- the client's moves --------------------------------------------------------------------

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send, as far as the server still reads."""
        for piece in pieces:
            if self.closed:
                return
            assert self.session.wants_read, "an echo server has no reason to stop reading"
            self.dispatch.receive_data(self.session, piece, self.now)
            self._pump()

    def eof(self) -> None:
        """Shut the sending side."""
        if not self.closed:
            self.dispatch.receive_eof(self.session, self.now)
            self._pump()

    def wait(self) -> None:
        """Let time pass to the next deadline."""
        deadline = self._timers.next_deadline()
        assert deadline is not None, "an open connection always has a deadline"
        self.now = deadline
        while (due := self._timers.next_due(self.now)) is not None:
            due.handle_timeout(self.now)
            self._timers.watch(due)
        self._pump()

    def leave(self) -> None:
        """Drop the connection, as the client's kernel would: what is left shows in `assert_empty`."""
        if not self.closed:
            self.dispatch.connection_lost(self.session, self.now)
            self._pump()

    # --- what came of it -----------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Return what was published under `net.http` since the last call."""
        events = []
        while (event := self.bus.take(self._tap, self.now)) is not None:
            events.append(event)
        return events

    @property
    def got(self) -> tuple[Got, ...]:
        """The requests as the handler saw them."""
        return tuple((request.method, request.target, request.body) for request in self.requests)

    @property
    def lingers(self) -> bool:
        """Whether the server has shut its side and throws input away."""
        return self._lingers and not self.closed

    def assert_empty(self) -> None:
        """Check that nothing outlives the connection (a queued event does hold its body)."""
        self.events()
        assert self.bus.open_exchanges == 0
        assert self.admission.in_flight == 0
        assert self.admission.connections == 0
        assert self.admission.bodies.held == 0
        assert not self.dispatch.sessions
        assert len(self._timers) == 0

    # --- the engine and the driver -------------------------------------------------------------

    def _pump(self) -> None:
        while True:
            output = self.bus.next_output()
            if isinstance(output, Exchange):
                self._run(output)
            elif output is None:
                told = self.dispatch.next_output(self.now)
                if told is None:
                    return
                if isinstance(told, Session):
                    self._flush(told)

    def _run(self, exchange: Exchange) -> None:
        if exchange.outcome is not None:
            self.dispatch.exchange_ended(exchange, self.now)
            return
        self.dispatch.handler_began(exchange, self.now)
        request = exchange.request.data
        assert isinstance(request, Request)
        self.requests.append(request)
        self.bus.reply(exchange, self.answer(request), self.now)
        assert exchange.responder is not None
        self.bus.released(exchange.responder, self.now)

    def _flush(self, session: Session) -> None:
        if self.closed:
            return
        while session.wants_close is not Close.RESET and (data := session.data_to_send()):
            self.sent += data
            self.dispatch.data_sent(session, len(data), self.now)
        if session.wants_close is Close.LINGER:
            self._lingers = True
        elif session.wants_close is not Close.NO:
            if session.wants_close is Close.RESET:
                self.closed = "reset"
            else:
                self.closed = "linger-close" if self._lingers else "close"
            self.dispatch.connection_lost(session, self.now)
