"""One outgoing call, and what the client asks of a binding for it."""

from collections.abc import Callable
from typing import Final

from pipebus.errors import ClientError
from pipebus.http.call_guard import Attempts
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import ClientRequest
from pipebus.http.client_response import NO_TIME, ClientResponse, Timings
from pipebus.http.dial import Dial
from pipebus.http.response_body import BufferedBody, StreamedBody
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
BACKOFF: Final = "backoff"
"""Between two attempts: it holds nothing."""
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
        "_id_prefix",
        "attempts",
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
        id_prefix: str,
        request: ClientRequest,
        timeouts: Timeouts,
        now: float,
        stream: bool,
        total: float,
        owner: object,
        expired: "Callable[[ClientCall, float], None]",
    ) -> None:
        # Timed's own, set here: a call to super() costs as much as the half of it. `queued_as`
        # comes with the first entry in the queue: nobody asks for it before.
        self.deadline = INFINITY
        self.deadline_reason = ""
        self.queued_at = INFINITY
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
        self._id_prefix = id_prefix
        self.total: float = total
        self.attempts: Attempts | None = None
        """Where the client has a breaker or retries."""
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

    @property
    def id(self) -> str:
        """What tells it from all other calls."""
        return f"{self._id_prefix}h{self.serial}"

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now >= self.deadline:
            self._expired(self, now)

    def measure(self, now: float) -> None:
        """Set `timings` at the call's end; stages that were not reached have taken no time."""
        slot, connection, head, end = self.slot_at, self.connection_at, self.head_at, self.ended_at
        if self.error is not None:
            end = min(now, end)
            slot, connection, head = min(end, slot), min(end, connection), min(end, head)
        began = self.started_at if self.attempts is None else self.attempts.began
        self.timings = Timings(
            slot - began, connection - slot, head - connection, end - head, began - self.started_at
        )

    def __repr__(self) -> str:
        return f"<ClientCall {self.id} {self.state} {self.request!r}>"
