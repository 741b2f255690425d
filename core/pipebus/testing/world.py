"""Virtual time: a clock that moves when it is told to, and what happens at which moment."""

import heapq
from collections.abc import Callable
from typing import Protocol


class Ticking(Protocol):
    """What has a next deadline of its own: a node."""

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do."""
        ...

    def tick(self) -> None:
        """Act on what is due, then run until nothing can run."""
        ...

    def run(self) -> bool:
        """Run what can run; say whether anything did."""
        ...


class World:
    """The one clock of a simulation and the order of things at each moment.

    `now` starts at `start` seconds. Everything that is possible at a moment happens before time
    moves on; what happens at one moment happens in the order in which it was asked for. More than
    `patience` rounds at one moment (a million) mean that it never comes to rest: `RuntimeError`.
    """

    def __init__(self, start: float = 1_000.0, *, patience: int = 1_000_000) -> None:
        self.now: float = start
        self._patience = patience
        self._serial = 0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._nodes: list[Ticking] = []

    def add(self, node: Ticking) -> None:
        """Have a node take part."""
        self._nodes.append(node)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have `action()` happen at `when` (now, if that is past)."""
        self._serial += 1
        heapq.heappush(self._later, (max(when, self.now), self._serial, action))

    def next_moment(self) -> float | None:
        """Return when something happens next, or None if nothing ever does by itself."""
        moments = [when for node in self._nodes if (when := node.next_deadline()) is not None]
        if self._later:
            moments.append(self._later[0][0])
        return max(min(moments), self.now) if moments else None

    def settle(self) -> None:
        """Do all that is possible now, without moving the clock."""
        for _ in range(self._patience):
            if self._later and self._later[0][0] <= self.now:
                heapq.heappop(self._later)[2]()
                continue
            ran = [node.run() for node in self._nodes]
            due = [
                n for n in self._nodes if (at := n.next_deadline()) is not None and at <= self.now
            ]
            for node in due:
                node.tick()
            if not any(ran) and not due and not (self._later and self._later[0][0] <= self.now):
                return
        msg = "the simulation does not come to rest: something runs for ever without time passing"
        raise RuntimeError(msg)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, doing everything in between at its moment."""
        self.run_until(lambda: False, self.now + seconds)

    def run_until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Run until `done()` or `deadline`; say whether it was done. The clock stops there."""
        self.settle()
        while not done():
            moment = self.next_moment()
            if moment is None or moment > deadline:
                self.now = max(self.now, deadline)
                return False
            self.now = moment
            self.settle()
        return True
