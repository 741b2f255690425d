"""Publishers: whoever puts events on the bus, and what they wait for."""

from typing import TYPE_CHECKING

from pipebus.bus.event import Event

if TYPE_CHECKING:  # the wait graph is a circle of types; at run time each file stands alone
    from pipebus.bus.exchange import Exchange
    from pipebus.bus.responders import Group
    from pipebus.bus.subscription import Subscription


class Parked:
    """One event that waits for room in one lossless queue, on its publisher's account."""

    __slots__ = ("event", "publisher", "subscription")

    def __init__(self, publisher: "Publisher", subscription: "Subscription", event: Event) -> None:
        self.publisher: Publisher = publisher
        self.subscription: Subscription = subscription
        self.event: Event = event


class Publisher:
    """Whoever publishes: a connection, an invocation or a task of the program.

    `name` becomes `Event.source`. `owner` is the engine's: what to tell when it resumes.
    """

    __slots__ = ("announced", "name", "owner", "places", "waits_on")

    def __init__(self, name: str, owner: object = None) -> None:
        self.name: str = name
        self.owner: object = owner
        self.places: dict[Parked, None] = {}
        """Its parked events, oldest first; the bus's own. True exactly while it is paused."""
        self.waits_on: Subscription | Exchange | Group | None = None
        """What else it waits for, set and cleared by the engine: the exchange that it awaits."""
        self.announced: bool = False
        """Whether an output already says that it resumed; the bus's own."""

    @property
    def paused(self) -> bool:
        """Whether it has parked events: take no further input from it until it resumes."""
        return bool(self.places)

    @property
    def parked(self) -> int:
        """How many events are parked on its account."""
        return len(self.places)

    def __repr__(self) -> str:
        return f"<Publisher {self.name} parked={self.parked}>"
