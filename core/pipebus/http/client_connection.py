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
    REQUEST_FAULT,
    RESPONSE,
    RESPONSE_END,
    RESPONSE_HEAD,
    after,
)
from pipebus.http.framing import NO_BODY, Framing, has_no_body, keep_alive
from pipebus.http.head_buffer import HeadBuffer
from pipebus.http.head_check import check_response_head, usual_response_length
from pipebus.http.request_sender import RequestSender
from pipebus.http.server_events import NOT_CLOSING, Close
from pipebus.http.wire import ResponseHead, WireCodec
from pipebus.limits import INFINITY, ClientLimits

_AWAITS_HEAD: Final = frozenset({REQUEST, AWAITING})
_IN_BODY: Final = frozenset({DUPLEX, RESPONSE, REFUSING})
_WHOLE_RESPONSE: Final = after(AWAITING, RESPONSE_HEAD, RESPONSE_END, NEXT)


class ClientConnection(RequestSender):
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
        "_events", "_expired", "_heads", "_informational", "_peer_keeps", "_reader", "_wire",
        "idle_since", "noted", "origin_key", "owner", "peer_gone", "token",
    )  # fmt: skip

    def __init__(
        self,
        limits: ClientLimits,
        wire: WireCodec,
        expired: "Callable[[ClientConnection, float], None]",
    ) -> None:
        super().__init__(limits)
        self.token: object = None
        """The driver's."""
        self.owner: object = None
        """The call that it serves: the client's business, as are `origin_key` and `noted`."""
        self.origin_key: str = ""
        self.noted: bool = False
        self.idle_since: float = 0.0
        self.peer_gone: bool = False
        """The last error was the end of the connection, or a byte nobody had asked for."""
        self._wire = wire
        self._expired = expired
        self._heads = HeadBuffer(
            max_head=limits.max_head, max_fields=limits.max_fields, max_request_line=None
        )
        self._events: deque[ConnectionEvent] = deque()
        self._reader: BodyReader | None = None
        self._informational = 0
        self._peer_keeps = False

    # --- the owner ---------------------------------------------------------------------------

    @property
    def body_length(self) -> int:
        """The Content-Length of the body that is being read; 0 if there is none."""
        return 0 if self._reader is None else self._reader.framing.length

    def set_idle(self, timeout: float, now: float) -> None:
        """Wait for the next request for `timeout` seconds."""
        self.idle_since = now
        self.deadline = now + timeout
        self.deadline_reason = "idle"

    def close(self, *, abort: bool = False) -> None:
        """Close now, with `abort` so that the server sees a reset; no event comes any more."""
        self._events.clear()
        if self.wants_close is NOT_CLOSING:
            self._end(Close.RESET if abort else Close.AFTER_FLUSH)

    # --- what the driver reports -------------------------------------------------------------

    def take_whole(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Take a response that is `data`, the whole of it and nothing else: `reusable` afterwards.

        Return its head and its body, as `receive_data` and `next_event` would in three events. None
        for whatever is not that simple (`head_check.usual_response_length`), or is not what the
        connection waits for: nothing has happened then. It is left without a deadline: `set_idle`,
        `send_request` or `close` follows.
        """
        if (
            self._cycle.state is not AWAITING
            or not self.handed_over
            or self.out.size
            or self._method == "HEAD"
        ):
            return None
        end = self._heads.end_of_whole(data)
        if not end:
            return None
        raw = data[:end]
        length = usual_response_length(raw)
        if length < 0 or length != len(data) - end:
            return None
        try:
            head = self._wire.parse_response_head(raw)
        except RemoteProtocolError:
            return None
        self._cycle.state = _WHOLE_RESPONSE
        self._informational = 0
        self.gave_bytes = self.reusable = True
        self._total = self.deadline = INFINITY
        return head, data[end:]

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the server (not empty)."""
        if self.wants_close is not NOT_CLOSING:
            return
        state = self._cycle.state
        if state == IDLE or not self.handed_over:
            # Whatever this is, it answers no request of ours (RFC 9112 section 9.2).
            self._fail_gone("the server sent bytes that nobody had asked for")
            return
        self.gave_bytes: bool = True
        try:
            if state in _AWAITS_HEAD:
                self._heads.append(data)
                self._read_heads()
            else:
                self._read_body(data)
        except RemoteProtocolError as error:
            self._fail(as_client_error(error))
            return
        if self._reader is not None or not self.out.size:
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

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now < self.deadline:
            return
        reason = self.deadline_reason
        if self._cycle.state == IDLE:
            self.close(abort=self.out.size > 0)
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
        self._informational = 0
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
        self.out.clear()
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
        if self.wants_close is NOT_CLOSING:
            self.peer_gone = True
            self._fail(UpstreamProtocolError(what))

    def _fail(self, error: ClientError) -> None:
        self._events.append(error)
        self._end(Close.AFTER_FLUSH if self.peer_gone else Close.RESET)

    def _end(self, how: Close) -> None:
        self._cycle.sent(CLOSE)
        self.wants_close = how
        self.out.clear()
        self.wants_read = False
        self.reusable: bool = False
        self._reader = None
        self._writer = None
        self._heads.clear()
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""
