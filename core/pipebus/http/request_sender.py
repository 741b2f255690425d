"""The sending half of a connection to a server: the request, and whose move it is."""

from typing import Final

from pipebus.http.body_writer import BodyWriter
from pipebus.http.client_request import ClientRequest
from pipebus.http.cycle import IDLE, REQUEST_END, REQUEST_HEAD, Cycle, after
from pipebus.http.send_buffer import SendBuffer
from pipebus.http.server_events import NOT_CLOSING, Close
from pipebus.limits import INFINITY, ClientLimits, Timeouts
from pipebus.timers import Timed

_ONE_WRITE: Final = 16 * 1024
"""A body up to this size is joined to its head: one write, one segment."""
_PIECE: Final = 64 * 1024
"""A larger body goes out in pieces, so that the write timeout sees progress."""

_WHOLE_REQUEST: Final = after(IDLE, REQUEST_HEAD, REQUEST_END)
_NO_TIMEOUTS: Final = Timeouts(connect=None, write=None, read=None, pool=None, total=None)


class RequestSender(Timed):
    """The base of `ClientConnection`: output, and one deadline for whoever has to move."""

    __slots__ = (
        "_activity", "_cycle", "_limits", "_method", "_timeouts", "_total", "_writer", "gave_bytes",
        "handed_over", "out", "reusable", "served", "wants_close", "wants_read",
    )  # fmt: skip

    def __init__(self, limits: ClientLimits) -> None:
        super().__init__()
        self.wants_read: bool = True
        self.wants_close: Close = Close.NO
        self.reusable: bool = False
        """After `Complete`: both sides are done, no byte is left over and both keep it alive."""
        self.served: int = 0
        """Requests sent on it so far."""
        self.handed_over: bool = False
        """The driver was given bytes of this request: from then on the server may have it."""
        self.gave_bytes: bool = False
        """The server sent a byte after this request."""
        self.out: SendBuffer = SendBuffer()
        """What `data_to_send` returns; for looking at."""
        self._limits = limits
        self._cycle = Cycle()
        self._writer: BodyWriter | None = None
        """Of a streamed body that has not ended."""
        self._method = ""
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
        cycle = self._cycle
        if request.streams or cycle.state is not IDLE:
            cycle.sent(REQUEST_HEAD)
            self._writer = BodyWriter(request.framing)
        else:
            cycle.state = _WHOLE_REQUEST
        self._method = request.method
        self._timeouts = timeouts
        self._total = total
        self._activity = now
        self.served += 1
        self.handed_over = self.gave_bytes = self.reusable = False
        body = request.body
        if len(body) <= _ONE_WRITE:
            self.out.push(request.head + body)
        else:
            self.out.push(request.head)
            for start in range(0, len(body), _PIECE):
                self.out.push(body[start : start + _PIECE])
        self._rearm()

    def send_body(self, chunk: bytes, now: float) -> bool:
        """Send a piece of a streamed body; False: above `write_high_water`, wait for `has_room`.

        Ignored once the body has ended. More bytes than the request's `content_length` raise
        `LocalProtocolError`.
        """
        if self._writer is not None:
            if not self.out.size:
                self._activity = now
            self._writer.write(chunk, self.out)
            self._rearm()
        return self.has_room

    def end_body(self, now: float) -> None:
        """End a streamed body; fewer bytes than promised raise `LocalProtocolError`."""
        if self._writer is not None:
            self._writer.end(self.out)
            self._writer = None
            self._cycle.sent(REQUEST_END)
            self._activity = now
            self._rearm()

    @property
    def has_room(self) -> bool:
        """Whether less than `write_high_water` waits to be sent."""
        return self.out.size <= self._limits.write_high_water

    @property
    def uploading(self) -> bool:
        """Whether more of a streamed body is wanted."""
        return self._writer is not None

    @property
    def request_sent(self) -> bool:
        """Whether the driver has sent the whole request."""
        return self._writer is None and not self.out.size

    def set_reading(self, now: float, *, reading: bool) -> None:
        """Stop reading because the body's reader is slow, or read on."""
        if self.wants_close is NOT_CLOSING:
            self.wants_read = reading
            self._activity = now
            self._rearm()

    # --- the driver ----------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """Return the next bytes to write, b"" for none; the same until `data_sent`."""
        self.handed_over = True
        return self.out.peek()

    def data_sent(self, count: int, now: float) -> bool:
        """Say that the first `count` bytes of `data_to_send` are with the operating system.

        False: nothing was waiting; it was dropped meanwhile, or is said twice.
        """
        out = self.out
        if count == out.size:
            if not count:
                return False
            out.clear()
        elif out.size:
            out.sent(count)
        else:
            return False
        self._activity = now
        self._rearm()
        return True

    def _rearm(self) -> None:
        """Set the deadline: who has to move now, and until when."""
        limit: float | None = None
        reason = "read"
        if self.out.size:
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
