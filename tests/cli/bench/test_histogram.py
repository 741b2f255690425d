"""The histogram against exact quantiles, and against hdrhistogram."""

import random
from collections.abc import Callable
from itertools import pairwise
from math import ceil

import msgspec
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped] # it has no types
from hypothesis import given
from hypothesis import strategies as st

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.run import Quantiles

PARTS = (0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0)
HALF_NS = 0.5e-9

durations = st.lists(st.integers(0, 10**13).map(lambda ns: ns / 1e9), min_size=1, max_size=200)


def exact(ordered: list[float], q: float) -> float:
    return ordered[max(1, ceil(round(q * len(ordered), 6))) - 1]


def assert_within_bound(histogram: Histogram, values: list[float]) -> None:
    bound = 2.0 ** -(histogram.digits + 1)
    ordered = sorted(values)
    for q, found in zip(PARTS, histogram.quantiles(PARTS), strict=True):
        right = exact(ordered, q)
        assert abs(found - right) <= bound * right + HALF_NS, (q, found, right)


def filled(values: list[float], digits: int = 7) -> Histogram:
    histogram = Histogram(digits)
    histogram.record_many(values)
    return histogram


@given(durations, st.integers(0, 12))
def test_quantiles_are_within_the_stated_bound(values: list[float], digits: int) -> None:
    histogram = filled(values, digits)
    assert_within_bound(histogram, values)
    assert histogram.min_s == pytest.approx(min(values), abs=HALF_NS)
    assert histogram.max_s == pytest.approx(max(values), abs=HALF_NS)
    assert histogram.mean_s == pytest.approx(sum(values) / len(values), abs=1e-9)


@given(durations, durations)
def test_merging_is_recording_all(some: list[float], others: list[float]) -> None:
    merged = filled(some)
    merged.merge(filled(others))
    merged.merge(Histogram())
    assert merged.to_quantiles() == filled(some + others).to_quantiles()


@given(durations)
def test_it_is_kept_as_json(values: list[float]) -> None:
    histogram = filled(values)
    text = msgspec.json.encode(histogram.to_quantiles())
    again = Histogram.from_quantiles(msgspec.json.decode(text, type=Quantiles))
    assert again.quantiles(PARTS) == histogram.quantiles(PARTS)
    assert again.to_quantiles() == histogram.to_quantiles()
    assert list(again.buckets()) == list(histogram.buckets())


@given(durations)
def test_buckets_follow_each_other_and_hold_what_is_in_them(values: list[float]) -> None:
    buckets = list(filled(values).buckets())
    assert sum(bucket.count for bucket in buckets) == len(values)
    for before, after in pairwise(buckets):
        assert before.high_s <= after.low_s
    for bucket in buckets:
        inside = [v for v in values if bucket.low_s <= int(v * 1e9 + 0.5) / 1e9 < bucket.high_s]
        assert len(inside) == bucket.count


MILLION = 1_000_000
SHAPES: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda dice: dice.uniform(1e-6, 1.0),
    "exponential": lambda dice: dice.expovariate(1000),
    "log-normal": lambda dice: dice.lognormvariate(-8, 1.5),
    "Pareto": lambda dice: dice.paretovariate(1.2) * 1e-4,
    "two humps": lambda dice: (
        dice.gauss(1e-3, 5e-5) if dice.random() < 0.9 else dice.gauss(0.2, 0.01)
    ),
    "one value": lambda dice: 0.000123456,
}


@pytest.mark.untraced
@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_of_a_shape(shape: str) -> None:
    dice = random.Random(1)
    draw = SHAPES[shape]
    values = [draw(dice) for _ in range(MILLION)]
    histogram = filled(values)
    assert histogram.count == MILLION
    assert_within_bound(histogram, values)


@pytest.mark.untraced
def test_hdrhistogram_finds_the_same() -> None:
    # Three significant digits of theirs are 0.1 %; both bounds add up.
    dice = random.Random(2)
    values = [dice.lognormvariate(-8, 1.5) for _ in range(100_000)]
    theirs = HdrHistogram(1, 3_600_000_000_000, 3)
    for value in values:
        theirs.record_value(int(value * 1e9 + 0.5))
    ours = filled(values)
    for q in (0.25, 0.5, 0.75, 0.9, 0.99, 0.999):
        other = theirs.get_value_at_percentile(q * 100) / 1e9
        assert ours.quantile(q) == pytest.approx(other, rel=2**-8 + 0.001)


def test_an_empty_one() -> None:
    histogram = Histogram()
    histogram.record_many([])
    assert (histogram.count, histogram.min_s, histogram.max_s, histogram.mean_s) == (0, 0, 0, 0)
    assert list(histogram.buckets()) == []
    assert Histogram.from_quantiles(histogram.to_quantiles()).count == 0
    with pytest.raises(ValueError, match="empty"):
        histogram.quantile(0.5)


def test_small_values_are_exact_and_ranks_are_not_rounded_up() -> None:
    histogram = filled([n / 1e9 for n in range(1, 101)])
    assert histogram.quantile(0.07) == 7e-9
    assert histogram.quantile(0.071) == 8e-9


@pytest.mark.parametrize("digits", [-1, 21])
def test_digits_have_bounds(digits: int) -> None:
    with pytest.raises(ValueError, match="digits must be 0 to 20"):
        Histogram(digits)


def test_what_is_no_duration_is_refused_whole() -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="negative"):
        histogram.record_many([1.0, -1.0])
    assert histogram.count == 0
    histogram.record(1.0)
    for q in (-0.1, 1.1):
        with pytest.raises(ValueError, match="of 0 to 1"):
            histogram.quantile(q)


def test_other_buckets_are_not_merged() -> None:
    with pytest.raises(ValueError, match="digits"):
        Histogram(7).merge(Histogram(8))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"counts": {"-1": 2}},
        {"counts": {"5": 0, "6": 2}},
        {"min_s": 2.0},
        {"max_s": 9.0},
    ],
)
def test_contradictions_are_refused(change: dict[str, object]) -> None:
    kept = msgspec.structs.replace(filled([1.0, 1.0]).to_quantiles(), **change)
    with pytest.raises(ValueError, match="of a histogram"):
        Histogram.from_quantiles(kept)
