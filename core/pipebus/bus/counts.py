"""Running totals of a bus, for metrics and for checks that nothing is lost."""

from typing import Final, Literal

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
