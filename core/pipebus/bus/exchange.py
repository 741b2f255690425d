"""Exchanges: one request, and exactly one outcome. The states are one table."""

from typing import TYPE_CHECKING, Final, Literal

from pipebus.bus.event import Event
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group, Responder
from pipebus.limits import INFINITY
from pipebus.timers import Timed

if TYPE_CHECKING:  # only its timer needs the way back to the bus
    from pipebus.bus.bus import Bus

State = Literal["opening", "queued", "running", "streaming", "ended"]
Outcome = Literal[
    "replied", "failed", "timed_out", "no_responder", "rejected", "cancelled", "drained"
]
Input = Literal[
    "start", "queue", "refuse", "reject", "drain", "expire", "cancel", "start_reply", "reply", "fail"
]  # fmt: skip

OUTCOMES: Final[tuple[Outcome, ...]] = (
    "replied", "failed", "timed_out", "no_responder", "rejected", "cancelled", "drained",
)  # fmt: skip

TRANSITIONS: Final[dict[tuple[State, Input], tuple[State, Outcome | None]]] = {
    # decided inside `Bus.open`: nobody but the bus sees an exchange that is opening
    ("opening", "start"): ("running", None),
    ("opening", "queue"): ("queued", None),
    ("opening", "refuse"): ("ended", "no_responder"),
    ("opening", "reject"): ("ended", "rejected"),
    ("opening", "drain"): ("ended", "drained"),
    ("opening", "expire"): ("ended", "timed_out"),
    # in the group's queue, the deadline running
    ("queued", "start"): ("running", None),
    ("queued", "expire"): ("ended", "timed_out"),
    ("queued", "cancel"): ("ended", "cancelled"),
    # a responder has it
    ("running", "start_reply"): ("streaming", None),
    ("running", "reply"): ("ended", "replied"),
    ("running", "fail"): ("ended", "failed"),
    ("running", "expire"): ("ended", "timed_out"),
    ("running", "cancel"): ("ended", "cancelled"),
    # the head is out, so the deadline is met; `reply` is the end of the stream
    ("streaming", "reply"): ("ended", "replied"),
    ("streaming", "fail"): ("ended", "failed"),
    ("streaming", "cancel"): ("ended", "cancelled"),
}
"""What each input does in each state. A missing key is misuse, but for replies after the end,
which are discarded (`late` or `duplicate`), and for `cancel` and `expire` after it, which do
nothing: whoever sends them cannot know."""


class Exchange(Timed):
    """An open request. It ends exactly once, with exactly one outcome.

    All change is made by the bus; `answering` and `invocation` are the engine's.
    """

    __slots__ = (
        "_bus", "answering", "cancel_reason", "error", "group", "id", "in_output", "invocation", "outcome",
        "owner", "publisher", "reply", "request", "responder", "response_started", "retry_after",
        "started", "state", "ticket", "timed",
    )  # fmt: skip

    def __init__(
        self,
        request: Event,
        deadline: float,
        bus: "Bus",
        group: Group | None,
        publisher: Publisher,
        owner: object,
        timed: bool,
    ) -> None:
        # Timed's own, set here: a call to super() is a tenth of an exchange's cost. `queued_as`
        # comes with the first entry in the queue: nobody asks for it before.
        self.deadline = deadline
        self.queued_at = INFINITY
        self._bus = bus
        self.deadline_reason = "request_timeout"
        self.timed: bool = timed
        """Whether the bus's timers watch the deadline; else the opener calls `Bus.expire`."""
        self.id: str = request.id
        self.request: Event = request
        self.group: Group | None = group
        self.responder: Responder | None = None
        """Who answers; set when a slot is free."""
        self.state: State = "opening"
        self.outcome: Outcome | None = None
        self.response_started: bool = False
        """A streamed reply's head, or the whole reply, was accepted."""
        self.reply: object = None
        self.error: BaseException | None = None
        """What the responder raised; outcome `failed`. Else why its reply cannot be passed on."""
        self.cancel_reason: str = ""
        """`disconnect`, `caller` or `shutdown`; outcome `cancelled`."""
        self.publisher: Publisher = publisher
        self.owner: object = owner
        """Who opened it, told at the end."""
        self.invocation: object = None
        """What runs to answer it; set by the engine."""
        self.answering: Publisher | None = None
        """The publisher of that invocation, an edge of the wait graph; set by the engine."""
        self.started: bool = False
        """The engine was told to start it, and owes the bus one `released`."""
        self.ticket: int = 0
        """Of the group's breaker, which let it through; 0 for none."""
        self.retry_after: float = 0.0
        """Seconds after which to ask again, where the breaker rejected it; else 0."""
        self.in_output: bool = False
        """It waits to be an output; the bus's own."""

    def handle_timeout(self, now: float) -> None:
        """End as `timed_out` if the deadline has passed (`Bus.expire`)."""
        self._bus.expire(self, now)

    def __repr__(self) -> str:
        return f"<Exchange {self.id} {self.request.type} {self.outcome or self.state}>"
