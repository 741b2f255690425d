"""Two runs side by side, with the noise of each taken into account.

A figure differs only where two things agree: the 99 % interval of the ratio excludes 1, and the
ratio itself is at least 5 % off. The interval is Welch's, of the means over the ticks of the two
timelines, widened by how much a tick is like the one before it: a minute of stall is one event, not
sixty. Nothing is drawn by chance: the same two files give the same verdict. It knows the noise within
a run, not that between two runs of the same thing, which is what the 5 % are for. "No difference" is
said where the interval is within 25 % of 1; a wider one is "too noisy", fewer than eight ticks are
"too short": both say nothing about whether there is a difference.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

from pipebus_cli.bench.run import Phase, Run, Tick
from pipebus_cli.report.analysis import Analysis, PhaseAnalysis
from pipebus_cli.report.checks import ReportError
from pipebus_cli.report.units import duration, rate

CONFIDENCE: Final = 0.99
FLOOR: Final = 0.05
NOISY: Final = 0.25
LEAST_TICKS: Final = 8
MOST_TICKS: Final = 120

Verdict = Literal["better", "worse", "no difference", "too noisy", "too short"]


@dataclass(frozen=True, slots=True)
class Interval:
    """Of the ratio this run / other run, at `CONFIDENCE`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one phase in both runs."""

    phase: str
    name: str
    other: str
    this: str
    ratio: float | None
    """This run / other run."""
    interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs, or does not."""

    other: Analysis
    differences: tuple[Difference, ...]
    settings: tuple[tuple[str, str, str], ...]
    """What was not the same: name, other run, this run."""
    only_other: tuple[str, ...]
    only_this: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    higher_is_better: bool
    write: Callable[[float], str]
    whole: Callable[[PhaseAnalysis], float | None]
    of_tick: Callable[[Tick], float | None]


def _quantile(part: float) -> Callable[[PhaseAnalysis], float | None]:
    return lambda one: one.latency.quantile(part) if one.latency.count else None


FIGURES: Final = (
    _Figure(
        "Throughput",
        True,
        rate,
        lambda one: one.per_second,
        lambda tick: tick.requests / tick.length_s,
    ),
    _Figure("p50", False, duration, _quantile(0.5), lambda tick: tick.p50_s),
    _Figure("p99", False, duration, _quantile(0.99), lambda tick: tick.p99_s),
)


def compare(this: Analysis, other: Analysis) -> Comparison:
    """Compare two runs, phase by phase of the same name; `ReportError` if they share none."""
    by_name = {one.phase.name: one for one in other.phases}
    both = [one for one in this.phases if one.phase.name in by_name]
    if not both:
        msg = f"nothing to compare: this run has {_names(this)}, the other has {_names(other)}"
        raise ReportError(msg)
    differences = [
        _difference(figure, one, by_name[one.phase.name]) for one in both for figure in FIGURES
    ]
    shared = {one.phase.name for one in both}
    return Comparison(
        other,
        tuple(differences),
        tuple(_settings(this.run, other.run)),
        tuple(name for name in by_name if name not in shared),
        tuple(one.phase.name for one in this.phases if one.phase.name not in shared),
    )


def _names(analysis: Analysis) -> str:
    return ", ".join(repr(one.phase.name) for one in analysis.phases[:5])


def _settings(this: Run, other: Run) -> list[tuple[str, str, str]]:
    """Return what may explain a difference, apart from the program."""

    def told(run: Run) -> dict[str, str]:
        environment = run.environment
        return {
            "scenario": run.scenario,
            "loop": run.loop,
            "target": run.target,
            "pipebus": environment.pipebus,
            "Python": environment.python,
            "platform": environment.platform,
            "cores": str(environment.cores),
            **{f"version of {name}": text for name, text in environment.versions.items()},
            **{
                f"option {name}": str(value)
                for name, value in run.options.items()
                if name != "json"
            },
        }

    ours, theirs = told(this), told(other)
    return [
        (name, theirs.get(name, "-"), ours.get(name, "-"))
        for name in {**ours, **theirs}
        if theirs.get(name) != ours.get(name)
    ]


def _difference(figure: _Figure, this: PhaseAnalysis, other: PhaseAnalysis) -> Difference:
    after, before = figure.whole(this), figure.whole(other)
    ratio = after / before if after is not None and before else None
    interval = ratio_interval(
        _values(this.phase, figure.of_tick), _values(other.phase, figure.of_tick)
    )
    return Difference(
        this.phase.name,
        figure.name,
        "-" if before is None else figure.write(before),
        "-" if after is None else figure.write(after),
        ratio,
        interval,
        _verdict(ratio, interval, higher_is_better=figure.higher_is_better),
    )


def _verdict(ratio: float | None, interval: Interval | None, *, higher_is_better: bool) -> Verdict:
    if ratio is None or interval is None:
        return "too short"
    more = ratio >= 1 + FLOOR and interval.low > 1
    less = ratio <= 1 / (1 + FLOOR) and interval.high < 1
    if not (more or less):
        told = interval.low >= 1 / (1 + NOISY) and interval.high <= 1 + NOISY
        return "no difference" if told else "too noisy"
    return "better" if more is higher_is_better else "worse"


def _values(phase: Phase, of_tick: Callable[[Tick], float | None]) -> list[float]:
    """Return the figure of each tick; of a long run, means of neighbours."""
    values = [value for tick in phase.timeline if (value := of_tick(tick)) is not None]
    together = -(-len(values) // MOST_TICKS) or 1
    return [
        sum(values[at : at + together]) / len(values[at : at + together])
        for at in range(0, len(values), together)
    ]


def ratio_interval(this: Sequence[float], other: Sequence[float]) -> Interval | None:
    """Return the interval of mean(this) / mean(other); None where there is too little to tell."""
    if min(len(this), len(other)) < LEAST_TICKS or min(sum(this), sum(other)) <= 0.0:
        return None
    ours, theirs = _relative_variance(this), _relative_variance(other)
    # Welch's degrees of freedom: the run with the more noise has the say.
    squares = ours**2 / (len(this) - 1) + theirs**2 / (len(other) - 1)
    freedom = (ours + theirs) ** 2 / squares if squares else float(len(this) + len(other) - 2)
    wide = _t(freedom) * math.sqrt(ours + theirs)
    ratio = (sum(this) / len(this)) / (sum(other) / len(other))
    return Interval(ratio * math.exp(-wide), ratio * math.exp(wide))


def _relative_variance(values: Sequence[float]) -> float:
    """Return the variance of the mean over the mean squared: that of the mean's logarithm."""
    count = len(values)
    mean = sum(values) / count
    off = [value - mean for value in values]
    squares = sum(one * one for one in off)
    if not squares:
        return 0.0
    alike = sum(a * b for a, b in itertools.pairwise(off)) / squares
    # An autocorrelation of few values comes out too small, by about (1 + 4 r) / n.
    alike = min(0.9, max(0.0, alike + (1 + 4 * alike) / count))
    return squares / (count - 1) / count / mean**2 * (1 + alike) / (1 - alike)


def _t(freedom: float) -> float:
    """Return what Student's t exceeds with 0.5 % (Hill's series from the normal quantile)."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
