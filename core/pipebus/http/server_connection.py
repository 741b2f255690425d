"""One server connection: bytes to messages and back; knows no bus."""

from typing import Final

from pipebus.errors import LocalProtocolError, RemoteProtocolError
from pipebus.http import cycle, encode
from pipebus.http.body_writer import BodyWriter
from pipebus.http.framing import NO_BODY, NO_CONTENT, answer_framing, keep_alive
from pipebus.http.head_check import usual_length
from pipebus.http.server_events import DONE, NOT_CLOSING, WRITABLE, Close, ServerEvent
from pipebus.http.server_request import LINGER_TIMEOUT, RequestHalf
from pipebus.http.wire import HTTP_10, HTTP_11, RawHeaders, RequestHead, WireCodec
from pipebus.limits import INFINITY, Limits
from pipebus.wall_clock import WallClock

_OWING: Final = frozenset({cycle.REQUEST, cycle.AWAITING, cycle.REFUSED})
_WHOLE_REQUEST: Final = cycle.after(cycle.IDLE, cycle.REQUEST_HEAD, cycle.REQUEST_END)
_WHOLE_RESPONSE: Final = cycle.after(cycle.AWAITING, cycle.RESPONSE_HEAD, cycle.RESPONSE_END)
_JOIN_BODY: Final = 64 * 1024
"""A body up to this size goes out in one piece with its head."""


class ServerConnection(RequestHalf):
    """An HTTP/1.x connection as its server sees it.

    Inputs: `receive_data`, `receive_eof`, `connection_lost`, `data_sent`, `handle_timeout`.
    Mutators: `read_body`, `send_response`, `send_body`, `end_body`, `abort`, `next_request`,
    `pause_body`, `resume_body`, `drain`, `close_after_response`.
    Outputs, polled in this order after any of them: `next_event` until None, `data_to_send`,
    `wants_close`, `wants_read`, `deadline`.

    Once nothing more can be said (`PeerGone`, `abort`, a timeout, the last answer) every method
    may still be called and does nothing.
    """

    __slots__ = ("_clock", "_persists", "added")

    def __init__(self, limits: Limits, wire: WireCodec, clock: WallClock, now: float) -> None:
        """`now`: the time of accept; the head timeout runs, a TLS handshake included."""
        super().__init__(limits, wire, now)
        self._clock = clock
        self._persists = False  # what the response's head said
        self.added: bytes = b""
        """Field lines, each with its CRLF, for the next response's head; whoever sets it checks."""

    # --- the usual request, in one go ---

    def look_at_whole(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Return head and body of a request that is `data`, the whole of it and nothing else.

        None for whatever is not that simple (`head_check.usual_length`), or does not come first.
        Nothing has happened yet: go on with `take_whole`, or with `receive_data`.
        """
        if (
            self._cycle.state is not cycle.IDLE
            or self._held
            or self._last
            or self._draining
            or self._eof
            or self.wants_close is not NOT_CLOSING
        ):
            return None
        end = self._heads.end_of_whole(data)
        if not end:
            return None
        head = data[:end]
        if usual_length(head) != len(data) - end:
            return None
        try:
            return self._wire.parse_request_head(head), data[end:]
        except RemoteProtocolError:
            return None

    def take_whole(self, head: RequestHead, size: int, now: float) -> None:
        """Receive the request of `size` bytes that was looked at: a response is owed."""
        self._cycle.state = _WHOLE_REQUEST
        self.head = head
        self.bytes_in = size
        self._framing = NO_BODY  # what is left of it
        self._wait(INFINITY)

    def send_whole(self, status: int, headers: RawHeaders, body: bytes, now: float) -> bool:
        """Send the usual response, as `send_response` would, and without the `Done`.

        False for whatever is not that simple. Nothing has happened then, nor if it raises: whatever
        comes of a status, fields or a body that are none, `ValueError` for a field that must not be
        written.
        """
        head = self.head
        if (
            self._cycle.state is not cycle.AWAITING
            or head is None
            or head.method == "HEAD"
            or head.http_version != HTTP_11
            or not 200 <= status <= 599
            or status in NO_CONTENT
            or self._last
            or self._draining
            or self._eof
            or self.out.size
            or len(body) > _JOIN_BODY
        ):
            return False
        encode.check_fields(headers)
        date = self._clock.http_date(now)
        data = encode.whole_response(status, headers, self.added, date, body)
        self._cycle.state = _WHOLE_RESPONSE
        self._persists = True
        self._write_deadline = now + self._write_timeout
        self.out.push(data)
        self.bytes_out += len(data)
        self.body_out = len(body)
        self._arm()
        return True

    def all_sent(self, count: int) -> bool:
        """Let go of all that was to be sent, if that is `count` bytes and changes nothing else.

        Only for a request that is over but for this: no timer runs then, until `next_request`.
        """
        if count != self.out.size or self._blocked or self.wants_close is not NOT_CLOSING:
            return False
        self.out.clear()
        self._write_deadline = INFINITY
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""
        return True

    # --- outputs ---

    def next_event(self) -> ServerEvent | None:
        """Return the oldest event that was not yet returned."""
        return self.events.popleft() if self.events else None

    @property
    def wants_read(self) -> bool:
        """Whether more input should be read now."""
        if self._eof:
            return False
        if self.wants_close is not NOT_CLOSING:
            return self.wants_close is Close.LINGER
        return (
            self._heads.held <= self._limits.read_ahead
            or (self._reading and not self._paused)
            or (self._cycle.state == cycle.IDLE and not self._held)
        )

    @property
    def waits_for_room(self) -> bool:
        """Whether `send_body` returned False and `Writable` has not come yet."""
        return self._blocked

    # --- the response ---

    def send_response(
        self,
        status: int,
        headers: RawHeaders,
        body: bytes | None,
        now: float,
        *,
        content_length: int | None = None,
    ) -> bool:
        """Send the final response, or with `body=None` its head: `send_body`, `end_body` follow.

        `status` 200-599. `content_length` (bytes) is a streamed body's, if known. Returns False if
        the peer will be sent no body (HEAD, 204, 304, or it is gone): a stream need not be run,
        only ended. `ValueError` (bad status, field or length) and `LocalProtocolError` (no response
        is owed) change nothing.
        """
        if self._cycle.state == cycle.CLOSED:
            return False
        if not 200 <= status <= 599:
            msg = f"{status!r} is not the status of a final response"
            raise ValueError(msg)
        if content_length is not None and content_length < 0:
            msg = f"{content_length!r} is no Content-Length"
            raise ValueError(msg)
        encode.check_fields(headers)
        if self._cycle.state not in _OWING:
            raise LocalProtocolError(f"no response is owed while {self._cycle.state}")
        if self._cycle.state == cycle.REQUEST and not self._reading:
            self._skip_body()
        head = self.head
        method, version = ("", HTTP_11) if head is None else (head.method, head.http_version)
        length = content_length if body is None else len(body)
        told, follows = answer_framing(status, method, version, length)
        self._persists = self._may_persist() and told.kind != "until_close"
        connection = b"close"
        if self._persists:
            connection = b"keep-alive" if version == HTTP_10 else b""
        data = encode.response_head(
            status, headers, date=self._clock.http_date(now), framing=told, connection=connection,
            added=self.added,
        )  # fmt: skip
        self._cycle.sent(cycle.RESPONSE_HEAD)
        has_body = follows.kind != "none"
        if body is None:
            self._writer = BodyWriter(follows)
            self._push(data, now)
            return has_body
        if has_body:
            self.body_out = len(body)
        if has_body and len(body) <= _JOIN_BODY:
            data += body
        self._push(data, now)
        if has_body and len(body) > _JOIN_BODY:
            self._push(body, now)
        self._complete_response(now)
        return has_body

    def _may_persist(self) -> bool:
        """Tell whether another request can follow this one, as far as is known now."""
        if self._last or self._draining or self._cycle.state != cycle.AWAITING:
            return False
        return not self._eof or self._heads.held > 0

    def send_body(self, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: wait for `Writable` before the next.

        More than `content_length` cuts the response and raises `LocalProtocolError`.
        """
        if self._cycle.state == cycle.CLOSED:
            return True
        try:
            self._push_body(chunk, now)
        except LocalProtocolError:
            self._cut_response()
            raise
        self._blocked = self.out.size > self._limits.write_high_water
        return not self._blocked

    def end_body(self, now: float) -> None:
        """End a streamed body; fewer bytes than `content_length` cut it and raise an error."""
        if self._cycle.state == cycle.CLOSED:
            return
        try:
            self._push_body(None, now)
        except LocalProtocolError:
            self._cut_response()
            raise
        self._blocked = False
        self._complete_response(now)

    def _cut_response(self) -> None:
        """Let the peer see that a body under way is wrong; without one it was mere misuse."""
        if self._writer is not None:
            self._shut(self._how_to_cut())

    def _complete_response(self, now: float) -> None:
        self._cycle.sent(cycle.RESPONSE_END)
        self.events.append(DONE)
        if self._persists and not self._last:
            return
        # Input that comes to a closed socket makes the kernel send a reset, which can eat the answer
        # (RFC 9112 section 9.6). Only a peer that called this request its last sends no more.
        head = self.head
        more = (
            self._cycle.state == cycle.ENDING
            or self._heads.held > 0
            or head is None
            or keep_alive(head.http_version, head.headers)
        )
        self._shut(Close.LINGER if more and not self._eof else Close.AFTER_FLUSH)
        self._linger_if_flushed(now)

    def _linger_if_flushed(self, now: float) -> None:
        if self.wants_close is Close.LINGER and self.out.size == 0:
            self._wait(now + self._limits.linger_timeout, LINGER_TIMEOUT)

    def abort(self, now: float) -> None:
        """Give the request up, so that the peer sees that its answer is cut short or missing."""
        if self._cycle.state != cycle.CLOSED:
            self._shut(self._how_to_cut())

    # --- the connection ---

    def data_sent(self, count: int, now: float) -> None:
        """Say that the first `count` bytes of `data_to_send` are with the operating system."""
        if not self._drop_sent(count, now):
            return
        if self.wants_close is not NOT_CLOSING:
            self._linger_if_flushed(now)
        size = self.out.size
        if self._blocked and size <= self._limits.write_high_water // 2:
            self._blocked = False
            self.events.append(WRITABLE)
        if self._held and size <= self._limits.write_high_water:
            self._held = False
            self._await_request(now)
        self._arm()

    def next_request(self, now: float) -> None:
        """After `Done`: let the next head be cut (ignored if the connection is ending)."""
        if self._cycle.state == cycle.CLOSED:
            return
        self._cycle.sent(cycle.NEXT)
        self.head: RequestHead | None = None
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.body_out: int = 0
        # A peer that pipelines and does not read may not make us pile up answers.
        if self.out.size > self._limits.write_high_water:
            self._held = True
        else:
            self._held = False
            self._await_request(now)

    def drain(self, now: float) -> None:
        """Close soon if idle; the next response says `Connection: close`.

        A request may be on its way, or wait to be read: a close at once would reset it, and on a
        new connection nobody would try it a second time (RFC 9112 section 9.3.1).
        """
        self._draining = True
        if self._cycle.state == cycle.IDLE and self._heads.held == 0 and not self._held:
            self._await_last_request(now)

    def close_after_response(self) -> None:
        """Let this response be the last on this connection."""
        self._last = True
