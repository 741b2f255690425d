"""Latencies by the bucket: a log-linear histogram of nanoseconds that is small, exact enough, adds up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from pipebus_cli.bench.run import Quantiles

DIGITS: Final = 7
_NS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Bucket:
    """Values of `low_s` and more, below `high_s`: `count` of them."""

    low_s: float
    high_s: float
    count: int


class Histogram:
    """Counts durations in buckets whose width grows with them.

    Each power of two of nanoseconds has 2 ** `digits` buckets of one width (below 2 ** (digits + 1)
    each integer has its own), and a value is taken for the middle of its bucket: a quantile is off
    by at most 2 ** -(digits + 1) of itself, 0.4 % by default, and half a nanosecond from rounding.
    `count`, `min_s`, `max_s` and `mean_s` are exact to the nanosecond.
    """

    digits: int
    count: int

    def __init__(self, digits: int = DIGITS) -> None:
        if not 0 <= digits <= 20:
            msg = f"digits must be 0 to 20, not {digits}"
            raise ValueError(msg)
        self.digits = digits
        self.count = 0
        self._counts: dict[int, int] = {}
        self._sum = 0
        self._min = 0
        self._max = 0

    def record(self, seconds: float) -> None:
        """Count one duration; `ValueError` for a negative one."""
        self.record_many((seconds,))

    def record_many(self, durations: Iterable[float]) -> None:
        """Count durations in seconds; `ValueError` if one is negative, and none is counted."""
        values = [int(seconds * _NS + 0.5) for seconds in durations]
        if not values:
            return
        least, most = min(values), max(values)
        if least < 0:
            msg = f"a duration cannot be negative: {least / _NS:g} s"
            raise ValueError(msg)
        digits, bits = self.digits, self.digits + 1
        counts = self._counts
        get = counts.get
        for value in values:
            shift = value.bit_length() - bits
            index = (shift << digits) + (value >> shift) if shift > 0 else value
            counts[index] = get(index, 0) + 1
        self._widen(least, most)
        self.count += len(values)
        self._sum += sum(values)

    def merge(self, other: "Histogram") -> None:
        """Count all that `other` has counted; `ValueError` if its buckets are others."""
        if other.digits != self.digits:
            msg = f"buckets of {other.digits} digits do not fit those of {self.digits}"
            raise ValueError(msg)
        if not other.count:
            return
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self._widen(other._min, other._max)
        self.count += other.count
        self._sum += other._sum

    def _widen(self, least: int, most: int) -> None:
        self._min = min(self._min, least) if self.count else least
        self._max = max(self._max, most)

    @property
    def min_s(self) -> float:
        """The least, in seconds; 0 where there is none."""
        return self._min / _NS

    @property
    def max_s(self) -> float:
        """The greatest, in seconds; 0 where there is none."""
        return self._max / _NS

    @property
    def mean_s(self) -> float:
        """The mean, in seconds; 0 where there is none."""
        return self._sum / _NS / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """Return the duration, in seconds, that the part `q` (0 to 1) of all does not exceed.

        It is the value of rank ceil(q * count), the least for 0, up to the error that the class
        states. `ValueError` if nothing was counted.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, parts: Iterable[float]) -> list[float]:
        """Return several in one pass; see `quantile`."""
        wanted = list(parts)
        if not self.count:
            msg = "an empty histogram has no quantiles"
            raise ValueError(msg)
        if any(not 0.0 <= q <= 1.0 for q in wanted):
            msg = f"quantiles are of 0 to 1, not {wanted}"
            raise ValueError(msg)
        found: dict[float, float] = {}
        waiting = sorted(set(wanted), reverse=True)
        passed = 0
        for index in sorted(self._counts):
            passed += self._counts[index]
            while waiting and self._rank(waiting[-1]) <= passed:
                found[waiting.pop()] = self._middle(index)
        if 0.0 in found:
            found[0.0] = self.min_s
        for q in found:
            if self._rank(q) == self.count:
                found[q] = self.max_s
        return [found[q] for q in wanted]

    def _rank(self, q: float) -> int:
        # 0.07 * 100 is a little more than 7, and its rank is 7.
        return max(1, ceil(round(q * self.count, 6)))

    def buckets(self) -> Iterator[Bucket]:
        """Yield those that hold something, from the least on."""
        for index in sorted(self._counts):
            low, width = self._range(index)
            yield Bucket(low / _NS, (low + width) / _NS, self._counts[index])

    def _range(self, index: int) -> tuple[int, int]:
        shift = max(0, (index >> self.digits) - 1)
        return (index - (shift << self.digits)) << shift, 1 << shift

    def _middle(self, index: int) -> float:
        low, width = self._range(index)
        # Never beyond what there was: the least and the greatest are known.
        return min(max(low + (width - 1) / 2, self._min), self._max) / _NS

    def to_quantiles(self) -> Quantiles:
        """Return what is kept of it."""
        return Quantiles(
            digits=self.digits,
            counts={str(index): self._counts[index] for index in sorted(self._counts)},
            count=self.count,
            sum_s=self._sum / _NS,
            min_s=self.min_s,
            max_s=self.max_s,
        )

    @classmethod
    def from_quantiles(cls, kept: Quantiles) -> "Histogram":
        """Return the histogram that was kept; `ValueError` if its parts contradict each other."""
        histogram = cls(kept.digits)
        counts = {int(index): count for index, count in kept.counts.items()}
        if sum(counts.values()) != kept.count or any(
            index < 0 or count < 1 for index, count in counts.items()
        ):
            msg = f"the buckets of a histogram do not add up to its count, {kept.count}"
            raise ValueError(msg)
        histogram._counts = counts
        histogram.count = kept.count
        histogram._sum = round(kept.sum_s * _NS)
        histogram._min = round(kept.min_s * _NS)
        histogram._max = round(kept.max_s * _NS)
        if counts and not (
            histogram._index(histogram._min) == min(counts)
            and histogram._index(histogram._max) == max(counts)
        ):
            msg = "the least or the greatest of a histogram is in none of its buckets"
            raise ValueError(msg)
        return histogram

    def _index(self, value: int) -> int:
        shift = value.bit_length() - self.digits - 1
        return (shift << self.digits) + (value >> shift) if shift > 0 else value
