"""Fields that are added to every response, by option: the request's id, and where time went."""

from typing import Final

from pipebus.http.response import Response
from pipebus.http.session import Session

REQUEST_ID: Final = b"x-request-id"
_SERVER_TIMING: Final = b"server-timing"


class Annotations:
    """What is added to responses. Output: `lines`."""

    __slots__ = ("request_id", "server_timing")

    def __init__(self, *, request_id: bool, server_timing: bool) -> None:
        self.request_id: bool = request_id
        self.server_timing: bool = server_timing

    def lines(self, response: Response, session: Session, request_id: str, now: float) -> bytes:
        """Return the field lines to add: none that the response has itself."""
        has_id = has_timing = False
        for name, _ in response.headers.raw:
            if name == REQUEST_ID:
                has_id = True
            elif name == _SERVER_TIMING:
                has_timing = True
        lines = b""
        if self.request_id and not has_id:
            lines = b"x-request-id: %b\r\n" % request_id.encode("ascii", "replace")
        if self.server_timing and not has_timing:
            lines += _server_timing(session, now)
        return lines


def _server_timing(session: Session, now: float) -> bytes:
    """Write the stages until now, in milliseconds (W3C Server Timing)."""
    dispatched = session.dispatched
    if dispatched < 0.0:  # refused before that
        return b"server-timing: read;dur=%.3f\r\n" % ((now - session.started) * 1e3)
    began = session.began
    if began < 0.0:  # no handler has begun
        began = now
    return b"server-timing: read;dur=%.3f, queue;dur=%.3f, handler;dur=%.3f\r\n" % (
        (dispatched - session.started) * 1e3, (began - dispatched) * 1e3, (now - began) * 1e3,
    )  # fmt: skip
