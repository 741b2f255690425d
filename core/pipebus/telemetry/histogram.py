"""A histogram that is given its observations many at a time."""

from bisect import bisect_right


class Histogram:
    """Counts of observations at or below each bound, their sum and their number.

    `observe` takes a batch: sorting it and looking each bound up in it is a few calls into C for
    all of them, where finding the bucket of every single one would cost as much as the request.
    """

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` ascend, in the unit of what is observed; the bucket above them all is implied."""
        self.bounds: tuple[float, ...] = bounds
        self.counts: list[int] = [0] * len(bounds)
        """For each bound how many observations were not above it, ever: cumulative."""
        self.count: int = 0
        self.sum: float = 0.0

    def observe(self, values: list[float]) -> None:
        """Count observations; the list is this method's own from here on, and gets sorted."""
        values.sort()
        size = len(values)
        counts = self.counts
        below = 0
        for place, bound in enumerate(self.bounds):
            if below < size:
                below = bisect_right(values, bound, below)
            counts[place] += below
        self.count += size
        self.sum += sum(values)
