"""Fields that are added to every response, by option: the request's id, and where time went."""

from pipebus.http.session import NOT_REACHED, Session
from pipebus.http.wire import RawHeaders
from pipebus.telemetry.stages import measure

REQUEST_ID = b"x-request-id"


class Annotations:
    """What is added to responses. Output: `added_to`."""

    __slots__ = ("request_id", "server_timing")

    def __init__(self, *, request_id: bool, server_timing: bool) -> None:
        self.request_id: bool = request_id
        self.server_timing: bool = server_timing

    def added_to(
        self, raw: RawHeaders, session: Session, request_id: str, now: float
    ) -> RawHeaders:
        """Return the fields of a response with those that are added; `raw` is left as it is.

        A field that the response has already is not added.
        """
        fields = list(raw)
        names = {name for name, _ in fields}
        if self.request_id and REQUEST_ID not in names:
            fields.append((REQUEST_ID, request_id.encode("latin-1")))
        if self.server_timing and b"server-timing" not in names:
            fields.append((b"server-timing", _server_timing(session, now)))
        return fields


def _server_timing(session: Session, now: float) -> bytes:
    """Return the stages until now, in milliseconds (W3C Server Timing)."""
    stages = measure(session.started, session.dispatched, session.began, now, now)
    parts = [f"read;dur={stages.read * 1e3:.3f}"]
    if session.dispatched != NOT_REACHED:
        parts.append(f"queue;dur={stages.queue * 1e3:.3f}")
        parts.append(f"handler;dur={stages.handler * 1e3:.3f}")
    return ", ".join(parts).encode("ascii")
