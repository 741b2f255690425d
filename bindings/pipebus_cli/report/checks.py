"""What must hold of a run before anything is said about it. A report never explains nonsense."""

import math
from collections.abc import Iterator
from typing import Final

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import SCHEMA, Phase, Quantiles, Run, Tick
from pipebus_cli.errors import CliError
from pipebus_cli.report.units import duration

SLACK: Final = 1e-6
"""Relative: sums of floats are not exact."""
STAGES_SLACK: Final = 0.02
STAGES_SLACK_S: Final = 20e-6
"""Server and client read two clocks, and the server its own when the client may have the answer already."""
STAGES_ABSURD: Final = 1.5
STAGES_ABSURD_S: Final = 1e-3
"""What no busy machine between that answer and that clock explains any more."""
TIMELINE_SLACK: Final = 1.0
"""Seconds: the last tick ends when the loop gets round to it."""
LONGEST: Final = 1e9
"""Seconds, 31 years: a sum of durations beyond is none."""
SHOWN: Final = 3


class ReportError(CliError):
    """The run contradicts itself, so there is nothing to report. Says where."""


def check(run: Run) -> None:
    """Raise a `ReportError` that names what is impossible in a run."""
    found = list(violations(run))
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        msg = "the run contradicts itself: " + "; ".join(found[:SHOWN]) + more
        raise ReportError(msg)


def violations(run: Run) -> Iterator[str]:
    """Yield what is impossible, a line each."""
    if run.schema != SCHEMA:
        yield f"its schema is {run.schema}, this version reads {SCHEMA}"
        return
    if run.loop not in ("closed", "open"):
        yield f"the loop is {run.loop!r}, neither closed nor open"
    if run.environment.cores < 1:
        yield f"it ran on {run.environment.cores} cores"
    if not run.phases:
        yield "it has no phases"
    names = [phase.name for phase in run.phases]
    if len(set(names)) < len(names):
        yield "two phases have the same name"
    for phase in run.phases:
        for line in _phase(phase, run):
            yield f"{phase.name}: {line}"


def _phase(phase: Phase, run: Run) -> Iterator[str]:
    bad = [name for name, value in _figures(phase) if not (math.isfinite(value) and value >= 0)]
    if bad:
        yield f"below 0 or no number: {', '.join(bad)}"
        return
    if phase.duration_s == 0.0:
        yield "it took no time"
        return
    yield from _distribution("latency", phase.latency)
    if phase.service is not None:
        yield from _distribution("service", phase.service)
    for name, stage in phase.stages.items():
        yield from _distribution(f"stage {name}", stage)
    yield from _balance(phase)
    yield from _busy(phase, run)
    yield from _timeline(phase)
    if phase.client_cpu_s > phase.duration_s * run.environment.cores + TIMELINE_SLACK:
        yield (
            f"the client took {duration(phase.client_cpu_s)} of CPU"
            f" in {duration(phase.duration_s)} on {run.environment.cores} cores"
        )
    use = phase.server
    if use is not None and use.rss_peak_bytes < max(use.rss_before_bytes, use.rss_after_bytes):
        yield "the server's memory at its peak is less than before or after"
    if use is not None and sum(use.gc_pauses_s) > phase.duration_s + TIMELINE_SLACK:
        yield "the server's GC pauses are longer than the phase"


def _figures(phase: Phase) -> Iterator[tuple[str, float]]:
    """Yield all that is a count, a duration or a size, which is none of them below 0."""
    for name in (
        "duration_s",
        "warmup_s",
        "requests",
        "bytes_sent",
        "bytes_received",
        "connections_opened",
        "client_cpu_s",
    ):
        yield name, getattr(phase, name)
    for kind, number in (*phase.errors.items(), *phase.statuses.items()):
        yield f"{kind!r}", number
    for name, seconds in phase.stage_means_s.items():
        yield f"stage_means_s {name}", seconds
    for requests in phase.per_client:
        yield "per_client", requests
    use = phase.server
    if use is not None:
        for name in (
            "cpu_s",
            "rss_before_bytes",
            "rss_after_bytes",
            "rss_peak_bytes",
            "fds_before",
            "fds_after",
        ):
            yield f"server.{name}", getattr(use, name)
        for seconds in use.gc_pauses_s:
            yield "server.gc_pauses_s", seconds
    for tick in phase.timeline:
        for name in ("at_s", "length_s", "requests", "errors"):
            yield f"timeline.{name}", getattr(tick, name)


def _distribution(name: str, one: Quantiles) -> Iterator[str]:
    """Yield what a histogram cannot be."""
    figures = {"minimum": one.min_s, "maximum": one.max_s, "sum": one.sum_s}
    for figure, seconds in figures.items():
        # Not only infinity: an index of a bucket must stay a number that fits.
        if not 0.0 <= seconds <= LONGEST:
            yield f"{name}: its {figure} is {seconds:g} s"
            return
    if one.min_s > one.max_s:
        yield f"{name}: minimum {duration(one.min_s)} > maximum {duration(one.max_s)}"
        return
    try:
        histogram = Histogram.from_quantiles(one)
    except ValueError as error:
        yield f"{name}: {error}"
        return
    if not one.count:
        return
    mean = one.sum_s / one.count
    if not one.min_s * (1 - SLACK) <= mean <= one.max_s * (1 + SLACK):
        yield (
            f"{name}: the mean {duration(mean)} is not between the"
            f" minimum {duration(one.min_s)} and the maximum {duration(one.max_s)}"
        )
        return
    buckets = list(histogram.buckets())
    least = sum(bucket.low_s * bucket.count for bucket in buckets)
    most = sum(bucket.high_s * bucket.count for bucket in buckets)
    if not least * (1 - SLACK) <= one.sum_s <= most * (1 + SLACK):
        yield f"{name}: the mean {duration(mean)} does not fit its buckets"
    p50, p99 = histogram.quantiles((0.5, 0.99))
    if not one.min_s <= p50 <= p99 <= one.max_s:
        yield (
            f"{name}: minimum {duration(one.min_s)}, p50 {duration(p50)}, p99 {duration(p99)}"
            f" and maximum {duration(one.max_s)} are out of order"
        )


def _balance(phase: Phase) -> Iterator[str]:
    """Yield the counts that do not balance."""
    errors = sum(phase.errors.values())
    total = phase.requests + errors
    # A request that had no answer has no latency: so at least the good ones, at most all.
    measured = phase.latency.count
    if not phase.requests <= measured <= total:
        yield (f"{measured:,} latencies for {phase.requests:,} requests and {errors:,} errors")
    if phase.service is not None and phase.service.count != measured:
        yield f"{phase.service.count:,} service times for {measured:,} latencies"
    if phase.service is not None and phase.service.sum_s > phase.latency.sum_s * (1 + SLACK):
        yield "service times exceed latencies, of which they are a part"
    answered = sum(phase.statuses.values())
    if not phase.requests <= answered <= total:
        yield f"{answered:,} statuses for {phase.requests:,} requests and {errors:,} errors"
    if phase.per_client and not phase.requests <= sum(phase.per_client) <= total:
        yield (
            f"{sum(phase.per_client):,} requests by client for {phase.requests:,}"
            f" and {errors:,} errors"
        )


def _busy(phase: Phase, run: Run) -> Iterator[str]:
    """Yield whether connections were busy for longer than there was time (Little's law).

    This is what finds a unit that was dropped: milliseconds taken for seconds cannot have been.
    """
    connections = phase.parameters.get("connections")
    own = phase.service if phase.service is not None else phase.latency
    if run.loop != "closed" and phase.service is None:
        return
    if not isinstance(connections, int) or connections < 1 or not own.count:
        return
    most = connections * (phase.duration_s + phase.warmup_s + own.max_s)
    if own.sum_s > most * (1 + SLACK):
        yield (
            f"requests took {duration(own.sum_s)} together, but {connections} connections had only"
            f" {duration(most)}: are these seconds?"
        )
    if own.max_s > phase.duration_s + phase.warmup_s + 60.0:
        yield f"a request took {duration(own.max_s)} in a phase of {duration(phase.duration_s)}"


def _timeline(phase: Phase) -> Iterator[str]:
    ticks = phase.timeline
    if sum(tick.requests for tick in ticks) > phase.requests:
        yield "the timeline has more requests than the phase"
    if sum(tick.errors for tick in ticks) > sum(phase.errors.values()):
        yield "the timeline has more errors than the phase"
    before = 0.0
    for tick in ticks:
        if tick.length_s <= 0.0 or tick.at_s <= before:
            yield f"the timeline goes backwards at {duration(tick.at_s)}"
            return
        before = tick.at_s
        yield from _tick(tick)
    if before > phase.duration_s + TIMELINE_SLACK:
        yield (
            f"the timeline ends at {duration(before)}, the phase at {duration(phase.duration_s)}"
        )


def _tick(tick: Tick) -> Iterator[str]:
    if tick.p50_s is not None and tick.p99_s is not None and tick.p50_s > tick.p99_s:
        yield (
            f"p50 {duration(tick.p50_s)} > p99 {duration(tick.p99_s)}"
            f" in the timeline at {duration(tick.at_s)}"
        )
