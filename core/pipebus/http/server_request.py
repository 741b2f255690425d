"""The request half of a server connection: heads, bodies, the peer's end and the read timer."""

import re
from collections import deque
from typing import Final

from pipebus.errors import LocalProtocolError, RemoteProtocolError
from pipebus.http import cycle
from pipebus.http.body import BodyCollector, BodyReader
from pipebus.http.connection import Connection
from pipebus.http.encode import CONTINUE
from pipebus.http.framing import NO_BODY, expects_continue, keep_alive
from pipebus.http.head_buffer import HeadBuffer
from pipebus.http.head_check import check_request_head
from pipebus.http.server_events import (
    HALF_CLOSED,
    NOT_CLOSING,
    PEER_GONE,
    Bad,
    BodyComplete,
    BodyReceived,
    Close,
    HeadReceived,
    ServerEvent,
)
from pipebus.http.wire import RequestHead, WireCodec
from pipebus.limits import INFINITY, Limits

HEAD_TIMEOUT: Final = "head_timeout"
IDLE_TIMEOUT: Final = "idle_timeout"
BODY_TIMEOUT: Final = "body_timeout"
LINGER_TIMEOUT: Final = "linger_timeout"

_REFUSED: Final = frozenset({cycle.REFUSED, cycle.REFUSING})
_READABLE: Final = frozenset({cycle.REQUEST, cycle.DUPLEX})
_target_host: Final = re.compile(rb"[^:]+://([^/?]*)").match


class RequestHalf(Connection):
    """What `ServerConnection` does until a request is read; not used by itself."""

    __slots__ = (
        "_blocked", "_collect", "_collected", "_draining", "_eof", "_framing", "_heads", "_held",
        "_last", "_limits", "_paused", "_peer_gone", "_reader", "_reading", "_wire", "bytes_in",
        "events", "head",
    )  # fmt: skip

    def __init__(self, limits: Limits, wire: WireCodec, now: float) -> None:
        super().__init__(limits.write_timeout)
        self.head: RequestHead | None = None
        """The request that is being served."""
        self.bytes_in: int = 0
        """Bytes of this request on the wire, head and body, so far."""
        self._limits = limits
        self._wire = wire
        self._heads = HeadBuffer(
            max_head=limits.max_head,
            max_fields=limits.max_fields,
            max_request_line=limits.max_request_line,
        )
        self.events: deque[ServerEvent] = deque()
        """What `next_event` returns, for who asks often."""
        self._framing = NO_BODY  # of the request's body
        self._reader: BodyReader | None = None  # of a body that is read piece by piece
        self._reading = False  # read_body was called and the body is not complete
        self._paused = False
        self._collect = False
        self._collected = BodyCollector()
        self._blocked = False  # send_body returned False
        self._last = False  # no request after this one
        self._draining = False
        self._eof = False
        self._held = False  # the next head waits until earlier responses are out
        self._peer_gone = False
        self._wait(now + limits.head_timeout, HEAD_TIMEOUT)

    # --- inputs ---

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer (not empty; an end is `receive_eof`)."""
        state = self._cycle.state
        if self._eof or self.wants_close is not NOT_CLOSING or state in _REFUSED:
            return  # thrown away
        if self._reading and not self._paused:
            self._feed(data, now)
            return
        self._heads.append(data)
        if state == cycle.IDLE and not self._held:
            self._cut_head(now)

    def receive_eof(self, now: float) -> None:
        """Take note that the peer shut its sending side."""
        if self._eof:
            return
        self._eof = True
        state = self._cycle.state
        if self.wants_close is Close.LINGER:
            self._close(Close.AFTER_FLUSH)
        elif state == cycle.IDLE and not self._held:
            self._await_rest_of_head(now)
        elif state in _READABLE and not self._may_be_complete():
            self._vanish(self._how_to_cut())
        elif state in (cycle.AWAITING, cycle.RESPONSE):
            self.events.append(HALF_CLOSED)

    def _may_be_complete(self) -> bool:
        """Tell whether what is held can be the rest of the body; if not, it never comes."""
        framing = self._framing
        if framing is NO_BODY:
            return True
        held = self._heads.held
        received = 0 if self._reader is None else self._reader.received
        return held > 0 and held >= framing.length - received

    def connection_lost(self, now: float) -> None:
        """Take note of a reset, a failed write or the close; `PeerGone` follows, once."""
        self._vanish(Close.RESET)

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now >= self._write_deadline:
            self._vanish(Close.RESET)
        elif now >= self._read_deadline:
            reason = self._read_reason
            if reason == LINGER_TIMEOUT:
                self._close(Close.AFTER_FLUSH)
            elif reason == BODY_TIMEOUT:
                self._refuse(408, "the request's body did not come in time")
            elif self._heads.held:
                self._refuse(408, "the request's head did not come in time")
            else:
                self._shut(Close.AFTER_FLUSH)  # idle, or nothing ever came: silently

    # --- heads ---

    def _await_request(self, now: float) -> None:
        self._wait(now + self._limits.idle_timeout, IDLE_TIMEOUT)
        if self._draining:
            self._await_last_request(now)
        if self._heads.held:
            self._cut_head(now)
        elif self._eof:
            self._shut(Close.AFTER_FLUSH)

    def _await_last_request(self, now: float) -> None:
        self._wait(min(self._read_deadline, now + self._limits.idle_grace), IDLE_TIMEOUT)

    def _cut_head(self, now: float) -> None:
        try:
            data = self._heads.next_head()
            if data is None:
                self._await_rest_of_head(now)
                return
            self._framing = check_request_head(data)
            head = self._wire.parse_request_head(data)
        except RemoteProtocolError as error:
            self._refuse(error.status_hint, str(error))
            return
        self._cycle.received(cycle.REQUEST_HEAD)
        if not head.target.startswith(b"/"):
            _prefer_target_host(head)
        self.head = head
        self.bytes_in = len(data)
        self._reader = None
        if not keep_alive(head.http_version, head.headers):
            self._last = True
        self.events.append(HeadReceived(head))
        self._wait(INFINITY)

    def _await_rest_of_head(self, now: float) -> None:
        if self._heads.held == 0:
            if self._eof:
                self._shut(Close.AFTER_FLUSH)
        elif self._eof:
            self._vanish(Close.AFTER_FLUSH)
        elif self._read_reason != HEAD_TIMEOUT:  # the first head's runs since accept
            self._wait(now + self._limits.head_timeout, HEAD_TIMEOUT)

    # --- bodies ---

    def read_body(self, now: float, *, max_body: int | None, collect: bool) -> None:
        """Answer `HeadReceived`: let the body in, at most `max_body` bytes of it (None: any).

        Sends 100 Continue if the client waits for it. `collect=True`: one `BodyComplete` with all
        of it; False: `BodyReceived` pieces, then `BodyComplete(b"")`. Over the bound: `Bad(413)`.
        """
        if self.wants_close is not NOT_CLOSING:
            return
        if self._reading or self._cycle.state != cycle.REQUEST:
            raise LocalProtocolError(f"no body to read while {self._cycle.state}")
        framing = self._framing
        if framing is NO_BODY:
            self._complete_request(b"")
            return
        length = framing.length
        if max_body is not None and length > max_body:
            self._refuse(413, "the body is too large")
            return
        if collect and framing.kind == "length" and self._heads.held >= length:
            self.bytes_in += length
            self._complete_request(self._heads.take(length))
            return
        self._reader = BodyReader(framing)
        self._reader.max_size = max_body
        self._collect = collect
        self._reading = True
        # No final response may precede a 100, and bytes on their way show that none is waited for
        # (RFC 9110 section 10.1.1).
        if (
            self._cycle.state == cycle.REQUEST
            and self._heads.held == 0
            and self._expects_continue()
        ):
            self._cycle.sent(cycle.INFORMATIONAL)
            self._push(CONTINUE, now)
        self._paused = False
        self._go_on(now)

    def _expects_continue(self) -> bool:
        return self.head is not None and expects_continue(self.head)

    def pause_body(self) -> None:
        """Stop delivering body pieces; the body timeout stands still."""
        if self._reading:
            self._paused = True
            self._wait(INFINITY)

    def resume_body(self, now: float) -> None:
        """Go on delivering body pieces."""
        if self._reading:
            self._paused = False
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._heads.held:
            self._feed(self._heads.take(), now)
        else:
            self._await_body(now)

    def _feed(self, data: bytes, now: float) -> None:
        reader = self._reader
        assert reader is not None
        try:
            piece = reader.feed(data)
        except RemoteProtocolError as error:
            self._refuse(error.status_hint, str(error))
            return
        self.bytes_in += reader.used
        whole = len(piece) == reader.received
        if self._collect and not (whole and reader.complete):
            self._collected.add(piece)
        elif piece and not self._collect:
            self.events.append(BodyReceived(piece))
        if not reader.complete:
            self._await_body(now)
            return
        if reader.used < len(data):
            self._heads.append(data[reader.used :])
        if not self._collect:
            piece = b""
        elif not whole:
            piece = self._collected.take()
        self._complete_request(piece)

    def _complete_request(self, body: bytes) -> None:
        self._reading = False
        self._cycle.received(cycle.REQUEST_END)
        self.events.append(BodyComplete(body))
        if self._eof:
            self.events.append(HALF_CLOSED)
        if self._read_deadline < INFINITY:
            self._wait(INFINITY)

    def _await_body(self, now: float) -> None:
        if self._eof:
            self._vanish(self._how_to_cut())
        else:
            self._wait(now + self._limits.body_timeout, BODY_TIMEOUT)

    def _skip_body(self) -> None:
        """Complete a request that is answered unread, if all of it is here anyway."""
        if self._framing is not NO_BODY:
            reader = BodyReader(self._framing)
            data = self._heads.take()
            try:
                reader.feed(data)
            except RemoteProtocolError:
                return
            if not reader.complete:
                return
            self.bytes_in += reader.used
            self._heads.append(data[reader.used :])
        self._cycle.received(cycle.REQUEST_END)

    # --- ends ---

    def _refuse(self, status: int, detail: str) -> None:
        """Break the request off; an answer, if one is still possible, is the last."""
        self._cycle.received(cycle.REQUEST_FAULT)
        self._last = True
        self._forget_request()
        self.events.append(Bad(status, detail, self.head))
        self._wait(INFINITY)

    def _forget_request(self) -> None:
        self._reading = self._paused = False
        self._heads.clear()
        self._collected.take()

    def _shut(self, how: Close) -> None:
        self._forget_request()
        self._blocked = self._held = False
        self._close(how)

    def _vanish(self, how: Close) -> None:
        """Take note that the peer cannot be answered any more."""
        if not self._peer_gone:
            self._peer_gone = True
            self.events.append(PEER_GONE)
        self._shut(how)


def _prefer_target_host(head: RequestHead) -> None:
    """Let the host of an absolute-form target replace Host (RFC 9112 section 3.2.2)."""
    host = _target_host(head.target)
    if host is not None:
        head.headers = [field for field in head.headers if field[0] != b"host"]
        head.headers.insert(0, (b"host", host[1]))
