"""Circuit breakers: a server that fails is left alone for a while. The states are one table."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from pipebus.resilience.policies import BreakerPolicy
from pipebus.resilience.rolling import RollingCounts

__all__ = ["BreakerChange", "BreakerPolicy", "BreakerState", "Breakers", "CircuitBreaker"]

BreakerState = Literal["closed", "open", "half_open"]
BreakerInput = Literal["trip", "try", "succeed", "fail"]

TRANSITIONS: Final[dict[tuple[BreakerState, BreakerInput], BreakerState]] = {
    ("closed", "trip"): "open",  # too many failures in the window
    ("open", "try"): "half_open",  # a call comes after the open time: it is the probe
    ("half_open", "succeed"): "closed",
    ("half_open", "fail"): "open",
}
"""What each input does in each state. A probe that is cancelled changes nothing: the next call is
one. Whatever else may be recorded is of a call from before the last change, and is ignored."""

BREAKERS: Final = 1_000
"""Origins with a breaker of their own. A crawler has millions."""
_LOOKS: Final = 8
"""At how many breakers is looked, at most, for one that is not missed."""


class BreakerChange(NamedTuple):
    """A breaker went from one state to another."""

    name: str
    old: BreakerState
    new: BreakerState
    failures: int
    """In the window that made it open, of so many `calls`; 0 of 0 for what a probe decided."""
    calls: int
    retry_after: float
    """Seconds until a probe, where `new` is `open`."""


class CircuitBreaker:
    """One breaker. Each `acquire` that gives a ticket is followed by one `record` of it.

    Mutators: `acquire`, `record`. Outputs: `changes`, `state`, `retry_after`. Counters:
    `rejected` (calls that were not let through), `ignored` (results that came too late to count).
    """

    __slots__ = (
        "_counts", "_generation", "_open_until", "_policy", "_probing", "_random", "changes",
        "ignored", "name", "rejected", "state",
    )  # fmt: skip

    def __init__(
        self,
        policy: BreakerPolicy,
        random: Callable[[], float],
        *,
        name: str = "",
        changes: deque[BreakerChange] | None = None,
    ) -> None:
        """Begin `closed`; `changes` where several breakers are to share one queue."""
        self._policy = policy
        self._random = random
        self.name: str = name
        self.state: BreakerState = "closed"
        self.changes: deque[BreakerChange] = deque() if changes is None else changes
        """What has changed, oldest first; whoever looks takes it out."""
        self._counts = RollingCounts(policy.window)
        self._generation = 1
        """The ticket of the calls whose results count: a new one with each change and probe."""
        self._probing = False
        self._open_until = 0.0
        self.rejected: int = 0
        self.ignored: int = 0

    def acquire(self, now: float) -> int:
        """Return a ticket (1 or more) for a call, or 0: do not make it."""
        if self.state == "closed":
            return self._generation
        if self.state == "open" and now >= self._open_until:
            self._move("try", 0, 0, now)
        if self.state == "open" or self._probing:
            self.rejected += 1
            return 0
        self._probing = True
        self._generation += 1
        return self._generation

    def counts(self, ticket: int) -> bool:
        """Tell whether how the ticket's call ends is of interest still."""
        return ticket == self._generation and (self._probing or self.state != "half_open")

    def record(self, ticket: int, ok: bool | None, now: float) -> None:
        """Note how a call ended: True well, False not, None cancelled, which counts neither way."""
        if not self.counts(ticket):
            self.ignored += 1
            return
        if self.state == "closed":
            if ok is not None:
                self._count(ok, now)
            return
        self._probing = False
        if ok is not None:
            self._move("succeed" if ok else "fail", 0, 0, now)

    @property
    def failures(self) -> int:
        """How many of the `calls` in the window failed, when one was last recorded."""
        return self._counts.marked

    @property
    def calls(self) -> int:
        """How many calls in the window have ended and counted."""
        return self._counts.all

    def retry_after(self, now: float) -> float:
        """Return the seconds until a call may be let through: 0 where that is not known."""
        return max(0.0, self._open_until - now) if self.state == "open" else 0.0

    def is_blank(self, now: float) -> bool:
        """Tell whether it knows nothing that a new one would not."""
        self._counts.roll(now)
        return self.state == "closed" and not self._counts.all

    def _count(self, ok: bool, now: float) -> None:
        counts = self._counts
        counts.roll(now)
        counts.add(not ok)
        policy = self._policy
        if counts.all >= policy.min_calls and counts.marked >= policy.failure_ratio * counts.all:
            failures, calls = counts.marked, counts.all
            counts.clear()
            self._move("trip", failures, calls, now)

    def _move(self, what: BreakerInput, failures: int, calls: int, now: float) -> None:
        old = self.state
        self.state = TRANSITIONS[old, what]
        self._generation += 1
        if self.state == "open":
            change = self._policy.jitter * (2.0 * self._random() - 1.0)
            self._open_until = now + self._policy.open_time * (1.0 + change)
        self.changes.append(
            BreakerChange(self.name, old, self.state, failures, calls, self.retry_after(now))
        )


class Breakers:
    """A breaker for each name, in a table of bounded size.

    Mutator: `of`. Outputs: `changes`, `all`. Counter: `unguarded` (calls that had no breaker). A
    breaker gives its place up when it is closed and nothing was called within its window.
    """

    __slots__ = ("_limit", "_policy", "_random", "_table", "changes", "unguarded")

    def __init__(
        self, policy: BreakerPolicy, random: Callable[[], float], limit: int = BREAKERS
    ) -> None:
        self._policy = policy
        self._random = random
        self._limit = limit
        self._table: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self.changes: deque[BreakerChange] = deque()
        """Of all of them, oldest first; whoever looks takes it out."""
        self.unguarded: int = 0

    def __len__(self) -> int:
        return len(self._table)

    def all(self) -> Iterator[CircuitBreaker]:
        """Return every breaker there is, in an order that does not tell anything."""
        return iter(self._table.values())

    def of(self, name: str, now: float) -> CircuitBreaker | None:
        """Return the name's breaker; None (counted): there is no place for one."""
        found = self._table.get(name)
        if found is None:
            if len(self._table) >= self._limit and not self._make_room(now):
                self.unguarded += 1
                return None
            found = CircuitBreaker(self._policy, self._random, name=name, changes=self.changes)
            self._table[name] = found
        return found

    def _make_room(self, now: float) -> bool:
        table = self._table
        for _ in range(min(_LOOKS, len(table))):
            name, breaker = next(iter(table.items()))
            if breaker.is_blank(now):
                del table[name]
                return True
            table.move_to_end(name)  # its turn has been
        return False
