"""Who is let in: bounds on connections, requests in flight and request bodies held in memory."""

from collections import deque
from typing import Final, Literal

from pipebus.limits import Limits

ANSWERED_OVER_LIMIT: Final = 100
"""Connections beyond `max_connections` that still get their 503; later ones are closed unheard."""

Verdict = Literal["admitted", "refused", "dropped"]


class Lease:
    """A request body's share of `BodyBudget`, alive while somebody holds it.

    Starts with one holder, whoever made it. Mutators: `retain`, `release`. The share goes back to
    the budget when the last holder lets go.
    """

    __slots__ = ("budget", "holders", "owner", "queued", "size", "wanted")

    def __init__(self, budget: "BodyBudget", owner: object = None) -> None:
        self.budget: BodyBudget = budget
        self.owner: object = owner
        """Whose body it is; told by `BodyBudget.next_granted`."""
        self.holders: int = 1
        self.size: int = 0
        """Bytes charged."""
        self.wanted: int = 0
        """Bytes that wait to be charged."""
        self.queued: bool = False

    def retain(self) -> None:
        """Add a holder."""
        self.holders += 1

    def release(self) -> None:
        """Take a holder away; the last one gives the bytes back and ends any waiting."""
        self.holders -= 1
        if self.holders == 0:
            self.wanted = 0
            self.budget.give_back(self)


class BodyBudget:
    """Bytes of request bodies held at one time, over all connections.

    Mutators: `lease`, `grow`; a lease gives back. Output: `next_granted`. Those who wait are served
    in the order they came, and nobody is served past them, so a large body cannot be starved.
    """

    __slots__ = ("_waiting", "granted", "held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.held: int = 0
        self._waiting: deque[Lease] = deque()
        self.granted: deque[Lease] = deque()
        """For looking whether `next_granted` may have something, which costs less than to ask."""

    def lease(self, owner: object = None) -> Lease:
        """Return a lease of no bytes with one holder."""
        return Lease(self, owner)

    def grow(self, lease: Lease, size: int) -> bool:
        """Charge `size` more bytes; False: they wait, and `next_granted` will name the lease."""
        if not self._waiting and self.held + size <= self.limit:
            self.held += size
            lease.size += size
            return True
        lease.wanted += size
        if not lease.queued:
            lease.queued = True
            self._waiting.append(lease)
        return False

    def take(self, size: int) -> bool:
        """Charge `size` bytes that one owner holds, without a lease; False: they do not fit now."""
        if self._waiting or self.held + size > self.limit:
            return False
        self.held += size
        return True

    def give_back(self, lease: Lease) -> None:
        """Take a dead lease's bytes back (`Lease.release` calls this)."""
        size, lease.size = lease.size, 0
        self.give(size)

    def give(self, size: int) -> None:
        """Take bytes back, and let in who fits now."""
        self.held -= size
        waiting = self._waiting
        while waiting:
            first = waiting[0]
            if self.held + first.wanted > self.limit and first.wanted:
                break
            waiting.popleft()
            first.queued = False
            if first.wanted:
                self.held += first.wanted
                first.size += first.wanted
                first.wanted = 0
                self.granted.append(first)

    @property
    def waiting(self) -> int:
        """How many leases wait for bytes."""
        return sum(1 for lease in self._waiting if lease.wanted)

    def next_granted(self) -> Lease | None:
        """Return a lease whose waiting bytes are charged now and that is still held, or None."""
        while self.granted:
            lease = self.granted.popleft()
            if lease.holders:
                return lease
        return None


class Admission:
    """Counts connections and requests in flight against their bounds.

    Mutators: `connect`/`disconnect`, `begin`/`end`. `bodies` is the budget of request bodies.
    Counters: `refused` and `dropped` (connections), `overloaded` (requests).
    """

    __slots__ = (
        "_max_connections", "_max_in_flight", "bodies", "connections", "dropped", "in_flight",
        "overloaded", "refused",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._max_connections = limits.max_connections
        self._max_in_flight = limits.max_in_flight
        self.bodies: BodyBudget = BodyBudget(limits.max_buffered)
        self.connections: int = 0
        self.in_flight: int = 0
        self.refused: int = 0
        self.dropped: int = 0
        self.overloaded: int = 0

    def connect(self) -> Verdict:
        """Count a connection in; every verdict is followed by one `disconnect`.

        `refused` ones, up to `ANSWERED_OVER_LIMIT` of them at a time, have their first request
        answered 503; `dropped` ones are closed at once, so the bound holds whatever happens.
        """
        self.connections += 1
        over = self.connections - self._max_connections
        if over <= 0:
            return "admitted"
        if over <= ANSWERED_OVER_LIMIT:
            self.refused += 1
            return "refused"
        self.dropped += 1
        return "dropped"

    def disconnect(self) -> None:
        """Count a connection out."""
        self.connections -= 1

    def begin(self) -> bool:
        """Take a slot for a request, or return False (counted) if all `max_in_flight` are taken."""
        if self.in_flight >= self._max_in_flight:
            self.overloaded += 1
            return False
        self.in_flight += 1
        return True

    def end(self) -> None:
        """Give a request's slot back."""
        self.in_flight -= 1
