"""What is exposed to whoever scrapes, as data: families of samples."""

from typing import Literal, NamedTuple

Type = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
"""Names and values; one without a value is left out."""


class Sample(NamedTuple):
    """One number of a counter or a gauge."""

    labels: Labels
    value: float


class HistogramSample(NamedTuple):
    """One histogram."""

    labels: Labels
    bounds: tuple[float, ...]
    """Of the buckets, ascending; the one above them all is not among them."""
    counts: tuple[int, ...]
    """For each bound how many observations are not above it."""
    observations: int
    sum: float


class Family(NamedTuple):
    """All samples of one name."""

    name: str
    """Without `_total` and the like; it ends with the unit."""
    type: Type
    unit: str
    """`seconds`, `bytes` or nothing."""
    help: str
    samples: tuple[Sample | HistogramSample, ...]
