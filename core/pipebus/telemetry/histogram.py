"""A histogram that is given its observations many at a time."""

from bisect import bisect_right
from itertools import accumulate


class Histogram:
    """Counts of observations at or below each bound, their sum and their number.

    `observe` takes a batch: sorting it and looking each bound up in it is a few calls into C for
    all of them, where finding the bucket of every single one would cost as much as the request.
    """

    __slots__ = ("_buckets", "bounds", "count", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` ascend, in the unit of what is observed; the bucket above them all is implied."""
        self.bounds: tuple[float, ...] = bounds
        self._buckets = [0] * len(bounds)
        self.count: int = 0
        self.sum: float = 0.0

    def cumulative(self) -> tuple[int, ...]:
        """Return for each bound how many observations are not above it."""
        return tuple(accumulate(self._buckets))

    def observe(self, values: list[float]) -> None:
        """Count observations; the list is this method's own from here on, and gets sorted."""
        values.sort()
        size = len(values)
        below = 0
        for place, bound in enumerate(self.bounds):
            if below == size:
                break
            upto = bisect_right(values, bound, below)
            self._buckets[place] += upto - below
            below = upto
        self.count += size
        self.sum += sum(values)
