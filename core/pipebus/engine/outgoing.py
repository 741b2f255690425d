"""Outgoing HTTP: the client's pool as a responder on the bus, and the calls that wait for it."""

from collections.abc import AsyncIterable
from typing import Final

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Responder
from pipebus.engine.actions import Cancel, Report, Upload
from pipebus.engine.bus_calls import PROGRAM, BusCalls
from pipebus.engine.calls import Call, HttpCall, Outbox, ReadCall, RoomCall
from pipebus.engine.invocation import Invocation
from pipebus.errors import CallCancelled, PipebusError, TotalTimeout, WouldDeadlock
from pipebus.http.client import (
    BreakerChange,
    ClientCall,
    ClientRequest,
    ClientResponse,
    HttpClient,
)
from pipebus.http.client_events import (
    BREAKER_TOPICS,
    CLIENT_ERROR,
    CLIENT_REQUEST,
    CLIENT_RESPONSE,
    BreakerChanged,
    ClientResponded,
)
from pipebus.http.headers import Headers
from pipebus.http.response import Response
from pipebus.http.spans import end_client_span, start_client_span
from pipebus.limits import INFINITY, Timeouts
from pipebus.telemetry.trace import Tracing

CLIENT: Final = "http.client"
"""The name of the group that answers."""


class Outgoing:
    """Pairs the HTTP client's calls with exchanges on `net.http.client.request`.

    A pipeline that declares a responder of that topic answers in the client's place: that is how a
    test, or a cache, stands in for the network.
    """

    __slots__ = (
        "_bus", "_calls", "_client", "_nobody", "_outbox", "_timeouts", "_tracing", "_uploads",
    )  # fmt: skip

    def __init__(
        self,
        bus: Bus,
        calls: BusCalls,
        client: HttpClient,
        outbox: Outbox,
        timeouts: Timeouts,
        tracing: Tracing | None,
    ) -> None:
        self._bus = bus
        self._calls = calls
        self._client = client
        self._outbox = outbox
        self._timeouts = timeouts
        self._tracing = tracing
        self._uploads: dict[HttpCall, Upload] = {}
        self._nobody = Publisher(PROGRAM)
        """Of every call that is not on the bus, where nothing is published."""

    @property
    def uploads(self) -> int:
        """How many request bodies are being sent."""
        return len(self._uploads)

    def register(self) -> Responder:
        """Answer `net.http.client.request` with traffic."""
        group = self._bus.group(CLIENT_REQUEST, name=CLIENT)
        return self._bus.add_responder(group, concurrency=None, handler=self)

    # --- calls ---------------------------------------------------------------------------------

    def call(
        self,
        request: ClientRequest,
        now: float,
        origin: Invocation | None,
        timeouts: Timeouts | None,
        stream: bool,
        chunks: AsyncIterable[bytes] | None,
        on_bus: bool,
    ) -> HttpCall:
        """Start a call; `chunks` is the body of a request that `streams`.

        With `on_bus=False` no event is published: a client of its own has no bus.
        """
        clocks = timeouts or self._timeouts
        sender = self._calls.sender(origin) if on_bus else self._nobody
        call = HttpCall(sender, clocks, stream, on_bus)
        trace = None if origin is None else origin.trace
        if self._tracing is not None:
            call.span = start_client_span(self._tracing, request, trace, now)
            trace = self._tracing.unrecorded(trace) if call.span is None else call.span.context
        if trace is not None:
            request = request.passing_on(trace.fields())
        if not on_bus:
            call.client_call = self._client.request(request, clocks, now, stream=stream, owner=call)
        else:
            deadline = INFINITY if clocks.total is None else now + clocks.total
            self._calls.open(call, CLIENT_REQUEST, request, now, origin, deadline)
            if call.exchange is not None and call.exchange.outcome is not None:
                call.error = _client_error(call.exchange) or call.error
            if call.exchange is None or call.exchange.outcome is not None:
                self._end_span(call, call.error, now)  # it was refused at once
        if chunks is not None and not call.done:
            upload = self._uploads[call] = Upload(call, chunks, origin)
            self._outbox.actions.append(upload)
        return call

    def start(self, exchange: Exchange, now: float) -> None:
        """Turn an exchange into traffic."""
        request = exchange.request.data
        if not isinstance(request, ClientRequest):
            error = TypeError(
                f"{CLIENT_REQUEST} takes a ClientRequest, not {type(request).__name__}"
            )
            self._bus.fail(exchange, error, now)
            return
        owner = exchange.owner
        http_call = owner if isinstance(owner, HttpCall) else None
        call = self._client.request(
            request,
            self._timeouts if http_call is None else http_call.timeouts,
            now,
            stream=http_call is not None and http_call.stream,
            deadline=exchange.deadline,
            owner=exchange,
        )
        exchange.invocation = call
        if http_call is not None:
            http_call.client_call = call

    def news(self, call: ClientCall, now: float) -> None:
        """Act on what the client says of a call."""
        owner = call.owner
        if call.done:
            call.owner = None  # no circles: what is over is let go of without the collector
        if isinstance(owner, HttpCall):
            self._tell(owner, call, now)
            return
        assert isinstance(owner, Exchange)
        if isinstance(owner.owner, HttpCall) and owner.owner.client_call is call:
            self._tell(owner.owner, call, now)
        if owner.outcome is not None:
            return  # cancelled or timed out: that is why the call has ended
        if call.error is not None:
            self._bus.fail(owner, call.error, now)
        elif call.response is not None:
            self._bus.reply(owner, call.response, now)
        elif call.stream and call.head is not None:
            if owner.state == "running":
                self._bus.start_reply(owner, now)
            if call.done:
                head = call.head
                self._bus.reply(
                    owner, ClientResponse(head.status, Headers(raw=head.headers), b""), now
                )

    def _tell(self, call: HttpCall, news: ClientCall, now: float) -> None:
        """Pass news on to whoever waits for the call, for its body, or for room."""
        if call.room is not None and (not news.upload_paused or news.upload_done):
            room, call.room = call.room, None
            self._outbox.finish(room, value=not news.upload_done)
        if news.upload_done and self._uploads:
            self._end_upload(call)
        if call.reader is not None:
            self._feed(call, call.reader, now)
        if call.stream and news.head is not None and news.error is None:
            self._outbox.finish(call)
        if news.done and not call.on_bus:
            self._end_span(call, news.error, now)
        if not call.on_bus and not call.done and news.done:
            self._outbox.finish(call, news.response, news.error)

    def ended(self, exchange: Exchange, now: float) -> None:
        """Note that an exchange that the client answers has ended: publish how, free its slot."""
        call = exchange.invocation
        if isinstance(call, ClientCall):
            if not call.done and exchange.outcome == "timed_out":
                self._client.expire(call, now)
            elif not call.done:
                self._client.cancel(call, now)
            self._publish(exchange, call, now)
            exchange.invocation = None
        assert exchange.responder is not None
        self._bus.released(exchange.responder, now)

    def _publish(self, exchange: Exchange, call: ClientCall, now: float) -> None:
        topic = CLIENT_RESPONSE if exchange.outcome == "replied" else CLIENT_ERROR
        if not self._bus.listens(topic):
            return
        response = exchange.reply if isinstance(exchange.reply, ClientResponse) else None
        data = ClientResponded(
            method=call.request.method,
            url=call.request.url,
            status=0 if call.head is None else call.head.status,
            outcome=exchange.outcome or "",
            reused=call.reused,
            timings=call.timings,
            error=type(exchange.error).__name__ if exchange.error is not None else "",
            response=response,
        )
        try:
            self._bus.publish(
                topic, data, now, publisher=exchange.publisher, cause=exchange.request
            )
        except WouldDeadlock as error:  # who would have to take it waits for this very call
            self._outbox.actions.append(Report(f"{topic} was not published", error))

    def breaker_changed(self, change: BreakerChange, now: float) -> None:
        """Publish that a circuit breaker opened, lets a probe through, or closed."""
        self._outbox.actions.append(Report(_told(change), None))
        topic = BREAKER_TOPICS[change.new]
        if self._bus.listens(topic):
            self._bus.publish(topic, BreakerChanged(*change), now, publisher=self._nobody)

    def answered(self, call: HttpCall, exchange: Exchange, now: float) -> None:
        """Note that the exchange of a call has ended: its waiter gets the response or the error."""
        if call.client_call is None:
            self._stand_in(call, exchange)
        error = None if exchange.outcome == "replied" else _client_error(exchange)
        self._end_span(call, error or exchange.error, now)
        self._calls.answered(call, exchange, now, error)
        if self._uploads:
            self._end_upload(call)

    def _end_span(self, call: HttpCall, error: BaseException | None, now: float) -> None:
        if call.span is not None:
            span, call.span = call.span, None
            end_client_span(span, call.client_call, error, now)

    def _stand_in(self, call: HttpCall, exchange: Exchange) -> None:
        """Make the answer of a program's own responder look like one from the network."""
        reply = exchange.reply
        request = exchange.request.data
        if isinstance(reply, Response) and isinstance(request, ClientRequest):
            exchange.reply = reply = ClientResponse(
                reply.status, reply.headers, reply.body, method=request.method, url=request.url
            )
        if isinstance(reply, ClientResponse):
            call.ahead = reply.body

    def cancel(self, call: HttpCall, now: float) -> None:
        """Call a call off, or end a streamed response early."""
        if call.client_call is not None:
            self._client.cancel(call.client_call, now)
        if call.exchange is not None:
            self._bus.cancel(call.exchange, "caller", now)
        self._end_upload(call)

    # --- the response's body -------------------------------------------------------------------

    def read(self, call: HttpCall, now: float) -> ReadCall:
        """Wait for the next piece of a streamed response."""
        read = ReadCall(call)
        if call.reader is not None:
            msg = "somebody reads this response already"
            raise RuntimeError(msg)
        self._feed(call, read, now)
        if not read.done:
            call.reader = read
        return read

    def _feed(self, call: HttpCall, read: ReadCall, now: float) -> None:
        source = call.client_call
        piece, call.ahead = call.ahead, None
        ended, error = source is None, None
        if source is not None:
            piece = piece or self._client.take_body(source, now)
            ended, error = source.body_done, source.error
        if piece or ended or error is not None:
            call.reader = None
            self._outbox.finish(read, piece or None, None if piece else error)

    # --- the request's body --------------------------------------------------------------------

    def upload_ready(self, call: HttpCall, now: float) -> RoomCall:
        """Wait until a piece may be sent; the value is False when no more are wanted."""
        room = RoomCall(call)
        source = call.client_call
        if source is None or source.upload_done:
            self._outbox.finish(room, value=False)
        elif not source.upload_paused:
            self._outbox.finish(room, value=True)
        else:
            call.room = room
        return room

    def upload_chunk(self, call: HttpCall, chunk: object, now: float) -> None:
        """Send a piece, after `upload_ready`; `TypeError` for one that is no bytes."""
        if not isinstance(chunk, bytes):
            msg = f"a streamed body is made of bytes, not {type(chunk).__name__}"
            raise TypeError(msg)
        source = call.client_call
        if source is not None and not source.upload_done:
            self._client.send_body(source, chunk, now)

    def upload_end(self, call: HttpCall, now: float) -> None:
        """End the body."""
        self._uploads.pop(call, None)
        source = call.client_call
        if source is not None and not source.upload_done:
            self._client.end_body(source, now)

    def upload_failed(self, call: HttpCall, error: BaseException, now: float) -> None:
        """Cut the body: the call fails with what its iterable raised."""
        self._uploads.pop(call, None)
        source = call.client_call
        if source is not None and not source.upload_done:
            self._client.fail_body(source, error, now)

    def _end_upload(self, call: HttpCall) -> None:
        upload = self._uploads.pop(call, None)
        if upload is not None:
            self._outbox.actions.append(Cancel(upload))

    def forget(self, call: Call) -> None:
        """Note that nobody waits for a piece or for room any more."""
        if isinstance(call, ReadCall) and isinstance(call.source, HttpCall):
            if call.source.reader is call:
                call.source.reader = None
            if call.value is not None:
                call.source.ahead = call.value
        elif isinstance(call, RoomCall) and isinstance(call.target, HttpCall):
            call.target.room = None
        self._outbox.finish(call)


def _told(change: BreakerChange) -> str:
    """Say in words what became of a breaker."""
    if change.new == "open":
        cause = (
            f"{change.failures} of {change.calls} calls failed"
            if change.calls
            else "it fails still"
        )
        return f"breaker of {change.name} is open for {change.retry_after:.3g} s: {cause}"
    if change.new == "half_open":
        return f"breaker of {change.name} lets one call through"
    return f"breaker of {change.name} is closed"


def _client_error(exchange: Exchange) -> BaseException | None:
    """Return what the caller of an outgoing call gets instead of a `RequestError`, if anything."""
    if exchange.outcome == "timed_out":
        return TotalTimeout("the whole call took too long")
    if exchange.outcome in ("cancelled", "drained"):
        return CallCancelled(f"the call was cancelled: {exchange.cancel_reason or 'shutdown'}")
    return exchange.error if isinstance(exchange.error, PipebusError) else None
