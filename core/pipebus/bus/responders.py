"""Responders: the group that answers one topic or route, round robin, with a bounded queue."""

from collections import deque
from typing import TYPE_CHECKING

from pipebus.resilience.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:  # an exchange knows its group and a group its exchanges
    from pipebus.bus.exchange import Exchange


class Responder:
    """One handler that answers, and how many requests it may answer at once."""

    __slots__ = ("concurrency", "group", "handler", "running")

    def __init__(self, group: "Group", concurrency: int | None, handler: object) -> None:
        self.group: Group = group
        self.concurrency: int | None = concurrency
        """Requests at once; None for no bound."""
        self.handler: object = handler
        """What to run; opaque to the bus."""
        self.running: int = 0
        """Slots taken. A handler that outlives its exchange keeps its slot until `released`."""

    def __repr__(self) -> str:
        return f"<Responder {self.group.name} running={self.running}/{self.concurrency}>"


class Group:
    """The responders of one pattern or HTTP route. Exchanges wait in FIFO order for a free slot."""

    __slots__ = (
        "active",
        "breaker",
        "name",
        "next",
        "pattern",
        "queue",
        "queue_size",
        "responders",
    )

    def __init__(self, pattern: str, name: str, queue_size: int) -> None:
        self.pattern: str = pattern
        self.name: str = name
        self.queue_size: int = queue_size
        self.responders: list[Responder] = []
        self.queue: deque[Exchange] = deque()
        self.active: dict[Exchange, None] = {}
        """Exchanges that hold a slot and have not been answered, oldest first."""
        self.breaker: CircuitBreaker | None = None
        """What keeps exchanges from it while it fails; the engine tells it how they end."""
        self.next: int = 0
        """Whose turn it is; the bus's own."""

    def pick(self) -> Responder | None:
        """Choose the next responder with a free slot, round robin; None if all are busy."""
        responders = self.responders
        if len(responders) == 1:
            responder = responders[0]
            if responder.concurrency is None or responder.running < responder.concurrency:
                return responder
            return None
        turn = self.next
        for _ in responders:
            if turn >= len(responders):
                turn = 0
            responder = responders[turn]
            turn += 1
            if responder.concurrency is None or responder.running < responder.concurrency:
                self.next = turn
                return responder
        return None

    def __repr__(self) -> str:
        return f"<Group {self.name} queued={len(self.queue)} active={len(self.active)}>"
