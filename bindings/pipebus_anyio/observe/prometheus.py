"""A server's metrics in a registry of prometheus-client (the extra `metrics`)."""

from collections.abc import Iterator
from typing import Protocol

from pipebus.engine.metrics import METRICS
from pipebus.telemetry.families import Family, HistogramSample

try:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector
except ImportError as _missing:
    _msg = "this needs prometheus-client: pip install 'pipebus[metrics]'"
    raise ImportError(_msg, name=_missing.name) from _missing


class HasMetrics(Protocol):
    """A `Server`."""

    def metrics(self) -> list[Family]:
        """Read every metric, in the loop's thread; raises `RuntimeError` once that has ended."""
        ...


class PipebusCollector(Collector):
    """What `GET /metrics` of the admin listener tells, for a registry: `registry.register(...)`.

    A registry may be scraped in any thread: the reading happens in the loop's, and the thread
    waits for it. A server that has ended tells nothing, so that others in the registry go on.
    """

    def __init__(self, server: HasMetrics) -> None:
        self._server = server

    def describe(self) -> Iterator[Metric]:
        """Return the names, for the registry to refuse what is there already."""
        for one in METRICS:
            yield Metric(one.name, one.help, one.type, one.unit)

    def collect(self) -> Iterator[Metric]:
        """Read every metric, all at one moment."""
        try:
            families = self._server.metrics()
        except RuntimeError:  # asked for in another thread, and the loop has ended
            return
        for family in families:
            yield _metric(family)


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.help, family.type, family.unit)
    name = f"{family.name}_total" if family.type == "counter" else family.name
    for sample in family.samples:
        labels = {label: value for label, value in sample.labels if value}
        if isinstance(sample, HistogramSample):
            bounds = (*map(str, sample.bounds), "+Inf")
            counts = (*sample.counts, sample.observations)
            for bound, count in zip(bounds, counts, strict=True):
                metric.add_sample(f"{name}_bucket", {**labels, "le": bound}, count)
            metric.add_sample(f"{name}_sum", labels, sample.sum)
            metric.add_sample(f"{name}_count", labels, sample.observations)
        else:
            metric.add_sample(name, labels, sample.value)
    return metric
