"""When the requests of an open loop are due, whatever becomes of those before them."""

import random
from collections import deque
from math import inf

from pipebus_cli.bench.job import Job


class Schedule:
    """The times at which requests are due, and those among them that wait for a connection."""

    next_due: float
    """The next one; infinite after the last."""
    waiting: deque[float]

    def __init__(self, job: Job, start: float, until: float, count: int | None) -> None:
        """Begin at `start`; the last one is before `until`, and there are at most `count`."""
        self.waiting = deque()
        self._rate = job.rate
        self._poisson = job.spacing == "poisson"
        self._dice = random.Random(job.seed)  # noqa: S311 - the same load again, no secret
        self._until = until
        self._left = count
        self._start = start
        self._number = 0
        self.next_due = start
        self._end_if_over()

    def advance(self, now: float) -> bool:
        """Move what is due by now to `waiting`; return whether there is more to come."""
        while self.next_due <= now:
            self.waiting.append(self.next_due)
            if self._left is not None:
                self._left -= 1
            self._step()
        return self.next_due != inf

    def _step(self) -> None:
        if self._rate is not None:
            if self._poisson:
                self.next_due += self._dice.expovariate(self._rate)
            else:
                # Not by adding up, whose rounding errors add up, too.
                self._number += 1
                self.next_due = self._start + self._number / self._rate
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._left == 0 or self.next_due >= self._until:
            self.next_due = inf
