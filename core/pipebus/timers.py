"""Timers as data: many machines, one deadline out.

A machine is a `Timed`: it keeps `deadline` (absolute seconds on the runtime's monotonic clock,
infinity for none) and `deadline_reason` true at all times and handles `handle_timeout(now)`.
A `TimerQueue` finds the earliest. It is lazy: a deadline that moves *later* costs nothing (the
heap's entry is corrected when it comes up), so a keep-alive connection that serves a thousand
requests a second touches the heap about once per timeout period.
"""

import heapq
from typing import Final

from pipebus.limits import INFINITY

_COMPACT_FROM: Final = 64


class Timed:
    """Something with one next deadline. Subclasses call `super().__init__()`."""

    __slots__ = ("deadline", "deadline_reason", "queued_as", "queued_at")

    def __init__(self) -> None:
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""
        self.queued_at: float = INFINITY
        """When the queue's live entry for this one comes up; the queue's own, not to be set."""
        self.queued_as: int = 0
        """The number of that entry; the queue's own, too, and of no meaning without one."""

    def handle_timeout(self, now: float) -> None:
        """Act on every deadline at or before `now`; afterwards `deadline > now`.

        Early, late and repeated calls are harmless.
        """
        raise NotImplementedError


class TimerQueue:
    """The earliest deadline of all that are watched.

    Mutators: `watch` (after a deadline was set or moved *earlier*), `forget` (when one is done).
    Time: `next_wake`, `next_deadline`, `deadline_reason`, `next_due`.
    """

    __slots__ = ("_heap", "_live", "_serial")

    def __init__(self) -> None:
        # The heap knows numbers only: what is forgotten is let go of at once, however large what
        # hangs on it and however late its deadline would have been.
        self._heap: list[tuple[float, int]] = []
        self._live: dict[int, Timed] = {}
        self._serial = 0

    def __len__(self) -> int:
        """Count what is watched and has a deadline (a slow, exact count: for tests and reports)."""
        return sum(timed.deadline < INFINITY for timed in self._live.values())

    def watch(self, timed: Timed) -> None:
        """Take note of `timed.deadline`; free unless it is earlier than what is queued."""
        if timed.deadline < timed.queued_at:
            if timed.queued_at < INFINITY:
                self._drop(timed)
            timed.queued_at = timed.deadline
            self._serial += 1
            timed.queued_as = self._serial
            self._live[self._serial] = timed
            heapq.heappush(self._heap, (timed.deadline, self._serial))

    def forget(self, timed: Timed) -> None:
        """Clear the deadline of one that is done, and let go of it."""
        timed.deadline = INFINITY
        if timed.queued_at < INFINITY:
            timed.queued_at = INFINITY
            self._drop(timed)

    def _drop(self, timed: Timed) -> None:
        """Make an entry dead, and take them all out once they are the majority."""
        live = self._live
        del live[timed.queued_as]
        dead = len(self._heap) - len(live)
        if dead > _COMPACT_FROM and dead > len(live):
            self._heap = [entry for entry in self._heap if entry[1] in live]
            heapq.heapify(self._heap)

    def _settle(self) -> Timed | None:
        """Correct or drop stale entries until the earliest is true; return its owner."""
        heap = self._heap
        live = self._live
        while heap:
            when, serial = heap[0]
            timed = live.get(serial)
            if timed is None:  # superseded by an earlier entry, or forgotten
                heapq.heappop(heap)
            elif timed.deadline <= when:
                return timed
            elif timed.deadline == INFINITY:
                heapq.heappop(heap)
                del live[serial]
                timed.queued_at = INFINITY
            else:
                timed.queued_at = timed.deadline
                heapq.heapreplace(heap, (timed.deadline, serial))
        return None

    def next_wake(self) -> float:
        """Return when to look next: not after `next_deadline`, and cheaper; infinity for never.

        At that moment `next_due` may have nothing: what stood there has moved.
        """
        return self._heap[0][0] if self._heap else INFINITY

    def next_deadline(self) -> float | None:
        """Return when `next_due` has something, or None if nothing is pending."""
        timed = self._settle()
        return None if timed is None else timed.deadline

    @property
    def deadline_reason(self) -> str:
        """What the next deadline is for; empty if there is none."""
        timed = self._settle()
        return "" if timed is None else timed.deadline_reason

    def next_due(self, now: float) -> Timed | None:
        """Remove and return one that is due at `now`; its `handle_timeout`, then `watch` follow."""
        timed = self._settle()
        if timed is None or timed.deadline > now:
            return None
        heapq.heappop(self._heap)
        del self._live[timed.queued_as]
        timed.queued_at = INFINITY
        return timed
