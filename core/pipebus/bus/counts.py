"""Running totals of a bus, for metrics and for checks that nothing is lost."""

from typing import Final, Literal

import msgspec

from pipebus.bus.exchange import OUTCOMES, Outcome

Discard = Literal["late", "duplicate", "unknown"]
DISCARDS: Final[tuple[Discard, ...]] = ("late", "duplicate", "unknown")


class BusCounts:
    """Totals since the bus was made. They only grow."""

    __slots__ = (
        "delivered", "dropped", "handler_errors", "opened", "outcomes", "published",
        "replies_discarded",
    )  # fmt: skip

    def __init__(self) -> None:
        self.published: int = 0
        self.delivered: int = 0
        """Events taken, once for every subscription."""
        self.dropped: dict[str, int] = {}
        """Deliveries lost, by reason, over all subscriptions."""
        self.opened: int = 0
        """Exchanges; equals the sum of `outcomes` plus those open now."""
        self.outcomes: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.replies_discarded: dict[Discard, int] = dict.fromkeys(DISCARDS, 0)
        self.handler_errors: int = 0
        """Exceptions in subscribers and taps."""


class ReplyDiscarded(msgspec.Struct, frozen=True):
    """Data of `pipebus.reply.late`, `.duplicate` and `.unknown`."""

    exchange_id: str
    topic: str
    """The request's; empty for an unknown exchange."""
    outcome: str
    """How the exchange had ended or that it is `streaming`; empty for an unknown one."""


class HandlerError(msgspec.Struct, frozen=True):
    """Data of `pipebus.handler.error`. Text only: the exception would pin its frames."""

    handler: str
    topic: str
    event_id: str
    error: str
    """The exception's type."""
    message: str


class EventsDropped(msgspec.Struct, frozen=True):
    """Data of `pipebus.events.dropped`: a publisher's parked events were given up."""

    publisher: str
    reason: str
    """`publish_timeout`, `shutdown`, `cancelled`, ..."""
    count: int
