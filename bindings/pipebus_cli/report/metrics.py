"""The key metrics of the seed's report: server, client, throughput; each says what it spans."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pipebus_cli.bench.run import ServerUse
from pipebus_cli.report.analysis import Analysis, PhaseAnalysis, stage_means
from pipebus_cli.report.tables import Table
from pipebus_cli.report.units import digits, duration, rate, share, size


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    note: str
    read: Callable[[PhaseAnalysis], str | None]


def _level(part: float) -> Callable[[PhaseAnalysis], str | None]:
    def read(one: PhaseAnalysis) -> str | None:
        told = [level.seconds for level in one.levels if level.part == part]
        return duration(told[0]) if told else None

    return read


def _measured(read: Callable[[PhaseAnalysis], float]) -> Callable[[PhaseAnalysis], str | None]:
    return lambda one: duration(read(one)) if one.latency.count else None


def _service(part: float) -> Callable[[PhaseAnalysis], str | None]:
    return lambda one: (
        duration(one.service.quantile(part)) if one.service and one.service.count else None
    )


def _stage(name: str) -> Callable[[PhaseAnalysis], str | None]:
    def read(one: PhaseAnalysis) -> str | None:
        means = stage_means(one.phase)
        return duration(means[name]) if name in means else None

    return read


def _stages(one: PhaseAnalysis) -> str | None:
    means = stage_means(one.phase)
    return duration(sum(means.values())) if means else None


def _server(read: Callable[[ServerUse], str]) -> Callable[[PhaseAnalysis], str | None]:
    return lambda one: None if one.phase.server is None else read(one.phase.server)


def _server_cpu(one: PhaseAnalysis) -> str | None:
    use = one.phase.server
    if use is None:
        return None
    return f"{duration(use.cpu_s)} ({share(use.cpu_s, one.phase.duration_s)} of one core)"


def _each(read: Callable[[PhaseAnalysis], float | None]) -> Callable[[PhaseAnalysis], str | None]:
    def write(one: PhaseAnalysis) -> str | None:
        value = read(one)
        return None if value is None else duration(value)

    return write


def _pauses(one: PhaseAnalysis) -> str | None:
    if one.phase.server is None or not one.phase.server.gc_pauses_s:
        return None
    pauses = one.phase.server.gc_pauses_s
    return f"{len(pauses):,}: {duration(sum(pauses))}, longest {duration(max(pauses))}"


CLIENT: Final = (
    _Metric("Requests", "sent after the warm-up", lambda one: f"{one.attempts:,}"),
    _Metric(
        "Answered as they should be",
        "the rest are errors, without a latency",
        lambda one: share(one.phase.requests, one.attempts),
    ),
    _Metric("Latency, min", "", _measured(lambda one: one.latency.min_s)),
    _Metric("Latency, mean", "", _measured(lambda one: one.latency.mean_s)),
    _Metric("Latency, p50", "half of the requests took no longer", _level(0.5)),
    _Metric("Latency, p90", "", _level(0.9)),
    _Metric("Latency, p99", "", _level(0.99)),
    _Metric("Latency, p99.9", "told where ten requests lie beyond", _level(0.999)),
    _Metric("Latency, max", "", _measured(lambda one: one.latency.max_s)),
    _Metric("Service, p50", "from when a request was really sent", _service(0.5)),
    _Metric("Service, p99", "", _service(0.99)),
    _Metric("Connections opened", "", lambda one: f"{one.phase.connections_opened:,}"),
    _Metric(
        "Requests on a connection",
        "mean",
        lambda one: (
            digits(one.attempts / one.phase.connections_opened)
            if one.phase.connections_opened
            else None
        ),
    ),
    _Metric(
        "CPU of the client",
        "user and system, of the load generator",
        lambda one: (
            f"{duration(one.phase.client_cpu_s)}"
            f" ({share(one.phase.client_cpu_s, one.phase.duration_s)} of one core)"
        ),
    ),
    _Metric("CPU of the client, each request", "", _each(lambda one: one.client_cpu_per_request_s)),
)
SERVER: Final = (
    _Metric("read", "head complete until dispatched, a collected body included", _stage("read")),
    _Metric("queue", "dispatched until a handler began", _stage("queue")),
    _Metric("handler", "until the answer is complete", _stage("handler")),
    _Metric("write", "until its last byte was handed to the system", _stage("write")),
    _Metric("All stages", "head complete until last byte handed over", _stages),
    _Metric("CPU", "user and system, of the server's process", _server_cpu),
    _Metric("CPU, each request", "", _each(lambda one: one.server_cpu_per_request_s)),
    _Metric("Memory before", "resident set", _server(lambda use: size(use.rss_before_bytes))),
    _Metric("Memory at its peak", "", _server(lambda use: size(use.rss_peak_bytes))),
    _Metric("Memory after", "", _server(lambda use: size(use.rss_after_bytes))),
    _Metric(
        "Open files, before and after",
        "sockets included",
        _server(lambda use: f"{use.fds_before:,} / {use.fds_after:,}"),
    ),
    _Metric("GC pauses", "of Python's collector", _pauses),
)
THROUGHPUT: Final = (
    _Metric("Duration", "the warm-up excluded", lambda one: duration(one.phase.duration_s)),
    _Metric("Warm-up", "before it", lambda one: duration(one.phase.warmup_s)),
    _Metric("Request rate", "answered as they should be", lambda one: rate(one.per_second)),
    _Metric("Sent", "heads and bodies, as on the wire", lambda one: size(one.phase.bytes_sent)),
    _Metric("Received", "heads and bodies", lambda one: size(one.phase.bytes_received)),
    _Metric(
        "Bandwidth",
        "both ways",
        lambda one: (
            size((one.phase.bytes_sent + one.phase.bytes_received) / one.phase.duration_s) + "/s"
        ),
    ),
)


def key_metrics(analysis: Analysis) -> Iterator[Table]:
    """Yield the three tables of the seed; what was not measured is left out."""
    for caption, metrics in (
        ("Server performance", SERVER),
        ("Client performance", CLIENT),
        ("Throughput", THROUGHPUT),
    ):
        rows = []
        for metric in metrics:
            values = [metric.read(one) for one in analysis.phases]
            if any(value is not None for value in values):
                rows.append((metric.name, *(value or "-" for value in values), metric.note))
        if not rows:
            continue
        names = (
            ("Value",)
            if len(analysis.phases) == 1
            else tuple(one.phase.name for one in analysis.phases)
        )
        yield Table(caption, ("Metric", *names, "What it spans"), tuple(rows), frozenset({-1}))
