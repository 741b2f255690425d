"""Batches of observations against counting them one by one."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.telemetry.histogram import Histogram

BOUNDS = (0.0, 0.5, 1.0, 2.5)
values = st.lists(st.sampled_from((*BOUNDS, 0.1, 0.75, 3.0)) | st.floats(0, 4))


@given(st.lists(values))
def test_batches_are_as_one_by_one(batches: list[list[float]]) -> None:
    histogram = Histogram(BOUNDS)
    buckets = [0] * (len(BOUNDS) + 1)
    for batch in batches:
        for value in batch:
            buckets[bisect_left(BOUNDS, value)] += 1
        histogram.observe(list(batch))
    assert histogram.cumulative() == tuple(sum(buckets[: end + 1]) for end in range(len(BOUNDS)))
    assert histogram.count == sum(buckets)
    assert histogram.sum == pytest.approx(sum(map(sum, batches)))


def test_one_at_a_bound_is_in_its_bucket() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe([1.0, 0.0, 3.0])
    histogram.observe([0.5, 0.5])
    assert (histogram.cumulative(), histogram.count, histogram.sum) == ((1, 3, 4, 4), 5, 5.0)
