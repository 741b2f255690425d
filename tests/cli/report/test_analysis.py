"""What a report computes holds together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus_cli.report.analysis import NOT_SENT, OUTSIDE, analyse, jain
from tests.cli.report.runs import STAGES, latencies, phase, quantiles, run


def test_the_parts_of_a_request_add_up_and_the_rest_is_named() -> None:
    breakdown = analyse(run()).phases[0].breakdown
    assert breakdown is not None
    assert [part.name for part in breakdown.parts] == ["read", "queue", "handler", "write", OUTSIDE]
    assert sum(part.seconds for part in breakdown.parts) == pytest.approx(breakdown.whole_s)
    assert sum(part.share for part in breakdown.parts) == pytest.approx(1.0)
    assert breakdown.server_s == pytest.approx(50e-6)
    assert breakdown.whole_s == analyse(run()).phases[0].latency.mean_s


def test_an_open_loop_has_time_before_the_request_is_sent() -> None:
    service = latencies(5_000)
    late = phase([value + 0.01 for value in service], service=quantiles(service))
    breakdown = analyse(run(late, loop="open")).phases[0].breakdown
    assert breakdown is not None
    assert breakdown.parts[0].name == NOT_SENT
    assert breakdown.seconds(NOT_SENT) == pytest.approx(0.01, rel=1e-6)
    assert sum(part.seconds for part in breakdown.parts) == pytest.approx(breakdown.whole_s)


@given(
    st.dictionaries(st.sampled_from(list(STAGES)), st.floats(0.0, 80e-6), min_size=1),
    st.floats(330e-6, 1.0),
)
def test_parts_add_up_whatever_they_are(stages: dict[str, float], each: float) -> None:
    one = phase([each] * 10, stage_means_s=stages, parameters={}, timeline=[])
    breakdown = analyse(run(one)).phases[0].breakdown
    assert breakdown is not None
    assert sum(part.seconds for part in breakdown.parts) == pytest.approx(breakdown.whole_s)
    assert all(part.seconds >= 0.0 for part in breakdown.parts)


def test_clocks_that_differ_a_little_are_scaled_to_the_whole() -> None:
    one = phase([100e-6] * 10, stage_means_s={"handler": 101e-6}, timeline=[])
    breakdown = analyse(run(one)).phases[0].breakdown
    assert breakdown is not None
    assert breakdown.seconds("handler") == pytest.approx(breakdown.whole_s)
    assert breakdown.seconds(OUTSIDE) == 0.0


def test_stages_of_requests_that_failed_are_not_mixed_in() -> None:
    """The server goes on with what the client gave up on: its means are of other requests."""
    one = phase(latencies(100), stage_means_s={"handler": 1.0}, errors={"timeout": 5}, timeline=[])
    found = analyse(run(one)).phases[0]
    assert found.breakdown is None
    assert "requests that failed" in found.no_breakdown


def test_a_clock_that_is_read_late_is_said() -> None:
    one = phase([100e-6] * 10, stage_means_s={"handler": 200e-6}, timeline=[])
    found = analyse(run(one)).phases[0]
    assert found.breakdown is None
    assert "stages take 200 µs, more than the 100 µs" in found.no_breakdown
    assert "reads its clock too late" in found.no_breakdown


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"stage_means_s": {}}, "did not tell"),
        (
            {"latency": quantiles([]), "requests": 0, "statuses": {}, "timeline": []},
            "No request has a latency",
        ),
    ],
)
def test_without_stages_there_is_a_reason(changed: dict[str, Any], why: str) -> None:
    found = analyse(run(phase(**changed))).phases[0]
    assert found.breakdown is None
    assert why in found.no_breakdown


def test_stages_as_histograms_come_before_means() -> None:
    one = phase(stages={"handler": quantiles([10e-6, 30e-6])}, stage_means_s={"handler": 1e-6})
    breakdown = analyse(run(one)).phases[0].breakdown
    assert breakdown is not None
    assert breakdown.seconds("handler") == pytest.approx(20e-6)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, [0.5, 1.0]),
        (40, [0.5, 0.75, 1.0]),
        (1_000, [0.5, 0.75, 0.9, 0.99, 1.0]),
        (100_000, [0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0]),
    ],
)
def test_a_percentile_needs_ten_requests_beyond_it(count: int, told: list[float]) -> None:
    one = phase(latencies(count), timeline=[], parameters={})
    assert [level.part for level in analyse(run(one)).phases[0].levels] == told


def test_levels_rise_to_the_maximum() -> None:
    found = analyse(run()).phases[0]
    seconds = [level.seconds for level in found.levels]
    assert seconds == sorted(seconds)
    assert seconds[-1] == found.latency.max_s


@pytest.mark.parametrize(
    ("shares", "index"),
    [([5, 5, 5], 1.0), ([9, 0, 0], 1 / 3), ([1], None), ([], None), ([0, 0], None)],
)
def test_jains_index(shares: list[int], index: float | None) -> None:
    found = jain(shares)
    assert found == (None if index is None else pytest.approx(index))


def test_rates_and_cpu_are_of_the_phase() -> None:
    one = phase(latencies(1_000), errors={"reset": 1_000}, statuses={"200": 1_000})
    found = analyse(run(one)).phases[0]
    assert found.per_second == 100.0
    assert found.server_cpu_per_request_s == pytest.approx(2.1 / 2_000)
    assert found.client_cpu_per_request_s == pytest.approx(1.9 / 2_000)
