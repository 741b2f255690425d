"""Nothing is said about a run that contradicts itself; what is wrong with it is."""

from typing import Any

import msgspec
import pytest

from pipebus_cli.bench.run import Phase, Quantiles, Run
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.checks import ReportError, violations
from tests.cli.report.runs import latencies, phase, quantiles, run, ticks, use

VALUES = latencies(2_000)
SERVICE = [value / 2 for value in VALUES]


def of(**changed: Any) -> Run:
    return run(phase(VALUES, **changed))


def distribution(**changed: Any) -> Quantiles:
    return msgspec.structs.replace(quantiles(VALUES), **changed)


def test_a_sound_run_has_no_violation() -> None:
    assert list(violations(of())) == []
    assert list(violations(of(latency=quantiles([]), requests=0, statuses={}, timeline=[]))) == []
    assert analyse(of()).attempts == 2_000


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (run(schema=2), "its schema is 2"),
        (run(loop="half"), "the loop is 'half'"),
        (msgspec.structs.replace(run(), phases=[]), "no phases"),
        (run(phase(VALUES), phase(VALUES)), "two phases have the same name"),
        (of(duration_s=0.0), "it took no time"),
        (of(duration_s=float("inf")), "below 0 or no number: duration_s"),
        (of(requests=-1), "below 0 or no number: requests"),
        (of(errors={"timeout": -1}), "'timeout'"),
        (of(stage_means_s={"read": -1e-6}), "stage_means_s read"),
        (of(server=use(gc_pauses_s=[-1.0])), "server.gc_pauses_s"),
        (of(latency=distribution(count=1_999)), "do not add up to its count"),
        (of(latency=distribution(min_s=2.0)), "minimum 2.00 s > maximum"),
        (of(latency=distribution(max_s=0.1)), "in none of its buckets"),
        (of(latency=distribution(max_s=1e300)), "its maximum is 1e+300 s"),
        # The seed's own fault: a mean of 20.3 ms above a maximum of 8.3 ms.
        (of(latency=distribution(sum_s=2_000 * 20.3e-3)), "the mean 20.3 ms is not between"),
        (of(latency=distribution(sum_s=2_000 * 700e-6)), "does not fit its buckets"),
        (of(stages={"read": distribution(sum_s=0.0)}), "stage read: the mean 0 s"),
        (of(requests=2_001, statuses={"200": 2_001}), "2,000 latencies for 2,001 requests"),
        (of(requests=1_900, timeline=[]), "2,000 latencies for 1,900 requests and 0 errors"),
        (of(statuses={"200": 1}), "1 statuses for 2,000 requests"),
        (of(per_client=[1_000, 999]), "1,999 requests by client"),
        (of(service=quantiles(SERVICE[1:])), "1,999 service times for 2,000 latencies"),
        (of(service=quantiles([2 * value for value in VALUES])), "service times exceed latencies"),
        (of(stage_means_s={"handler": 1.0}), "the stages of the server take 1.00 s, more than"),
        (of(client_cpu_s=30.0), "the client took 30.0 s of CPU in 10.0 s on 2 cores"),
        (of(server=use(rss_peak_bytes=1)), "memory at its peak"),
        (of(server=use(gc_pauses_s=[20.0])), "GC pauses are longer than the phase"),
        (of(timeline=ticks(VALUES + VALUES)), "more requests than the phase"),
        (of(timeline=ticks(VALUES)[::-1]), "goes backwards"),
        (of(timeline=ticks(VALUES, 20.0)), "the timeline ends at 20.0 s, the phase at 10.0 s"),
        (
            of(timeline=[msgspec.structs.replace(ticks(VALUES)[0], p50_s=2.0)]),
            "p50 2.00 s > p99",
        ),
        (
            of(timeline=[msgspec.structs.replace(ticks(VALUES)[0], errors=1)]),
            "more errors than the phase",
        ),
    ],
)
def test_what_cannot_be_is_named(broken: Run, told: str) -> None:
    with pytest.raises(ReportError) as caught:
        analyse(broken)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dropped_unit_is_found() -> None:
    """Milliseconds written where seconds belong: a connection cannot have been busy for so long."""
    wrong = [value * 1_000 for value in VALUES]
    with pytest.raises(ReportError, match=r"1 connections had only .* are these seconds"):
        analyse(run(phase(wrong, timeline=[])))


def test_a_request_that_outlasts_its_phase_is_found() -> None:
    long = [*VALUES, 100.0]
    with pytest.raises(ReportError, match=r"a request took 100 s in a phase of 10\.0 s"):
        analyse(run(phase(long, parameters={"connections": 64}, timeline=[])))


def test_an_open_loop_may_owe_more_than_there_was_time() -> None:
    """A latency counts from when a request was due: many may wait at once, sent by nobody."""
    due = [value + 5.0 for value in VALUES]
    analyse(run(phase(due, service=quantiles(VALUES), timeline=[]), loop="open"))


def test_many_faults_are_one_line() -> None:
    broken: list[Phase] = [phase(VALUES, name=f"{index}", requests=-1) for index in range(5)]
    with pytest.raises(ReportError, match=r"; and 2 more$"):
        analyse(run(*broken))


def test_a_machine_without_cores() -> None:
    environment = msgspec.structs.replace(run().environment, cores=0)
    assert "it ran on 0 cores" in list(violations(run(environment=environment)))
