"""Subscriptions: a bounded queue of matching events for one subscriber or tap."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, Literal

from pipebus.bus.event import Event
from pipebus.bus.publisher import Parked, Publisher
from pipebus.errors import RegistrationError

Kind = Literal["subscriber", "tap"]
Overflow = Literal["block", "drop_oldest", "drop_newest"]

_METADATA: Final = "metadata."


class Filter:
    """Conditions on an event's source, subject and metadata, as data.

    `where` maps "source", "subject" or "metadata.<key>" to the value that it must equal; all must
    hold. Any other attribute raises `RegistrationError`.
    """

    __slots__ = ("_metadata", "_source", "_subject")

    def __init__(self, where: Mapping[str, str]) -> None:
        self._source = where.get("source")
        self._subject = where.get("subject")
        self._metadata: list[tuple[str, str]] = []
        for attribute, value in where.items():
            if attribute.startswith(_METADATA) and len(attribute) > len(_METADATA):
                self._metadata.append((attribute[len(_METADATA) :], value))
            elif attribute not in ("source", "subject"):
                msg = f"cannot filter on {attribute!r}: use source, subject or metadata.<key>"
                raise RegistrationError(msg)

    def passes(self, event: Event) -> bool:
        """Say whether every condition holds for `event`."""
        return (
            (self._source is None or self._source == event.source)
            and (self._subject is None or self._subject == event.subject)
            and all(event.metadata.get(key) == value for key, value in self._metadata)
        )


class Subscription:
    """The events of one pattern for one listener, oldest first.

    At all times `matched == delivered + sum(dropped.values()) + queued + parked`. All change is
    made by the bus; `owner` and `runner` are the engine's.
    """

    __slots__ = (
        "closed", "delivered", "dropped", "entries", "filter", "id", "idle", "kind", "matched",
        "maxsize", "overflow", "owner", "pattern", "queue", "runner", "serial", "where",
    )  # fmt: skip

    def __init__(
        self,
        serial: int,
        pattern: str,
        *,
        kind: Kind,
        maxsize: int,
        overflow: Overflow,
        where: Mapping[str, str] | None,
        owner: object,
    ) -> None:
        self.serial: int = serial
        self.id: str = f"subscription-{serial}"
        self.pattern: str = pattern
        self.kind: Kind = kind
        self.maxsize: int = maxsize
        self.overflow: Overflow = overflow
        self.where: Mapping[str, str] | None = where
        self.filter: Filter | None = Filter(where) if where else None
        self.owner: object = owner
        self.runner: Publisher | None = None
        """Whose code handles its event now; set and cleared by the engine."""
        self.matched: int = 0
        self.delivered: int = 0
        """Events taken."""
        self.dropped: dict[str, int] = {}
        """Events lost, by reason: overflow, diagnostic, closed, publish_timeout, shutdown, ..."""
        self.closed: bool = False
        self.queue: deque[Event] = deque()
        self.entries: OrderedDict[Parked, None] = OrderedDict()
        """What waits to enter the queue, oldest first; empty unless the queue is full."""
        self.idle: bool = True
        """The last `take` found nothing, so the next event is an output of the bus."""

    @property
    def queued(self) -> int:
        """How many events wait to be taken."""
        return len(self.queue)

    @property
    def parked(self) -> int:
        """How many events wait to be queued."""
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Subscription {self.id} {self.kind} {self.pattern} queued={self.queued}>"
