"""Exchange -> message: the answering half of the dispatch."""

from abc import ABC, abstractmethod
from collections import deque
from math import ceil
from typing import Final

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.errors import StreamInterrupted
from pipebus.http.annotations import Annotations
from pipebus.http.events import HTTP_ERROR, HTTP_RESPONSE, HttpFailed, HttpResponded
from pipebus.http.gate import Gate
from pipebus.http.problem import SITUATIONS, Situation, problem_response, response_for_error
from pipebus.http.request_count import count_request
from pipebus.http.response import Response
from pipebus.http.session import ANSWERED, ENDED, STREAMING, BodyStream, Session
from pipebus.http.spans import end_server_span
from pipebus.limits import Limits
from pipebus.resilience.admission import Admission
from pipebus.telemetry.http_metrics import ServerMetrics
from pipebus.telemetry.stages import measure
from pipebus.telemetry.trace import Tracing
from pipebus.timers import TimerQueue

Output = Session | BodyStream | Exchange

BUFFERED_WAIT: Final = "buffered_wait"
HALF_CLOSE_GRACE: Final = "half_close_grace"
PUBLISH_TIMEOUT: Final = "publish_timeout"
STREAM_IDLE: Final = "stream_idle"

_SITUATIONS: Final[dict[str, Situation]] = {row.key: row for row in SITUATIONS}
_OUTCOMES: Final[dict[str, str]] = {
    "timed_out": "deadline",
    "no_responder": "unavailable",
    "rejected": "rejected",
    "drained": "drained",
    "cancelled": "drained",  # by the shutdown; a disconnect is not answered
}
"""Outcome of an exchange -> the situation that it is answered by."""


class Answers(ABC):
    """Writes what became of an exchange to its session, and publishes how it went.

    A part of `Dispatch`, which has the inputs of the driver; see there.
    """

    def __init__(
        self,
        bus: Bus,
        limits: Limits,
        timers: TimerQueue,
        admission: Admission,
        gate: Gate | None,
        annotations: Annotations | None,
        tracing: Tracing | None,
    ) -> None:
        self._bus = bus
        self._limits = limits
        self._timers = timers
        self._admission = admission
        self.metrics: ServerMetrics = ServerMetrics()
        self.refusals: dict[str, int] = {}
        """Requests answered without being dispatched, by the situation."""
        self._gate = gate
        self._annotations = annotations
        self._tracing = tracing
        self.outputs: deque[Output] = deque()
        """For looking whether `next_output` may have something, which costs less than to ask."""

    @abstractmethod
    def step(self, session: Session, now: float) -> None:
        """Pull what the session's connection has to say, react, and report what changed."""

    # --- inputs by the engine -----------------------------------------------------------------

    def handler_began(self, exchange: Exchange, now: float) -> None:
        """Note that a handler of `exchange` starts now (the edge between queue and handler)."""
        session = exchange.owner
        if isinstance(session, Session) and session.exchange is exchange:
            session.began = now

    # --- outcome to answer --------------------------------------------------------------------

    def _settle(self, session: Session, exchange: Exchange, now: float) -> None:
        """Turn the outcome of a session's exchange into its answer."""
        session.exchange = None
        outcome = exchange.outcome
        assert outcome is not None
        session.outcome = outcome
        session.completed = now
        self._release(session)
        if session.peer_gone:
            self._fail(session, session.close_reason, now)
        elif session.state == STREAMING:
            if outcome == "replied":
                session.state = ANSWERED
            else:
                self._cut(session, _why(exchange), now)
        elif outcome == "replied":
            self._reply(session, exchange, now)
        elif outcome == "failed":
            assert exchange.error is not None
            session.why = type(exchange.error).__name__
            retry_after = self._limits.retry_after
            response = response_for_error(
                exchange.error, instance=self._request_id(session), retry_after=retry_after
            )
            self._send(session, response, now)
        elif outcome == "cancelled" and exchange.cancel_reason == "disconnect":
            self._cut(session, "disconnect", now)
        else:
            again = ceil(exchange.retry_after) or None
            self._problem(session, _OUTCOMES[outcome], now, retry_after=again)

    def _reply(self, session: Session, exchange: Exchange, now: float) -> None:
        """Send what a handler returned, if that is a whole response; else `exchange.error` is why."""
        reply = exchange.reply
        if (
            isinstance(reply, Response)
            and reply.stream_body is None
            and isinstance(reply.body, bytes)
        ):
            session.response = reply
            try:
                self._send(session, reply, now)
            except Exception as error:  # noqa: BLE001 (changed, to whatever, after it was checked)
                session.response = None
                exchange.error = error
            else:
                return
        self._problem(session, "no_response", now)

    def _send(self, session: Session, response: Response, now: float) -> None:
        status = response.status
        self._annotate(session, response, now)
        session.conn.send_response(status, response.headers.raw, response.body, now)
        session.status = status
        session.state = ANSWERED

    def _annotate(self, session: Session, response: Response, now: float) -> None:
        """Have the connection add to the response's fields what the options ask for."""
        if self._annotations is not None:
            request_id = self._request_id(session)
            session.conn.added = self._annotations.lines(response, session, request_id, now)

    def _problem(
        self,
        session: Session,
        situation: str,
        now: float,
        *,
        detail: str | None = None,
        allow: tuple[str, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        """Answer as the table of situations says; `retry_after` defaults to the limit's."""
        row = _SITUATIONS[situation]
        session.why = situation
        assert row.status is not None
        if row.after == "closed":
            session.conn.close_after_response()
        response = problem_response(
            row.status,
            detail=detail,
            instance=self._request_id(session),
            retry_after=(retry_after or self._limits.retry_after) if row.retry_after else None,
            allow=allow,
        )
        self._send(session, response, now)

    def _refuse(
        self,
        session: Session,
        situation: str,
        now: float,
        *,
        detail: str | None = None,
        allow: tuple[str, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        """Answer a request that was not dispatched."""
        self.refusals[situation] = self.refusals.get(situation, 0) + 1
        session.completed = now
        self._release(session)
        self._problem(session, situation, now, detail=detail, allow=allow, retry_after=retry_after)

    def _blame(self, session: Session, status: int, detail: str, now: float) -> None:
        """Answer a fault of the peer; the connection closes by itself."""
        session.completed = now
        self._release(session)
        self._send(
            session,
            problem_response(status, detail=detail, instance=self._request_id(session)),
            now,
        )

    def _cut(self, session: Session, reason: str, now: float) -> None:
        """Give the answer up; what was written of it, the peer sees cut short."""
        session.conn.abort(now)
        session.close_reason = session.close_reason or reason
        self._fail(session, reason, now)

    def _fail(self, session: Session, reason: str, now: float) -> None:
        """End the session's request without a whole answer."""
        session.reason = session.reason or reason
        self._end_request(session, now)
        session.state = ENDED

    def _release(self, session: Session) -> None:
        """Give back what a request holds until it is answered."""
        if session.admitted:
            session.admitted = False
            self._admission.end()
            if session.holds is not None:
                assert self._gate is not None
                assert self._gate.in_flight is not None
                self._gate.in_flight.leave(session.holds)
                session.holds = None
        if session.charged:
            self._admission.bodies.give(session.charged)
            session.charged = 0
        if session.lease is not None:
            session.lease.release()
            session.lease = None
        stream = session.stream
        if stream is not None and not stream.finished:
            stream.interrupt("the request has ended")
            self._report_body(stream)
        session.body = None
        session.request = None
        if session.timers:
            for name in (BUFFERED_WAIT, HALF_CLOSE_GRACE, STREAM_IDLE):
                session.timers.pop(name, None)

    # --- the end of a request -----------------------------------------------------------------

    def _request_id(self, session: Session) -> str:
        """Return the exchange's id, or for a request that has none one of the session's own.

        One that a trusted peer gave it goes first.
        """
        if session.event is not None:
            return session.event.correlation_id
        if session.request_id:
            return session.request_id
        return f"{self._bus.id_prefix}{session.publisher.name}-{session.requests}"

    def _end_request(self, session: Session, now: float) -> None:
        """Publish the one `net.http.response` or `net.http.error` of a request, and count it."""
        if session.span is not None:
            span, session.span = session.span, None
            end_server_span(span, session, now)
        topic = HTTP_ERROR if session.reason else HTTP_RESPONSE
        if self._bus.listens(topic):
            self._publish_end(session, topic, now)
        count_request(self.metrics, session, now)

    def _publish_end(self, session: Session, topic: str, now: float) -> None:
        event = session.event
        route = session.route
        template = route.template if route is not None and event is not None else ""
        stages = measure(session.started, session.dispatched, session.began, session.completed, now)
        conn = session.conn
        data: HttpResponded | HttpFailed
        if session.reason:
            data = HttpFailed(
                session.method, session.target, template, session.status, session.outcome,
                session.client, conn.bytes_in, conn.bytes_out, stages, session.reason,
            )  # fmt: skip
        else:
            data = HttpResponded(
                session.method, session.target, template, session.status, session.outcome,
                session.client, conn.bytes_in, conn.bytes_out, stages, session.response,
                session.why,
            )  # fmt: skip
        self._bus.publish(
            topic,
            data,
            now,
            publisher=session.publisher,
            cause=event,
            subject=session.target.partition("?")[0],
            correlation_id="" if event is not None else self._request_id(session),
        )
        self._check_parked(session, now)

    def _check_parked(self, session: Session, now: float) -> None:
        """Bound how long a session whose events are parked stands still."""
        if session.publisher.places and PUBLISH_TIMEOUT not in session.timers:
            session.timers[PUBLISH_TIMEOUT] = now + self._limits.publish_timeout

    # --- outputs ------------------------------------------------------------------------------

    def _report(self, session: Session) -> None:
        if not session.reported:
            session.reported = True
            self.outputs.append(session)

    def _report_body(self, stream: BodyStream) -> None:
        if not stream.reported:
            stream.reported = True
            self.outputs.append(stream)


def _why(exchange: Exchange) -> str:
    """Name what cut an answer that had begun."""
    if exchange.outcome == "cancelled":
        return exchange.cancel_reason
    return STREAM_IDLE if isinstance(exchange.error, StreamIdle) else "handler"


class StreamIdle(StreamInterrupted):
    """A streamed response produced nothing for `Limits.stream_idle` seconds."""
