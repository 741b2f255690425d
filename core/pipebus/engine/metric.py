"""A metric as data: what it is called, and where it is read."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pipebus.engine.assembly import Assembly
from pipebus.telemetry.families import Family, HistogramSample, Sample, Type
from pipebus.telemetry.histogram import Histogram

Reading = tuple[tuple[str, ...], float | Histogram]
"""The values of a metric's labels, in their order, and the number or numbers."""


class Metric(NamedTuple):
    """One row of the table of metrics."""

    name: str
    """Without `_total`; it ends with the unit."""
    type: Type
    unit: str
    """`seconds`, `bytes` or nothing."""
    help: str
    labels: tuple[str, ...]
    read: Callable[[Assembly], Iterable[Reading]]


def family(metric: Metric, engine: Assembly) -> Family:
    """Read a metric."""
    return Family(
        metric.name,
        metric.type,
        metric.unit,
        metric.help,
        tuple(_sample(metric.labels, *reading) for reading in metric.read(engine)),
    )


def alone(read: Callable[[Assembly], float | Histogram]) -> Callable[[Assembly], list[Reading]]:
    """Make a reader of what has no labels."""
    return lambda engine: [((), read(engine))]


def _sample(
    names: tuple[str, ...], values: tuple[str, ...], read: float | Histogram
) -> Sample | HistogramSample:
    labels = tuple(zip(names, values, strict=True))
    if isinstance(read, Histogram):
        return HistogramSample(labels, read.bounds, read.cumulative(), read.count, read.sum)
    return Sample(labels, read)
