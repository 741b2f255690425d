"""Each rule speaks where it should, says the figures and its threshold, and is silent elsewhere."""

from typing import Any

import msgspec
import pytest

from pipebus_cli.bench.run import Check, Phase, Run, Tick
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.finding import Finding, grouped
from pipebus_cli.report.findings import find
from tests.cli.report.runs import MIB, latencies, phase, quantiles, run, ticks, use

VALUES = latencies(5_000)
OPEN = {"connections": 16, "rate": 500}


def found(made: Run, rule: str) -> list[Finding]:
    return [one for one in find(analyse(made)) if one.rule == rule]


def bad(made: Run, rule: str) -> list[Finding]:
    return [one for one in found(made, rule) if one.severity != "good"]


def of(**changed: Any) -> Run:
    return run(phase(VALUES, **changed))


def growing(start: float, step: float, count: int = 20) -> list[Tick]:
    return [
        msgspec.structs.replace(tick, server_rss_bytes=int(start + step * index))
        for index, tick in enumerate(ticks(VALUES, count=count))
    ]


def opening(start: int, step: int) -> list[Tick]:
    return [
        msgspec.structs.replace(tick, server_fds=start + step * index)
        for index, tick in enumerate(ticks(VALUES))
    ]


def slowing(last: float) -> list[Tick]:
    """p50 rises evenly to `last` times what it was."""
    return [
        msgspec.structs.replace(tick, p50_s=300e-6 * (1 + (last - 1) * index / 19), p99_s=1.0)
        for index, tick in enumerate(ticks(VALUES))
    ]


def restless() -> list[Tick]:
    """p50 is one of two values all the time, and by chance the higher more often at the end."""
    high = {2, 5, 8, 11, 14, 15, 17, 19}
    return [
        msgspec.structs.replace(tick, p50_s=450e-6 if index in high else 300e-6, p99_s=1.0)
        for index, tick in enumerate(ticks(VALUES, count=20))
    ]


STALL = [value + (1.0 if index % 20 == 0 else 0.0) for index, value in enumerate(VALUES)]
TAIL = [0.003 if index % 50 == 0 else value for index, value in enumerate(VALUES)]
LONG_TAIL = [0.1 if index % 50 == 0 else value for index, value in enumerate(VALUES)]

FIRES: list[tuple[str, str, Run, str]] = [
    (
        "errors",
        "critical",
        of(errors={"timeout": 2, "status 503": 3}, statuses={"200": 5_000, "503": 3}),
        "5 of 5,005 (0.10 %): 3 status 503, 2 timeout.",
    ),
    ("checks", "critical", of(checks=[Check("balance", ok=False, detail="1 lost")]), "1 lost"),
    (
        "network-bound",
        "note",
        of(stage_means_s={"handler": 40e-6}),
        "(89.2 %); the server's stages take 40.0 µs",
    ),
    ("saturated", "note", of(server=use(cpu_s=9.0)), "used 90.0 % of one core"),
    (
        "connection-reuse",
        "warning",
        of(connections_opened=5_000),
        "5,000 connections opened for 5,000 requests: 1.00 on each.",
    ),
    (
        "queueing",
        "warning",
        run(phase([4e-3] * 2_000, timeline=[], stage_means_s={"queue": 1.2e-3, "handler": 2.8e-3})),
        "1.20 ms of the 4.00 ms in the server on the mean (30.0 %)",
    ),
    (
        "gc",
        "warning",
        of(server=use(gc_pauses_s=[0.05, 0.07])),
        "2 pauses, 120 ms together (1.2 % of the time), the longest 70.0 ms.",
    ),
    ("tail", "warning", run(phase(TAIL, timeline=[])), "times p50"),
    ("tail", "critical", run(phase(LONG_TAIL, timeline=[], duration_s=20.0)), "times p50"),
    (
        "memory-drift",
        "warning",
        of(timeline=growing(40 * MIB, MIB)),
        "42.5 MiB, 49.5 MiB, 56.5 MiB: medians",
    ),
    ("fd-drift", "warning", of(server=use(fds_after=18)), "12 before, 18 after"),
    (
        "fd-drift",
        "warning",
        of(timeline=opening(10, 1)),
        "12 in the first third of the timeline, 26 in the last",
    ),
    ("latency-drift", "warning", of(timeline=slowing(2.0)), "(+"),
    (
        "coordinated-omission",
        "warning",
        run(phase(STALL, service=quantiles(VALUES), parameters=OPEN, timeline=[]), loop="open"),
        "from when a request was due and",
    ),
    (
        "coordinated-omission",
        "warning",
        of(latency=quantiles([*VALUES[1:], 1.0]), timeline=[]),
        "At 500 requests/s some 500 more would have come meanwhile (10.0 % of all)",
    ),
    (
        "pace",
        "warning",
        run(
            phase(VALUES, service=quantiles(VALUES), parameters={"connections": 16, "rate": 600.0}),
            loop="open",
        ),
        "500 requests/s of 600 requests/s asked for (83.3 %)",
    ),
    ("load-generator", "warning", of(client_cpu_s=9.0), "90.0 % of one core"),
    ("load-generator", "warning", of(client_cpu_s=12.0), "1.20 of one core"),
    (
        "fairness",
        "warning",
        of(per_client=[4_000, 1_000]),
        "Jain's index is 0.735 over 2 clients: the least had 1,000 requests, the most 4,000.",
    ),
    ("few", "note", run(phase(latencies(999), timeline=[])), "999 latencies"),
    (
        "machine",
        "warning",
        run(environment=msgspec.structs.replace(run().environment, load_before=1.5)),
        "1.50 on 2 cores",
    ),
    ("interrupted", "note", run(interrupted=True), "1 phase and 10.0 s"),
    (
        "scaling",
        "warning",
        run(
            phase(latencies(8_000), name="one", parameters={"connections": 1}),
            phase(VALUES, name="two", parameters={"connections": 2}),
        ),
        "800 requests/s at best (one), 500 requests/s at the end (two).",
    ),
]


@pytest.mark.parametrize(("rule", "severity", "made", "evidence"), FIRES)
def test_a_rule_fires(rule: str, severity: str, made: Run, evidence: str) -> None:
    (one,) = bad(made, rule)
    assert one.severity == severity
    assert evidence in one.evidence
    assert one.threshold
    assert one.advice


@pytest.mark.parametrize("rule", sorted({rule for rule, *_ in FIRES}))
def test_a_run_in_which_nothing_stands_out(rule: str) -> None:
    calm = phase(VALUES, stage_means_s={"read": 40e-6, "queue": 10e-6, "handler": 100e-6})
    assert bad(run(calm), rule) == []


NEARLY: list[tuple[str, Run]] = [
    ("checks", of(checks=[Check("balance", ok=True)])),
    ("network-bound", of(stage_means_s={"handler": 120e-6})),
    ("network-bound", of(stage_means_s={})),
    ("saturated", of(server=use(cpu_s=8.4))),
    # As many connections as were asked for are no sign of anything.
    (
        "connection-reuse",
        run(
            phase(
                latencies(300), connections_opened=64, timeline=[], parameters={"connections": 64}
            )
        ),
    ),
    ("connection-reuse", run(phase(latencies(10), connections_opened=10, timeline=[]))),
    ("connection-reuse", of(connections_opened=0)),
    ("queueing", of(stage_means_s={"queue": 20e-6, "handler": 70e-6})),
    # Dispatching many at once: no shortage of handlers.
    ("queueing", of(stage_means_s={"queue": 50e-6, "handler": 20e-6})),
    ("gc", of(server=use(gc_pauses_s=[0.05, 0.04]))),
    ("gc", of(server=None)),
    ("tail", of(latency=quantiles([0.0] * 5_000), stage_means_s={})),
    ("memory-drift", of(timeline=growing(400 * MIB, MIB))),
    ("memory-drift", of(timeline=growing(40 * MIB, 0.1 * MIB))),
    ("memory-drift", of(timeline=growing(40 * MIB, MIB, count=8))),
    # It grew, and stopped growing.
    (
        "memory-drift",
        of(
            timeline=[
                *growing(40 * MIB, MIB)[:7],
                *(
                    msgspec.structs.replace(tick, server_rss_bytes=50 * MIB)
                    for tick in ticks(VALUES)[7:]
                ),
            ]
        ),
    ),
    ("fd-drift", of(server=use(fds_after=17), timeline=opening(10, 0))),
    ("fd-drift", of(server=None)),
    ("latency-drift", of(timeline=slowing(1.3))),
    ("latency-drift", of(timeline=slowing(3.0)[:8])),
    ("latency-drift", of(timeline=restless())),
    (
        "coordinated-omission",
        run(phase(VALUES, service=quantiles(VALUES), parameters=OPEN), loop="open"),
    ),
    ("coordinated-omission", of(latency=quantiles([*VALUES[1:], 0.005]), timeline=[])),
    (
        "coordinated-omission",
        run(phase([], requests=0, statuses={}, errors={"connect": 3}, timeline=[])),
    ),
    ("pace", run(phase(VALUES, service=quantiles(VALUES), parameters=OPEN), loop="open")),
    ("pace", of(parameters={"connections": 1, "rate": 600.0})),
    ("pace", run(phase(VALUES, parameters={"rate": True}), loop="open")),
    ("load-generator", of(client_cpu_s=8.4)),
    ("fairness", of(per_client=[2_700, 2_300])),
    ("few", run(phase(latencies(1_000), timeline=[]))),
    ("scaling", run(phase(VALUES, name="one"), phase(VALUES, name="two"))),
    (
        "scaling",
        run(
            phase(VALUES, name="one", parameters={"connections": 1}),
            phase(latencies(4_500), name="two", parameters={"connections": 2}),
        ),
    ),
]


@pytest.mark.parametrize(("rule", "made"), NEARLY)
def test_a_rule_is_silent_below_its_threshold(rule: str, made: Run) -> None:
    assert bad(made, rule) == []


def test_what_is_well_is_said_too() -> None:
    calm = run(phase(VALUES, per_client=[2_500, 2_500]))
    good = {one.rule for one in find(analyse(calm)) if one.severity == "good"}
    assert good == {"errors", "tail", "memory-drift", "fd-drift", "connection-reuse", "fairness"}


def test_the_worst_comes_first() -> None:
    made = of(errors={"reset": 1}, client_cpu_s=9.0)
    severities = [one.severity for one in find(analyse(made))]
    ranks = [("critical", "warning", "note", "good").index(one) for one in severities]
    assert ranks == sorted(ranks)
    assert {"critical", "warning", "good"} <= set(severities)


def test_the_same_in_several_phases_is_one_group() -> None:
    phases: list[Phase] = [phase(VALUES, name=name, client_cpu_s=9.0) for name in ("one", "two")]
    groups = grouped([one for one in find(analyse(run(*phases))) if one.rule == "load-generator"])
    assert [[where for where, _ in group.evidence] for group in groups] == [["one", "two"]]


def test_a_phase_ended_while_it_warmed_up_is_left_out() -> None:
    begun = phase(VALUES)
    nothing = phase([], name="two", requests=0, statuses={}, duration_s=0.0, timeline=[])
    made = analyse(run(begun, nothing, interrupted=True))
    assert [one.phase.name for one in made.phases] == ["steady"]
