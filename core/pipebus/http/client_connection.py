"""One connection to a server, as bytes and messages; it knows no pool and no bus."""

from collections import deque
from collections.abc import Callable
from typing import Final

from pipebus.errors import (
    ClientError,
    ReadTimeout,
    RemoteProtocolError,
    TotalTimeout,
    UpstreamProtocolError,
    WriteTimeout,
)
from pipebus.http.body import BodyReader
from pipebus.http.body_writer import BodyWriter
from pipebus.http.client_message import ClientRequest
from pipebus.http.connection_events import COMPLETE, ConnectionEvent, as_client_error, unfold
from pipebus.http.cycle import (
    AWAITING,
    CLOSE,
    DONE,
    DUPLEX,
    IDLE,
    INFORMATIONAL,
    NEXT,
    REFUSING,
    REQUEST,
    REQUEST_END,
    REQUEST_FAULT,
    REQUEST_HEAD,
    RESPONSE,
    RESPONSE_END,
    RESPONSE_HEAD,
    Cycle,
)
from pipebus.http.framing import NO_BODY, Framing, has_no_body, keep_alive
from pipebus.http.head_buffer import HeadBuffer
from pipebus.http.head_check import check_response_head
from pipebus.http.send_buffer import SendBuffer
from pipebus.http.server_events import Close
from pipebus.http.wire import ResponseHead, WireCodec
from pipebus.limits import INFINITY, ClientLimits, Timeouts
from pipebus.timers import Timed

_ONE_WRITE: Final = 16 * 1024
"""A body up to this size is joined to its head: one write, one segment."""
_PIECE: Final = 64 * 1024
"""A larger body goes out in pieces, so that the write timeout sees progress."""

_AWAITS_HEAD: Final = frozenset({REQUEST, AWAITING})
_IN_BODY: Final = frozenset({DUPLEX, RESPONSE, REFUSING})


class ClientConnection(Timed):
    """One connection.

    For a driver it is a link: `token`, `wants_read`, `wants_close`, `data_to_send()`; inputs go
    through `HttpClient.receive_data(conn, data, now)` and so on.

    Inputs: `receive_data`, `receive_eof`, `connection_lost`, `data_sent`, `handle_timeout` (which
    then calls `expired`, the owner's). Mutators: `send_request`, `send_body`, `end_body`,
    `set_reading`, `set_idle`, `close`. Outputs, after any of them: `next_event` until None,
    `data_to_send`, `wants_close`, `wants_read`, `deadline`. Once it wants to be closed it is dead
    for its owner: every input is ignored.
    """

    __slots__ = (
        "_activity", "_cycle", "_events", "_expired", "_heads", "_informational", "_limits", "_method",
        "_out", "_peer_keeps", "_reader", "_timeouts", "_total", "_wire", "_writer",
        "gave_bytes", "handed_over", "idle_since", "noted", "origin_key", "owner", "peer_gone",
        "reusable", "served", "token", "wants_close", "wants_read",
    )  # fmt: skip

    def __init__(
        self,
        limits: ClientLimits,
        wire: WireCodec,
        expired: "Callable[[ClientConnection, float], None]",
    ) -> None:
        super().__init__()
        self.token: object = None
        """The driver's."""
        self.wants_read: bool = True
        self.wants_close: Close = Close.NO
        self.owner: object = None
        """The call that it serves: the client's business, as are `origin_key` and `noted`."""
        self.origin_key: str = ""
        self.noted: bool = False
        self.reusable: bool = False
        """After `Complete`: both sides are done, no byte is left over and both keep it alive."""
        self.idle_since: float = 0.0
        self.served: int = 0
        """Requests sent on it so far."""
        self.handed_over: bool = False
        """The driver was given bytes of this request: from then on the server may have it."""
        self.gave_bytes: bool = False
        """The server sent a byte after this request."""
        self.peer_gone: bool = False
        """The last error was the end of the connection, or a byte nobody had asked for."""
        self._limits = limits
        self._wire = wire
        self._expired = expired
        self._out = SendBuffer()
        self._heads = HeadBuffer(
            max_head=limits.max_head, max_fields=limits.max_fields, max_request_line=None
        )
        self._events: deque[ConnectionEvent] = deque()
        self._cycle = Cycle()
        self._reader: BodyReader | None = None
        self._writer: BodyWriter | None = None
        """Of a streamed body that has not ended."""
        self._method = ""
        self._informational = 0
        self._peer_keeps = False
        self._timeouts = _NO_TIMEOUTS
        self._total = INFINITY
        self._activity = 0.0

    # --- what the owner sends ----------------------------------------------------------------

    def send_request(
        self, request: ClientRequest, timeouts: Timeouts, total: float, now: float
    ) -> None:
        """Send a request on an idle connection; `total` is the whole call's absolute deadline.

        Raises `LocalProtocolError` on any other.
        """
        self._cycle.sent(REQUEST_HEAD)
        self._method = request.method
        self._timeouts = timeouts
        self._total = total
        self._informational = 0
        self._activity = now
        self.served += 1
        self.handed_over = self.gave_bytes = self.reusable = False
        body = request.body
        if len(body) <= _ONE_WRITE:
            self._out.push(request.head + body if body else request.head)
        else:
            self._out.push(request.head)
            for start in range(0, len(body), _PIECE):
                self._out.push(body[start : start + _PIECE])
        if request.streams:
            self._writer = BodyWriter(request.framing)
        else:
            self._cycle.sent(REQUEST_END)
        self._rearm()

    def send_body(self, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: above `write_high_water`, wait for `has_room`.

        Ignored once the body has ended. More bytes than the request's `content_length` raise
        `LocalProtocolError`.
        """
        if self._writer is not None:
            if not self._out.size:
                self._activity = now
            self._writer.write(chunk, self._out)
            self._rearm()
        return self.has_room

    def end_body(self, now: float) -> None:
        """End a streamed body; fewer bytes than promised raise `LocalProtocolError`."""
        if self._writer is not None:
            self._writer.end(self._out)
            self._writer = None
            self._cycle.sent(REQUEST_END)
            self._activity = now
            self._rearm()

    @property
    def has_room(self) -> bool:
        """Whether less than `write_high_water` waits to be sent."""
        return self._out.size <= self._limits.write_high_water

    @property
    def body_length(self) -> int:
        """The Content-Length of the body that is being read; 0 if there is none."""
        return 0 if self._reader is None else self._reader.framing.length

    @property
    def uploading(self) -> bool:
        """Whether more of a streamed body is wanted."""
        return self._writer is not None

    @property
    def request_sent(self) -> bool:
        """Whether the driver has sent the whole request."""
        return self._writer is None and not self._out.size

    def set_reading(self, now: float, *, reading: bool) -> None:
        """Stop reading because the body's reader is slow, or read on."""
        if self.wants_close is Close.NO:
            self.wants_read = reading
            self._activity = now
            self._rearm()

    def set_idle(self, timeout: float, now: float) -> None:
        """Wait for the next request for `timeout` seconds."""
        self.idle_since = now
        self.deadline = now + timeout
        self.deadline_reason = "idle"

    def close(self, *, abort: bool = False) -> None:
        """Close now, with `abort` so that the server sees a reset; no event comes any more."""
        self._events.clear()
        if self.wants_close is Close.NO:
            self._end(Close.RESET if abort else Close.AFTER_FLUSH)

    # --- what the driver reports -------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the server (not empty)."""
        if self.wants_close is not Close.NO:
            return
        state = self._cycle.state
        if state == IDLE or not self.handed_over:
            # Whatever this is, it answers no request of ours (RFC 9112 section 9.2).
            self._fail_gone("the server sent bytes that nobody had asked for")
            return
        self.gave_bytes = True
        try:
            if state in _AWAITS_HEAD:
                self._heads.append(data)
                self._read_heads()
            else:
                self._read_body(data)
        except RemoteProtocolError as error:
            self._fail(as_client_error(error))
            return
        if self._reader is not None or not self._out.size:
            self._activity = now
        self._rearm()

    def receive_eof(self, now: float) -> None:
        """Take note that the server sends no more."""
        reader = self._reader
        if reader is not None:
            try:
                reader.eof()
            except RemoteProtocolError:
                self.connection_lost(now)
            else:
                self._complete(b"")
        else:
            self.connection_lost(now)

    def connection_lost(self, now: float) -> None:
        """Take note of a reset, a failed write, or the close."""
        where = "inside" if self._cycle.state in _IN_BODY else "before"
        self._fail_gone(f"the server closed the connection {where} its response")

    def data_sent(self, count: int, now: float) -> bool:
        """Say that the first `count` bytes of `data_to_send` are with the operating system.

        False: nothing was waiting; it was dropped meanwhile, or is said twice.
        """
        if not self._out.size:
            return False
        self._out.sent(count)
        self._activity = now
        self._rearm()
        return True

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now < self.deadline:
            return
        reason = self.deadline_reason
        if self._cycle.state == IDLE:
            self.close(abort=self._out.size > 0)
        elif reason == "total":
            self._fail(TotalTimeout("the call took longer than its total timeout"))
        elif reason == "write":
            self._fail(WriteTimeout(f"the server took no byte for {self._timeouts.write} s"))
        else:
            self._fail(ReadTimeout(f"the server sent no byte for {self._timeouts.read} s"))
        self._expired(self, now)

    # --- outputs -----------------------------------------------------------------------------

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet returned."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Return the next bytes to write, b"" for none; the same until `data_sent`."""
        self.handed_over = True
        return self._out.peek()

    # --- reading -----------------------------------------------------------------------------

    def _read_heads(self) -> None:
        while (data := self._heads.next_head()) is not None:
            if b"\r\n " in data or b"\r\n\t" in data:
                data = unfold(data)
            framing = check_response_head(data)
            head = self._wire.parse_response_head(data)
            if head.status >= 200:
                self._head_received(
                    head, NO_BODY if has_no_body(head.status, self._method) else framing
                )
                return
            self._cycle.received(INFORMATIONAL)
            self._informational += 1
            if self._informational > self._limits.max_informational:
                msg = f"the server sent more than {self._limits.max_informational} 1xx responses"
                raise UpstreamProtocolError(msg)

    def _head_received(self, head: ResponseHead, framing: Framing) -> None:
        self._reader = reader = BodyReader(framing)
        self._cycle.received(RESPONSE_HEAD)
        self._peer_keeps = framing.kind != "until_close" and keep_alive(
            head.http_version, head.headers
        )
        if head.status >= 300 and not self.request_sent:
            self._refused()
        self._events.append(head)
        rest = self._heads.take()
        if reader.complete:
            self._complete(rest)
        elif rest:
            self._read_body(rest)

    def _refused(self) -> None:
        """Stop sending a request that was refused half-way (RFC 9112 section 9.5).

        An early 2xx may well be streaming both ways. What was all given to the driver, to a server
        that keeps the connection, goes on: likely it is out and only the report is missing.
        """
        if self._writer is not None:
            self._cycle.sent(REQUEST_FAULT)
            self._writer = None
        elif self._peer_keeps:
            return
        self._out.clear()
        self._peer_keeps = False

    def _read_body(self, data: bytes) -> None:
        reader = self._reader
        assert reader is not None  # from the head to the end of the body
        piece = reader.feed(data)
        if piece:
            self._events.append(piece)
        if reader.complete:
            self._complete(data[reader.used :])

    def _complete(self, rest: bytes) -> None:
        cycle = self._cycle
        cycle.received(RESPONSE_END)
        self._reader = None
        self._writer = None
        self._total = INFINITY
        self._events.append(COMPLETE)
        # A request that is only waiting for the report that it was sent may be finished; with
        # much of it left the server never wanted it.
        if cycle.state == DONE and self._peer_keeps and not rest and self.has_room:
            cycle.sent(NEXT)
            self.reusable = True

    # --- ends and timers ---------------------------------------------------------------------

    def _fail_gone(self, what: str) -> None:
        if self.wants_close is Close.NO:
            self.peer_gone = True
            self._fail(UpstreamProtocolError(what))

    def _fail(self, error: ClientError) -> None:
        self._events.append(error)
        self._end(Close.AFTER_FLUSH if self.peer_gone else Close.RESET)

    def _end(self, how: Close) -> None:
        self._cycle.sent(CLOSE)
        self.wants_close = how
        self._out.clear()
        self.wants_read = False
        self.reusable = False
        self._reader = None
        self._writer = None
        self._heads.clear()
        self.deadline = INFINITY
        self.deadline_reason = ""

    def _rearm(self) -> None:
        """Set the deadline: who has to move now, and until when."""
        limit: float | None = None
        reason = "read"
        if self._out.size:
            limit = self._timeouts.write
            reason = "write"
        elif self._writer is None and self.wants_read and self._cycle.state != IDLE:
            limit = self._timeouts.read
        deadline = INFINITY if limit is None else self._activity + limit
        if self._total <= deadline:
            deadline = self._total
            reason = "total"
        self.deadline: float = deadline
        self.deadline_reason: str = reason


_NO_TIMEOUTS: Final = Timeouts(connect=None, write=None, read=None, pool=None, total=None)
