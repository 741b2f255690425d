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

    __slots__ = ("deadline", "deadline_reason", "queued_at")

    def __init__(self) -> None:
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""
        self.queued_at: float = INFINITY
        """When the queue's live entry for this one comes up; the queue's own, not to be set."""

    def handle_timeout(self, now: float) -> None:
        """Act on every deadline at or before `now`; afterwards `deadline > now`.

        Early, late and repeated calls are harmless.
        """
        raise NotImplementedError


class TimerQueue:
    """The earliest deadline of all that are watched.

    Mutators: `watch` (after a deadline was set or moved *earlier*), `forget` (when one is done).
    Time: `next_deadline`, `deadline_reason`, `next_due`.
    """

    __slots__ = ("_dead", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0
        self._dead = 0

    def __len__(self) -> int:
        """Count what is watched and has a deadline (a slow, exact count: for tests and reports)."""
        return len(
            {
                timed
                for when, _, timed in self._heap
                if when == timed.queued_at and timed.deadline < INFINITY
            }
        )

    def watch(self, timed: Timed) -> None:
        """Take note of `timed.deadline`; free unless it is earlier than what is queued."""
        if timed.deadline < timed.queued_at:
            superseded = timed.queued_at < INFINITY
            timed.queued_at = timed.deadline
            if superseded:
                self._dead_entry()
            self._serial += 1
            heapq.heappush(self._heap, (timed.deadline, self._serial, timed))

    def forget(self, timed: Timed) -> None:
        """Clear the deadline of one that is done, and let go of it soon."""
        timed.deadline = INFINITY
        if timed.queued_at < INFINITY:
            timed.queued_at = INFINITY
            self._dead_entry()

    def _dead_entry(self) -> None:
        """Count one, and drop them all once they are the majority: memory follows what lives."""
        self._dead += 1
        if self._dead > _COMPACT_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].queued_at]
            heapq.heapify(self._heap)
            self._dead = 0

    def _settle(self) -> Timed | None:
        """Correct or drop stale entries until the earliest is true; return its owner."""
        heap = self._heap
        while heap:
            when, serial, timed = heap[0]
            if when != timed.queued_at:  # superseded by an earlier entry, or forgotten
                heapq.heappop(heap)
            elif timed.deadline <= when:
                return timed
            elif timed.deadline == INFINITY:
                heapq.heappop(heap)
                timed.queued_at = INFINITY
            else:
                timed.queued_at = timed.deadline
                heapq.heapreplace(heap, (timed.deadline, serial, timed))
        self._dead = 0
        return None

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
        timed.queued_at = INFINITY
        return timed
