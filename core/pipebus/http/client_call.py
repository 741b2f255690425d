"""One outgoing call, and what the client asks of a binding for it."""

from collections.abc import Callable
from typing import Final

from pipebus.errors import ClientError
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_message import ClientRequest, ClientResponse
from pipebus.http.dial import Dial
from pipebus.http.response_body import BufferedBody, StreamedBody
from pipebus.http.timings import NO_TIME, Timings
from pipebus.http.wire import ResponseHead
from pipebus.limits import INFINITY, Timeouts
from pipebus.timers import Timed

WAITING: Final = "waiting"
"""For a connection slot."""
RESOLVING: Final = "resolving"
CONNECTING: Final = "connecting"
SENDING: Final = "sending"
"""Some of the request has still to be handed over."""
READING_HEAD: Final = "reading head"
READING_BODY: Final = "reading body"
DONE: Final = "done"
"""It has its one end: a response, a body taken to its end, or an error."""


class ClientCall(Timed):
    """One call. Outputs are attributes; `HttpClient.next_output` names the call at every change.

    `head` is set with the response's head. Buffered: `done` comes with `response` or `error`.
    `stream=True`: `HttpClient.take_body` until `body_done`; `done` and `error` may come at any time.
    A call that waits or connects watches its own deadline; its connection does from then on.
    """

    __slots__ = (
        "_expired",
        "body",
        "body_done",
        "connection",
        "connection_at",
        "dial",
        "done",
        "ended_at",
        "error",
        "head",
        "head_at",
        "id",
        "noted",
        "origin",
        "owner",
        "request",
        "response",
        "retried",
        "reused",
        "serial",
        "slot_at",
        "started_at",
        "state",
        "stream",
        "timeouts",
        "timings",
        "total",
        "unsent",
        "upload_done",
        "upload_paused",
        "upload_started",
    )

    def __init__(
        self,
        serial: int,
        id: str,  # noqa: A002 (the attribute's name)
        request: ClientRequest,
        timeouts: Timeouts,
        now: float,
        *,
        stream: bool,
        total: float,
        owner: object,
        expired: "Callable[[ClientCall, float], None]",
    ) -> None:
        super().__init__()
        self.id: str = id
        self.request: ClientRequest = request
        self.timeouts: Timeouts = timeouts
        self.stream: bool = stream
        self.owner: object = owner
        """Whoever made the call; not the client's business."""
        self.state: str = WAITING
        self.head: ResponseHead | None = None
        self.response: ClientResponse | None = None
        self.error: ClientError | None = None
        """Why it failed; `CallCancelled` after `cancel`, `fail_body` and `close`."""
        self.done: bool = False
        self.body_done: bool = False
        """The last piece was taken, or the buffered response is whole."""
        self.upload_paused: bool = True
        """Send no chunk now: no connection yet, or above `write_high_water`; news says when."""
        self.upload_done: bool = not request.streams
        """No more chunks are wanted: `end_body` was called, or the server answered early."""
        self.reused: bool = False
        """It went out on a connection that had served before."""
        self.timings: Timings = NO_TIME
        """True once `done`."""

        # What follows is the client's own.
        self.serial: int = serial
        self.total: float = total
        self.retried: bool = False
        self.noted: bool = False
        """It is among the outputs."""
        self.origin: str = request.target.origin
        self.dial: Dial | None = None
        self.connection: ClientConnection | None = None
        self.body: BufferedBody | StreamedBody | None = None
        """From the head on."""
        self.unsent: list[bytes] = []
        """Chunks that were sent before there was a connection."""
        self.upload_started: bool = False
        """A chunk went to a connection: the request cannot be sent again."""
        self.started_at: float = now
        self.slot_at: float = INFINITY
        self.connection_at: float = INFINITY
        self.head_at: float = INFINITY
        self.ended_at: float = INFINITY
        self._expired = expired

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now >= self.deadline:
            self._expired(self, now)

    def measure(self, now: float) -> None:
        """Set `timings` at the call's end; stages that were not reached have taken no time."""
        end = min(now, self.ended_at)
        slot = min(end, self.slot_at)
        connection = min(end, self.connection_at)
        head = min(end, self.head_at)
        self.timings = Timings(
            slot - self.started_at, connection - slot, head - connection, end - head
        )

    def __repr__(self) -> str:
        return f"<ClientCall {self.id} {self.state} {self.request!r}>"
