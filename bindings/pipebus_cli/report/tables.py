"""The tables of a report, the same for a page and for Markdown: text, with units, nothing drawn."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pipebus_cli.bench.run import Tick
from pipebus_cli.report.analysis import Analysis, Breakdown, Level, PhaseAnalysis
from pipebus_cli.report.compare import CONFIDENCE, Comparison, Interval
from pipebus_cli.report.units import change, count, duration, rate, share, size

ROWS: Final = 12
"""Of a timeline; longer ones are summed up."""
LONGEST: Final = 200
"""Characters of a setting that are shown."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the rows; `text_columns` (negative from the end) hold words."""

    caption: str
    columns: Row
    rows: tuple[Row, ...]
    text_columns: frozenset[int] = frozenset()


def percentile(part: float) -> str:
    """Write a level: `p99.9`, or `max` for 1."""
    return "max" if part == 1.0 else f"p{100 * part:.6g}"


def percentiles(one: PhaseAnalysis) -> Table:
    """Return the percentile curve as figures."""
    service = {} if one.service is None else dict(_pairs(one.service.quantiles, one.levels))
    columns = ("Percentile", "Latency", *(("Service",) if service else ()), "Requests beyond")
    rows = []
    for level in one.levels:
        beyond = round((1 - level.part) * one.latency.count)
        row = [percentile(level.part), duration(level.seconds)]
        if service:
            row.append(duration(service[level.part]))
        rows.append((*row, f"{beyond:,}"))
    return Table("Latency by percentile", columns, tuple(rows))


def _pairs(
    quantiles: Callable[[list[float]], list[float]], levels: tuple[Level, ...]
) -> Iterator[tuple[float, float]]:
    parts = [level.part for level in levels]
    yield from zip(parts, quantiles(parts), strict=True)


def histogram(one: PhaseAnalysis) -> Table:
    """Return how many requests took how long, in steps of 1, 2 and 5."""
    counts: dict[float, int] = {}
    bounds = [step * 10.0**power for power in range(-9, 5) for step in (1, 2, 5)]
    for bucket in one.latency.buckets():
        # A bucket that straddles a bound goes with its middle, as in quantiles.
        middle = (bucket.low_s + bucket.high_s) / 2
        bound = next((bound for bound in bounds if middle <= bound), math.inf)
        counts[bound] = counts.get(bound, 0) + bucket.count
    rows, passed = [], 0
    for bound in sorted(counts):
        passed += counts[bound]
        rows.append(
            (
                "longer" if bound == math.inf else f"up to {duration(bound)}",
                f"{counts[bound]:,}",
                share(passed, one.latency.count),
            )
        )
    return Table("Requests by latency", ("Latency", "Requests", "So far"), tuple(rows))


def breakdown(one: Breakdown) -> Table:
    """Return where the mean request's time goes; the parts add up."""
    rows = [
        (part.name, duration(part.seconds), share(part.seconds, one.whole_s), part.what)
        for part in one.parts
    ]
    rows.append(("all", duration(one.whole_s), "100 %", "mean latency of a request at the client"))
    return Table(
        "One request on the mean",
        ("Part", "Time", "Share", "What it spans"),
        tuple(rows),
        frozenset({-1}),
    )


def timeline(ticks: list[Tick]) -> Table:
    """Return the timeline, summed up to a dozen rows."""
    together = -(-len(ticks) // ROWS) or 1
    rows = []
    for at in range(0, len(ticks), together):
        group = ticks[at : at + together]
        p50 = [tick.p50_s for tick in group if tick.p50_s is not None]
        p99 = [tick.p99_s for tick in group if tick.p99_s is not None]
        rss = [tick.server_rss_bytes for tick in group if tick.server_rss_bytes is not None]
        rows.append(
            (
                duration(group[-1].at_s),
                rate(sum(tick.requests for tick in group) / sum(tick.length_s for tick in group)),
                f"{sum(tick.errors for tick in group):,}",
                duration(max(p50)) if p50 else "-",
                duration(max(p99)) if p99 else "-",
                size(max(rss)) if rss else "-",
            )
        )
    of = "" if together == 1 else f"; the highest of {together} intervals each"
    return Table(
        f"Timeline{of}",
        ("Until", "Throughput", "Errors", "p50", "p99", "Memory"),
        tuple(rows),
    )


def clients(one: PhaseAnalysis) -> Table:
    """Return how many requests each client had."""
    total = sum(one.phase.per_client)
    rows = [
        (f"{index}", f"{number:,}", share(number, total))
        for index, number in enumerate(one.phase.per_client, 1)
    ]
    return Table("Requests by client", ("Client", "Requests", "Share"), tuple(rows))


def phases(analysis: Analysis) -> Table:
    """Return the phases, a row each."""
    rows = []
    for one in analysis.phases:
        p50, p99 = one.latency.quantiles((0.5, 0.99)) if one.latency.count else (None, None)
        rows.append(
            (
                one.phase.name,
                rate(one.per_second),
                "-" if p50 is None else duration(p50),
                "-" if p99 is None else duration(p99),
                duration(one.latency.max_s) if one.latency.count else "-",
                f"{one.errors:,}",
                "-" if one.fairness is None else f"{one.fairness:.3f}",
            )
        )
    return Table(
        "Phases", ("Phase", "Throughput", "p50", "p99", "max", "Errors", "Fairness"), tuple(rows)
    )


def checks(analysis: Analysis) -> Table | None:
    """Return what had to hold, and whether it did."""
    rows = [
        (check.name, "holds" if check.ok else "FAILED", one.phase.name, check.detail)
        for one in analysis.phases
        for check in one.phase.checks
    ]
    if not rows:
        return None
    return Table("Checks", ("Check", "", "Phase", "Detail"), tuple(rows), frozenset({1, 2, 3}))


def environment(analysis: Analysis) -> Table:
    """Return on what it ran, and with which options."""
    run, on = analysis.run, analysis.run.environment
    rows = [
        ("Target", run.target),
        ("Scenario", f"{run.scenario}, {run.loop} loop"),
        ("Started", on.started),
        ("pipebus", on.pipebus),
        ("Python", on.python),
        ("Platform", on.platform),
        ("Cores", f"{on.cores:,}"),
        ("Load average before", f"{on.load_before:.2f}"),
        ("Seed", f"{run.seed}"),
        *(("Version of " + name, text) for name, text in on.versions.items()),
        *(
            ("Option " + name, _short(value))
            for name, value in run.options.items()
            if name != "json"
        ),
        *(
            ("Of phase " + one.phase.name, _parameters(one.phase.parameters))
            for one in analysis.phases
            if one.phase.parameters
        ),
    ]
    return Table("Environment", ("", "Value"), tuple(rows), frozenset({1}))


def _short(value: object) -> str:
    told = str(value)
    return told if len(told) <= LONGEST else told[: LONGEST - 1] + "…"


def _parameters(parameters: dict[str, Any]) -> str:
    return _short(", ".join(f"{name}: {value}" for name, value in parameters.items()))


def comparison(one: Comparison) -> Table:
    """Return what differs between two runs."""
    rows = [
        (
            f"{found.name}, {found.phase}",
            found.other,
            found.this,
            "-" if found.ratio is None else change(found.ratio),
            _interval(found.interval),
            found.verdict,
        )
        for found in one.differences
    ]
    return Table(
        "This run against the other",
        (
            "Figure",
            "Other run",
            "This run",
            "Change",
            f"{100 * CONFIDENCE:.0f} % interval",
            "Verdict",
        ),
        tuple(rows),
        frozenset({-1}),
    )


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{change(interval.low)} to {change(interval.high)}"


def settings(one: Comparison) -> Table | None:
    """Return what was not the same for both runs."""
    if not one.settings:
        return None
    return Table(
        "What else differs",
        ("", "Other run", "This run"),
        tuple((name, _short(other), _short(this)) for name, other, this in one.settings),
        frozenset({1, 2}),
    )


def headline(analysis: Analysis) -> str:
    """Say in a sentence or two how it went."""
    told = f"{count(analysis.attempts, 'request')} in {duration(analysis.duration_s)}"
    failed = analysis.attempts - analysis.requests
    told += ", all answered as they should be." if not failed else f"; {failed:,} of them failed."
    one = analysis.phases[0]
    if len(analysis.phases) > 1:
        best = max(analysis.phases, key=lambda phase: phase.per_second)
        return f"{told} At best {rate(best.per_second)} ({best.phase.name})."
    if one.latency.count:
        p50, p99 = one.latency.quantiles((0.5, 0.99))
        told += (
            f" Half of them took no longer than {duration(p50)}, 99 % no longer than"
            f" {duration(p99)}, the slowest {duration(one.latency.max_s)}."
        )
    return told
