"""What stands out in a run: all rules, the worst first."""

from collections.abc import Callable, Iterator
from typing import Final

from pipebus_cli.report.analysis import Analysis, PhaseAnalysis
from pipebus_cli.report.finding import ORDER, Finding
from pipebus_cli.report.resource_rules import (
    collections,
    descriptors,
    fairness,
    generator,
    memory,
    pace,
    reuse,
)
from pipebus_cli.report.time_rules import few, latency_drift, network, omission, queueing, tail
from pipebus_cli.report.units import count, duration, rate, share

LOADED: Final = 0.5
FALL: Final = 0.8


def find(analysis: Analysis) -> list[Finding]:
    """Return what the rules say, the worst first."""
    found = [one for rule in RUN_RULES for one in rule(analysis)]
    for phase in analysis.phases:
        found += [one for rule in PHASE_RULES for one in rule(phase, analysis)]
    return sorted(found, key=lambda one: ORDER.index(one.severity))


def errors(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Name requests that were not answered as they should be."""
    threshold = "any request without the right answer"
    if one.errors:
        kinds = sorted(one.phase.errors.items(), key=lambda kind: -kind[1])
        told = ", ".join(f"{number:,} {kind}" for kind, number in kinds if number)
        yield Finding(
            "errors",
            "critical",
            "Requests failed",
            f"{one.errors:,} of {one.attempts:,} ({share(one.errors, one.attempts)}): {told}.",
            threshold,
            "Failed requests are not in the latencies. Find their cause before reading on.",
            one.phase.name,
        )
    elif one.attempts:
        yield Finding(
            "errors",
            "good",
            "Every request was answered as it should be",
            f"{count(one.attempts, 'request')}, none failed.",
            threshold,
            "",
            one.phase.name,
        )


def checks(one: PhaseAnalysis, analysis: Analysis) -> Iterator[Finding]:
    """Pass on each check of the scenario that does not hold."""
    for failed in one.phase.checks:
        if not failed.ok:
            yield Finding(
                "checks",
                "critical",
                f"Check failed: {failed.name}",
                failed.detail or "The scenario gives no detail.",
                "any check of the scenario that does not hold",
                "The server did something else than it should.",
                one.phase.name,
            )


def machine(analysis: Analysis) -> Iterator[Finding]:
    """Find a machine that had something else to do."""
    environment = analysis.run.environment
    if environment.load_before > LOADED * environment.cores:
        yield Finding(
            "machine",
            "warning",
            "The machine was busy with something else",
            f"Its load average was {environment.load_before:.2f} on"
            f" {count(environment.cores, 'core')} before the run began.",
            f"a load average over {LOADED:g} for each core",
            "Latencies and throughput are those of a shared machine. Run again on an idle one"
            " before you rely on them.",
        )


def interrupted(analysis: Analysis) -> Iterator[Finding]:
    """Say that a run was ended early."""
    if analysis.run.interrupted:
        yield Finding(
            "interrupted",
            "note",
            "The run was ended early",
            f"It has {count(len(analysis.phases), 'phase')} and {duration(analysis.duration_s)}.",
            "a run that was interrupted",
            "What is here is right, but not all of it.",
        )


def scaling(analysis: Analysis) -> Iterator[Finding]:
    """Find throughput that falls when more is asked."""
    phases = analysis.phases
    known = [one for one in phases if one.connections is not None]
    if len(known) < 2 or len({one.connections for one in known}) < len(known):
        return
    best, last = max(known, key=lambda one: one.per_second), known[-1]
    if last.per_second < FALL * best.per_second:
        yield Finding(
            "scaling",
            "warning",
            "Throughput falls when more is asked",
            f"{rate(best.per_second)} at best ({best.phase.name}), {rate(last.per_second)}"
            f" at the end ({last.phase.name}).",
            f"the last phase below {100 * FALL:.0f} % of the best",
            "Limit what is in flight near the best phase; what is over it should be refused.",
        )


RUN_RULES: Final[tuple[Callable[[Analysis], Iterator[Finding]], ...]] = (
    machine,
    interrupted,
    scaling,
)
PHASE_RULES: Final[tuple[Callable[[PhaseAnalysis, Analysis], Iterator[Finding]], ...]] = (
    checks,
    errors,
    omission,
    tail,
    queueing,
    network,
    collections,
    memory,
    descriptors,
    latency_drift,
    pace,
    generator,
    reuse,
    fairness,
    few,
)
