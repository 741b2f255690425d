"""What every connection shares, whatever its role: bytes out, two timers and the way it closes."""

from typing import Final

from pipebus.errors import LocalProtocolError
from pipebus.http.body_writer import BodyWriter
from pipebus.http.cycle import CLOSE, CLOSED, Cycle
from pipebus.http.send_buffer import SendBuffer
from pipebus.http.server_events import Close
from pipebus.limits import INFINITY
from pipebus.timers import Timed

WRITE_TIMEOUT: Final = "write_timeout"


class Connection(Timed):
    """The base of a connection machine: output, closing, one read timer and one write timer.

    The read timer is whichever of the role's timeouts waits for the peer to say something; the
    write timer runs while bytes wait to be sent and the peer takes none.
    """

    __slots__ = (
        "_cycle", "_read_deadline", "_read_reason", "_write_deadline", "_write_timeout", "_writer",
        "body_out", "bytes_out", "out", "wants_close",
    )  # fmt: skip

    def __init__(self, write_timeout: float) -> None:
        super().__init__()
        self.wants_close: Close = Close.NO
        self.bytes_out: int = 0
        """Bytes written in this cycle, so far (buffered ones included)."""
        self.body_out: int = 0
        """The body's share of them, with the lines that frame its chunks."""
        self._cycle = Cycle()
        self.out: SendBuffer = SendBuffer()
        """What `data_to_send` returns; for looking at."""
        self._writer: BodyWriter | None = None  # of a streamed body under way
        self._write_timeout = write_timeout
        self._write_deadline = INFINITY
        self._read_deadline = INFINITY
        self._read_reason = ""

    def data_to_send(self) -> bytes:
        """Return the next bytes to write, b"" for none; they stay until `data_sent`."""
        return self.out.peek()

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self.out.size

    def _push(self, data: bytes, now: float) -> None:
        out = self.out
        if out.size == 0:
            self._write_deadline = now + self._write_timeout
            self._arm()
        out.push(data)
        self.bytes_out += len(data)

    def _push_body(self, data: bytes | None, now: float) -> None:
        """Write a piece of the streamed body, or with None its end."""
        if self._writer is None:
            raise LocalProtocolError(f"no body to send while {self._cycle.state}")
        before = self.out.size
        if data is None:
            self._writer.end(self.out)
            self._writer = None
        else:
            self._writer.write(data, self.out)
        self.bytes_out += self.out.size - before
        self.body_out += self.out.size - before
        if before == 0 and self.out.size:
            self._write_deadline = now + self._write_timeout
            self._arm()

    def _drop_sent(self, count: int, now: float) -> bool:
        """Let go of what was sent; False if nothing moved, or it was dropped by a reset before."""
        out = self.out
        if not (count and out.size):
            return False
        out.sent(count)
        self._write_deadline = now + self._write_timeout if out.size else INFINITY
        return True

    def _wait(self, deadline: float, reason: str = "") -> None:
        """Set the read timer, INFINITY for none."""
        self._read_deadline = deadline
        self._read_reason = reason
        if deadline <= self._write_deadline:
            self.deadline = deadline
            self.deadline_reason = reason
        else:
            self.deadline: float = self._write_deadline
            self.deadline_reason: str = WRITE_TIMEOUT

    def _arm(self) -> None:
        self._wait(self._read_deadline, self._read_reason)

    def _how_to_cut(self) -> Close:
        """Choose how the peer sees that a message is cut short.

        A missing last chunk and a short Content-Length show; a body that lasts until the close
        needs a reset.
        """
        until_close = self._writer is not None and self._writer.framing.kind == "until_close"
        return Close.RESET if until_close else Close.AFTER_FLUSH

    def _close(self, how: Close) -> None:
        """Say nothing more; RESET also drops what was not sent."""
        if self._cycle.state != CLOSED:
            self._cycle.sent(CLOSE)
        self._writer = None
        self.wants_close = how
        if how is Close.RESET:
            self.out.clear()
            self._write_deadline = INFINITY
        self._wait(INFINITY)
