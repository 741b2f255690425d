"""The scenarios that try what a server bears: large bodies, faults, a long time, too much."""

from collections.abc import Callable
from dataclasses import replace as replaced
from statistics import median
from typing import Any, Final, Literal

import msgspec

from pipebus_cli.bench.faults import Faults
from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.options import BenchOptions
from pipebus_cli.bench.phase import Plan, Seen
from pipebus_cli.bench.run import Check, Phase, Tick
from pipebus_cli.bench.scenarios import Bench, Loop, Scenario, burst, clients, rate, steady
from pipebus_cli.numbers import show

ScenarioName = Literal[
    "steady", "rate", "burst", "clients", "payload", "errors", "soak", "overload"
]

SOAK: Final = 25_816
"""The seed's requests."""
FEWEST_TICKS: Final = 8
"""Of a soak, to speak of a drift: its first and last quarter are compared."""
MOST_GROWTH: Final = 8 * 1024**2
"""Of memory, in bytes, where a tenth of it is less."""
_LARGE: Final = 1024**2
_STEPS: Final = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
"""Of the closed loop's throughput; an open one is asked for so many a second."""
_BEYOND: Final = 2
KEPT: Final = 0.95
"""Of what was asked for must be answered in time for a server to keep up."""
_BEARABLE: Final = frozenset(
    {
        "timeout",
        "unsent",
        "closed",
        "reset",
        "connect",
        "connect timeout",
        "status 429",
        "status 503",
    }
)


def payload(bench: Bench) -> Scenario:
    """Send larger and larger bodies, over few connections."""
    options = bench.options
    sizes = options.body_sizes()
    for size in sizes:
        message = msgspec.structs.replace(bench.target.message, body_bytes=size, body_file=None)
        yield bench.plan(
            f"{show(size)} bytes",
            phases=len(sizes),
            message=message,
            connections=options.connections or (2 if size > _LARGE else 4),
            # A megabyte a second is no fault.
            timeout=max(options.timeout, 2 * size / _LARGE),
        )
    return {}


def errors(bench: Bench) -> Scenario:
    """Do what is wrong, and see that it has no consequences but the right ones."""
    faults = Faults(bench.target, bench.options.timeout)
    yield replaced(bench.plan("beside faults"), beside=faults.run)
    yield bench.plan("afterwards", count=100, duration=None, warmup=0.0, connections=1)
    return {}


def soak(bench: Bench) -> Scenario:
    """Send for a long time, and see that nothing grows."""
    options = bench.options
    count = options.count
    if count is None and options.duration is None:
        count = SOAK
    loop: dict[str, Any] = {}
    if options.rate is not None:
        # At a slow pace few, so that none is idle for so long that the server closes it.
        few = max(2, min(64, round(options.rate)))
        loop = {
            "loop": "open",
            "rate": options.rate,
            "spacing": options.spacing or "fixed",
            "connections": options.connections or few,
        }
    plan = bench.plan("soak", count=count, duration=options.duration, **loop)
    phase = yield replaced(plan, looks=(lambda seen: drift_checks(seen.timeline),))
    return {**_drifts(phase.timeline)}


def drift_checks(timeline: list[Tick]) -> list[Check]:
    """Look at whether memory or open files grew; too few intervals say nothing."""
    grown = _drifts(timeline)
    checks = []
    memory, files = grown.get("rss_growth_bytes"), grown.get("fds_growth")
    if memory is not None:
        first = _quarters(timeline, lambda tick: tick.server_rss_bytes)
        bound = max(MOST_GROWTH, first[0] / 10 if first else 0.0)
        detail = f"{memory / 1024**2:+.1f} MiB, at most {bound / 1024**2:.1f}"
        checks.append(Check("memory does not grow", memory <= bound, detail))
    if files is not None:
        checks.append(Check("open files do not grow", files <= 1, f"{files:+g}"))
    return checks


def _drifts(timeline: list[Tick]) -> dict[str, float]:
    """Return by how much the median of the last quarter exceeds that of the first."""
    read: dict[str, Callable[[Tick], float | None]] = {
        "rss_growth_bytes": lambda tick: tick.server_rss_bytes,
        "fds_growth": lambda tick: tick.server_fds,
        "p50_growth_s": lambda tick: tick.p50_s,
    }
    found = {name: _quarters(timeline, pick) for name, pick in read.items()}
    return {name: pair[1] - pair[0] for name, pair in found.items() if pair is not None}


def _quarters(
    timeline: list[Tick], pick: Callable[[Tick], float | None]
) -> tuple[float, float] | None:
    values = [value for tick in timeline if (value := pick(tick)) is not None]
    if len(values) < FEWEST_TICKS:
        return None
    quarter = len(values) // 4
    return median(values[:quarter]), median(values[-quarter:])


def overload(bench: Bench) -> Scenario:
    """Ask for more and more until the server does not keep up, go beyond, and see it recover."""
    options = bench.options
    phases = len(_STEPS) + 2
    length = bench.duration(phases)
    first = yield bench.plan("capacity", phases=phases, connections=options.connections or 64)
    most = first.requests / first.duration_s if first.duration_s else 0.0
    results: dict[str, float | None] = {"closed_loop_per_s": most, "knee_per_s": None}
    if not most:
        return results
    beyond = 0
    for step in _STEPS:
        phase = yield _asked(bench, most * step, length, may_fail=True)
        if not beyond and keeps_up(phase, most * step):
            results["knee_per_s"] = most * step
        else:
            beyond += 1
        if beyond > _BEYOND:
            break
    yield _asked(bench, most * _STEPS[0] / 2, length, may_fail=False, name="recovered: ")
    return results


def keeps_up(phase: Phase, asked: float) -> bool:
    """Whether nearly all that was asked for was answered, and half of it without a queue."""
    if phase.errors or not phase.requests or phase.service is None:
        return False
    service = Histogram.from_quantiles(phase.service)
    latency = Histogram.from_quantiles(phase.latency)
    # A queue that grows: what was due waits longer to be sent than it takes to be answered.
    waits = latency.quantile(0.5) > 2 * service.quantile(0.5) + 0.001
    return phase.requests / phase.duration_s >= KEPT * asked and not waits


def _asked(
    bench: Bench, rate_: float, length: float | None, *, may_fail: bool, name: str = ""
) -> Plan:
    loop: Loop = "open"
    plan = bench.plan(
        f"{name}{rate_:,.0f} a second",
        loop=loop,
        rate=round(rate_, 1),
        spacing=bench.options.spacing or "poisson",
        duration=length,
    )
    return replaced(plan, may_fail=may_fail, looks=(no_wrong_answer,) if may_fail else ())


def no_wrong_answer(seen: Seen) -> list[Check]:
    """Look at whether what was too much was refused or lost, and never answered wrongly."""
    wrong = {kind: count for kind, count in seen.done.errors.items() if kind not in _BEARABLE}
    detail = ", ".join(f"{count:,} {kind}" for kind, count in sorted(wrong.items()))
    return [Check("no answer is wrong", ok=not wrong, detail=detail)]


SCENARIOS: Final[dict[ScenarioName, Callable[[Bench], Scenario]]] = {
    "steady": steady,
    "rate": rate,
    "burst": burst,
    "clients": clients,
    "payload": payload,
    "errors": errors,
    "soak": soak,
    "overload": overload,
}


def loop_of(scenario: ScenarioName, options: BenchOptions) -> Loop:
    """Return what the figures of a scenario are to be read as."""
    by_clock = scenario in ("rate", "burst", "overload")
    return "open" if by_clock or (scenario == "soak" and options.rate is not None) else "closed"
