"""Message -> exchange: the asking half of the dispatch."""

import re
from typing import Final

from pipebus.bus.bus import Bus
from pipebus.http.annotations import REQUEST_ID, Annotations
from pipebus.http.answers import BUFFERED_WAIT
from pipebus.http.drain import Drain
from pipebus.http.events import HTTP_REQUEST
from pipebus.http.gate import Gate
from pipebus.http.headers import Headers
from pipebus.http.message import Request, StreamRequest, split_target
from pipebus.http.routes import BadPath, Match, MethodNotAllowed, Routes
from pipebus.http.server_events import (
    DONE,
    NOT_CLOSING,
    Bad,
    BodyComplete,
    BodyReceived,
    HalfClosed,
    HeadReceived,
    Writable,
)
from pipebus.http.session import (
    ANSWERED,
    ENDED,
    IDLE,
    OPEN,
    READING,
    STREAMING,
    BodyStream,
    RouteTarget,
    Session,
)
from pipebus.http.spans import start_server_span
from pipebus.http.stream_answers import StreamAnswers
from pipebus.http.wire import RequestHead
from pipebus.limits import INFINITY, Limits
from pipebus.resilience.admission import Admission
from pipebus.telemetry.trace import Tracing, context_of
from pipebus.timers import TimerQueue

_MOVES: Final = frozenset({READING, ANSWERED})
"""States that a session may leave without an event of its connection."""
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
"""What is taken over: what a log line, a field and a problem's `instance` can hold."""


class Intake(StreamAnswers):
    """Reads requests from the sessions' connections and opens their exchanges.

    A part of `Dispatch`, which has the inputs of the driver; see there.
    """

    def __init__(
        self,
        bus: Bus,
        routes: Routes[RouteTarget],
        limits: Limits,
        timers: TimerQueue,
        admission: Admission,
        drain: Drain,
        gate: Gate | None,
        annotations: Annotations | None,
        tracing: Tracing | None,
    ) -> None:
        super().__init__(bus, limits, timers, admission, gate, annotations, tracing)
        self._routes = routes
        self._drain = drain

    def step(self, session: Session, now: float) -> None:
        """Pull what the session's connection has to say, react, and report what changed."""
        conn = session.conn
        if conn.events or session.state in _MOVES or session.waits:
            self._pull(session, now)
        session.retime()
        if session.deadline < session.queued_at:
            self._timers.watch(session)
        wants_read = conn.wants_read
        if (
            conn.out.size
            or wants_read is not session.wanted_read
            or conn.wants_close is not NOT_CLOSING
        ):
            session.wanted_read = wants_read
            if not session.reported:
                session.reported = True
                self.outputs.append(session)

    def refill(self, session: Session, now: float) -> None:
        """Let the connection of a body that was read from go on receiving."""
        session.conn.resume_body(now)
        self.step(session, now)

    def _pull(self, session: Session, now: float) -> None:
        events = session.conn.events
        while events or self._advance(session, now):
            event = events.popleft()
            if isinstance(event, HeadReceived):
                self._head(session, event.head, now)
            elif isinstance(event, BodyComplete):
                self._body_complete(session, event.body, now)
            elif event is DONE:
                pass  # nothing new: the request ends when its answer has left (`_advance`)
            elif isinstance(event, BodyReceived):
                self._body_received(session, event.data, now)
            elif isinstance(event, Writable):
                self._writable(session, now)
            elif isinstance(event, HalfClosed):
                session.half_closed = True
                self._watch_half_close(session, now)
            elif isinstance(event, Bad):
                self._bad(session, event, now)
            else:
                self._peer_gone(session, now)

    def _advance(self, session: Session, now: float) -> bool:
        """Finish a request whose answer is out and let the next one in; True if it is there."""
        state = session.state
        if state == READING:
            self._charge(session, now)
            return False
        if state == ANSWERED:
            # The next head waits for the write, so a peer that does not read stops itself.
            if session.conn.out.size:
                return False
            self._end_request(session, now)
            session.forget_request()
            session.waits = True
        if not session.waits or session.publisher.places:
            return False
        session.waits = False
        session.conn.next_request(now)
        return bool(session.conn.events)

    # --- the head -----------------------------------------------------------------------------

    def _head(self, session: Session, head: RequestHead, now: float) -> None:
        session.started = now
        session.state = READING
        session.method = head.method
        session.target = target = head.target.decode("latin-1")
        session.head_bytes = session.conn.bytes_in
        gate = self._gate
        if session.trusted:
            self._believe(session, head)
        if session.refused:
            self._refuse(session, session.refused, now)
            return
        if self._drain.state in ("closing", "drained"):
            self._refuse(session, "drained", now)
            return
        if not len(self._routes):
            self._refuse(session, "no_routes", now)
            return
        found = self._routes.match(head.method, split_target(target)[0])
        if gate is not None and not (isinstance(found, Match) and found.value.exempt):
            refusal = gate.admit(session, head, now)
            if refusal is not None:
                self._refuse(session, refusal.situation, now, retry_after=refusal.retry_after)
                return
        if not session.tls and target[:8].lower() == "https://":
            # A secured connection is what the scheme asks for (RFC 9110 section 7.4).
            self._refuse(session, "misdirected", now)
            return
        if isinstance(found, Match):
            self._accept(session, head, found, now)
        elif isinstance(found, MethodNotAllowed):
            self._refuse(session, "method_not_allowed", now, allow=found.allow)
        elif isinstance(found, BadPath):
            self._refuse(session, "bad_path", now, detail=found.detail)
        else:
            self._refuse(session, "not_found", now)

    def _accept(
        self, session: Session, head: RequestHead, found: Match[RouteTarget], now: float
    ) -> None:
        """Go on with a request that has a route: read its body, or stream it."""
        route = found.value
        session.route = route
        gate = self._gate
        if gate is not None and route.limiter is not None:
            refusal = gate.limit(route.limiter, session, head, now)
            if refusal is not None:
                self._refuse(session, refusal.situation, now, retry_after=refusal.retry_after)
                return
        if not route.stream:
            session.request = Request(
                head.method, session.target, Headers(raw=head.headers),
                http_version=head.http_version.decode("ascii"), client=session.client,
                tls=session.tls, path_params=found.params, route=route.template,
            )  # fmt: skip
            session.conn.read_body(now, max_body=route.max_body, collect=True)
            return
        request = StreamRequest(
            head.method, session.target, Headers(raw=head.headers),
            http_version=head.http_version.decode("ascii"), client=session.client,
            tls=session.tls, path_params=found.params, route=route.template,
        )  # fmt: skip
        # The event carries no deadline: it moves on with every piece of the body (`rearm`).
        self._open(session, request, route, INFINITY, now)
        if session.exchange is not None:
            session.stream = BodyStream(session, self._limits.read_ahead)
            request.body_state = session.stream
            session.rearm(now)
            session.conn.read_body(now, max_body=route.max_body, collect=False)

    def _open(
        self,
        session: Session,
        request: Request | StreamRequest,
        route: RouteTarget,
        deadline: float,
        now: float,
    ) -> None:
        """Dispatch a request."""
        if not route.exempt:
            if not self._admission.begin():
                self._refuse(session, "max_in_flight", now)
                return
            session.admitted = True
            gate = self._gate
            if gate is not None and gate.in_flight is not None:
                if not gate.in_flight.enter(session.key):
                    self._refuse(session, "max_in_flight_per_client", now)
                    return
                session.holds = session.key
        session.dispatched = now
        session.state = OPEN
        trace = context_of(request.headers.raw)
        if self._tracing is not None:
            session.span = start_server_span(self._tracing, session, trace)
            trace = (
                self._tracing.unrecorded(trace) if session.span is None else session.span.context
            )
        exchange = self._bus.open(
            HTTP_REQUEST,
            request,
            now,
            deadline=deadline,
            publisher=session.publisher,
            group=route.group,
            owner=session,
            timed=False,
            subject=request.raw_path,
            trace=trace,
            correlation_id=session.request_id,
        )
        request.id = exchange.request.correlation_id
        session.event = exchange.request
        session.exchange = exchange
        if session.lease is not None:
            self._bus.hold(exchange.request, session.lease)
        if session.publisher.places:
            self._check_parked(session, now)
        if exchange.outcome is not None:
            self._settle(session, exchange, now)
        elif session.half_closed and not route.stream:
            self._watch_half_close(session, now)

    def _believe(self, session: Session, head: RequestHead) -> None:
        """Take over what a trusted peer says of a request: whose it is, and its id."""
        assert self._gate is not None
        self._gate.name(session, head)
        if self._annotations is None or not self._annotations.request_id:
            return
        for name, value in head.headers:
            if name == REQUEST_ID:
                if _REQUEST_ID.fullmatch(value):
                    session.request_id = value.decode("ascii")
                return

    # --- the body -----------------------------------------------------------------------------

    def _body_received(self, session: Session, data: bytes, now: float) -> None:
        stream = session.stream
        assert stream is not None
        session.rearm(now)
        if not stream.put(data) and not stream.paused:
            stream.paused = True
            session.conn.pause_body()
        self._report_body(stream)

    def _body_complete(self, session: Session, body: bytes, now: float) -> None:
        request = session.request
        route = session.route
        if route is None or request is None:
            stream = session.stream
            assert stream is not None
            stream.finish()
            session.rearm(now)
            if session.half_closed:
                self._watch_half_close(session, now)
            self._report_body(stream)
            return
        if body:
            self._charge(session, now)
            lease = session.lease
            if lease is not None and lease.wanted:
                session.body = body
                return
        request.body = body
        self._open(session, request, route, now + route.timeout, now)

    def _charge(self, session: Session, now: float) -> None:
        """Charge what came of a collected body to the budget; where it is full, stop the peer."""
        size = session.conn.bytes_in - session.head_bytes
        lease = session.lease
        if lease is None:
            if size == 0:
                return
            lease = session.lease = self._admission.bodies.lease(session)
        more = size - lease.size - lease.wanted
        if more > 0 and not self._admission.bodies.grow(lease, more):
            session.timers[BUFFERED_WAIT] = now + self._limits.buffered_wait
            session.conn.pause_body()

    def _admit_bodies(self, now: float) -> None:
        """Let bodies go on that waited for room in the budget."""
        while (lease := self._admission.bodies.next_granted()) is not None:
            session = lease.owner
            assert isinstance(session, Session)
            session.timers.pop(BUFFERED_WAIT, None)
            body = session.body
            if body is None:
                session.conn.resume_body(now)
            else:
                session.body = None
                assert session.request is not None
                assert session.route is not None
                session.request.body = body
                self._open(
                    session, session.request, session.route, now + session.route.timeout, now
                )
            self.step(session, now)
            # With an output the bus is asked again, for the exchange that was opened.
            self._report(session)

    # --- what else a connection says ----------------------------------------------------------

    def _writable(self, session: Session, now: float) -> None:
        assert session.exchange is not None
        self._watch_stream(session, now)
        self.outputs.append(session.exchange)

    def _bad(self, session: Session, bad: Bad, now: float) -> None:
        """Answer the peer's fault, or cut an answer that is under way."""
        exchange = session.exchange
        if session.state == IDLE:
            session.started = now
            session.head_bytes = session.conn.bytes_in
            session.client = session.peer  # nobody has said whose this one is
        if exchange is None:
            self._blame(session, bad.status, bad.detail, now)
            return
        # A streamed body went wrong under its handler.
        self._bus.cancel(exchange, "disconnect", now)
        if session.state == STREAMING:
            session.reason = "request_body"
            self._settle(session, exchange, now)
        else:
            session.exchange = None
            session.outcome = exchange.outcome or ""
            self._blame(session, bad.status, bad.detail, now)

    def _peer_gone(self, session: Session, now: float) -> None:
        session.peer_gone = True
        exchange = session.exchange
        if session.state != IDLE:
            session.close_reason = session.close_reason or "disconnect"
        if exchange is not None:
            self._bus.cancel(exchange, "disconnect", now)
            self._settle(session, exchange, now)
        elif session.state == ANSWERED:
            self._fail(session, session.close_reason, now)
        else:
            self._release(session)
            session.state = ENDED
