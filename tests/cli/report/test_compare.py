"""Two runs differ only where the noise does not explain it."""

from random import Random
from typing import Any

import msgspec
import pytest

from pipebus_cli.bench.run import Phase
from pipebus_cli.report.analysis import analyse
from pipebus_cli.report.checks import ReportError
from pipebus_cli.report.compare import compare, ratio_interval
from tests.cli.report.runs import latencies, phase, run, ticks


def series(random: Random, count: int, middle: float, noise: float, alike: float) -> list[float]:
    """Return figures of ticks that resemble the one before by `alike`."""
    made, state = [], random.gauss(0.0, 1.0)
    for _ in range(count):
        made.append(middle * max(0.01, 1 + noise * state))
        state = alike * state + (1 - alike**2) ** 0.5 * random.gauss(0.0, 1.0)
    return made


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("count", "noise", "alike"), [(10, 0.05, 0.0), (20, 0.2, 0.0), (60, 0.1, 0.5)]
)
def test_the_same_thing_twice_seldom_differs(count: int, noise: float, alike: float) -> None:
    random = Random(7)
    wrong = 0
    for _ in range(400):
        one, other = (series(random, count, 1.0, noise, alike) for _ in range(2))
        interval = ratio_interval(one, other)
        assert interval is not None
        wrong += not interval.low <= 1.0 <= interval.high
    assert wrong <= 20, "1 % is promised for independent ticks, a few more where they are alike"


@pytest.mark.untraced
@pytest.mark.parametrize(("count", "noise"), [(10, 0.05), (20, 0.1), (60, 0.2)])
def test_a_fifth_more_is_seen(count: int, noise: float) -> None:
    random = Random(8)
    seen = 0
    for _ in range(100):
        interval = ratio_interval(
            series(random, count, 1.2, noise, 0.0), series(random, count, 1.0, noise, 0.0)
        )
        assert interval is not None
        seen += interval.low > 1.0
    assert seen >= 90


def test_intervals_of_what_does_not_vary() -> None:
    interval = ratio_interval([2.0] * 8, [1.0] * 8)
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx([2.0, 2.0])
    assert ratio_interval([1.0] * 7, [1.0] * 8) is None
    assert ratio_interval([1.0] * 8, [0.0] * 8) is None


def steady(factor: float, seed: int, **changed: Any) -> Phase:
    values = latencies(20_000, middle=360e-6 * factor, seed=seed)
    return phase(values, **changed)


def verdicts(this: Phase, other: Phase) -> dict[str, str]:
    found = compare(analyse(run(this)), analyse(run(other)))
    return {one.name: one.verdict for one in found.differences}


def test_no_difference_where_there_is_none() -> None:
    assert verdicts(steady(1.0, 1), steady(1.0, 2)) == dict.fromkeys(
        ("Throughput", "p50", "p99"), "no difference"
    )


def test_slower_is_worse_and_faster_is_better() -> None:
    slow, fast = steady(1.1, 1), steady(1.0, 2)
    assert verdicts(slow, fast) == {"Throughput": "no difference", "p50": "worse", "p99": "worse"}
    assert verdicts(fast, slow) == {"Throughput": "no difference", "p50": "better", "p99": "better"}


def test_more_requests_are_better() -> None:
    more, fewer = phase(latencies(20_000)), phase(latencies(16_000))
    assert verdicts(more, fewer)["Throughput"] == "better"
    assert verdicts(fewer, more)["Throughput"] == "worse"


def test_what_is_certain_but_small_is_no_difference() -> None:
    """Two per cent over twenty quiet ticks are no chance, and still within what a rerun may do."""
    small, base = steady(1.02, 1), steady(1.0, 1)
    found = compare(analyse(run(small)), analyse(run(base)))
    p50 = next(one for one in found.differences if one.name == "p50")
    assert p50.interval is not None
    assert p50.interval.low > 1.0
    assert p50.verdict == "no difference"


def test_a_noisy_run_says_neither_yes_nor_no() -> None:
    random = Random(9)
    values = latencies(20_000)
    noisy = [
        msgspec.structs.replace(tick, p50_s=300e-6 * random.choice((1, 3)), p99_s=1.0)
        for tick in ticks(values)
    ]
    assert verdicts(phase(values, timeline=noisy), steady(1.0, 2))["p50"] == "too noisy"


def test_too_short_a_timeline_decides_nothing() -> None:
    values = latencies(20_000)
    short = phase(values, timeline=ticks(values, count=7))
    assert set(verdicts(short, steady(1.3, 1)).values()) == {"too short"}


def test_a_long_timeline_is_summed_up() -> None:
    values = latencies(20_000)
    assert verdicts(phase(values, timeline=ticks(values, count=1_000)), steady(1.0, 2)) == (
        dict.fromkeys(("Throughput", "p50", "p99"), "no difference")
    )


def test_without_latencies_there_is_no_ratio() -> None:
    dead = phase([], requests=0, statuses={}, errors={"connect": 9}, timeline=[])
    found = compare(analyse(run(steady(1.0, 1))), analyse(run(dead)))
    assert [(one.other, one.ratio, one.verdict) for one in found.differences] == [
        ("0 requests/s", None, "too short"),
        ("-", None, "too short"),
        ("-", None, "too short"),
    ]


def test_phases_are_matched_by_name_and_the_others_named() -> None:
    this = run(steady(1.0, 1, name="a"), steady(1.0, 1, name="b"))
    other = run(steady(1.0, 1, name="b"), steady(1.0, 1, name="c"))
    found = compare(analyse(this), analyse(other))
    assert {one.phase for one in found.differences} == {"b"}
    assert (found.only_this, found.only_other) == (("a",), ("c",))


def test_runs_with_nothing_in_common() -> None:
    with pytest.raises(ReportError, match="this run has 'a', the other has 'b'"):
        compare(analyse(run(steady(1.0, 1, name="a"))), analyse(run(steady(1.0, 1, name="b"))))


def test_what_else_differs_is_told() -> None:
    environment = msgspec.structs.replace(run().environment, python="3.13.0", versions={})
    other = run(environment=environment, options={"connections": 2})
    assert compare(analyse(run()), analyse(other)).settings == (
        ("Python", "3.13.0", "3.11.7"),
        ("version of h11", "-", "0.16.0"),
        ("version of httptools", "-", "0.9.0"),
        ("option connections", "2", "1"),
        ("option duration_s", "-", "10.0"),
    )
