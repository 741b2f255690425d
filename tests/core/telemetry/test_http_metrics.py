"""The server's series: what a fold makes of edges, and that nobody outside can make tables grow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.telemetry.http_metrics import (
    OTHER,
    STAGES,
    Known,
    ServerLabels,
    ServerMetrics,
    ServerSeries,
)
from pipebus.telemetry.stages import measure

NOT_REACHED = -1.0
GET = ("GET", 200, False, "")

steps = st.sampled_from((0.0, 1e-6, 3e-4, 0.02, 1.5, 30.0))


@st.composite
def requests(draw: st.DrawFn) -> tuple[float, ...]:
    edges = [draw(st.floats(0, 100))]
    for _ in range(4):
        edges.append(edges[-1] + draw(steps))
    reached = draw(st.sampled_from(("all", "dispatched", "nothing")))
    if reached != "all":
        edges[2] = NOT_REACHED
    if reached == "nothing":
        edges[1] = NOT_REACHED
    return (*edges, draw(st.integers(0, 5_000)), draw(st.integers(0, 5_000)))


def count(metrics: ServerMetrics, series: ServerSeries, *numbers: float) -> None:
    """Do what `Answers._end_request` does."""
    series.pending.extend(numbers)
    if len(series.pending) >= metrics.batch:
        metrics.fold(series)


@given(st.lists(st.lists(requests(), min_size=1), min_size=1))
def test_a_fold_measures_as_measure_does(batches: list[list[tuple[float, ...]]]) -> None:
    metrics = ServerMetrics()
    series = metrics.find(metrics.unrouted, "", GET)
    expected = dict.fromkeys(STAGES, 0.0)
    for batch in batches:
        for numbers in batch:
            stages = measure(*numbers[:5])
            for name in STAGES:
                expected[name] += getattr(stages, name)
            series.pending.extend(numbers)
        metrics.fold(series)
    every = [numbers for batch in batches for numbers in batch]
    for name, histogram in metrics.stages.items():
        assert histogram.count == len(every)
        assert histogram.sum == pytest.approx(expected[name], abs=1e-9)
    assert series.duration.count == len(every)
    assert series.duration.sum == pytest.approx(sum(expected.values()), abs=1e-9)
    assert series.request_size.sum == sum(numbers[5] for numbers in every)
    assert series.response_size.sum == sum(numbers[6] for numbers in every)


def test_edges_that_were_not_reached() -> None:
    metrics = ServerMetrics()
    series = metrics.find(metrics.unrouted, "", GET)
    series.pending += [1.0, 1.25, 1.5, 1.75, 2.0, 0, 0]
    series.pending += [1.0, 1.25, NOT_REACHED, 1.75, 2.0, 0, 0]
    series.pending += [1.0, NOT_REACHED, NOT_REACHED, 1.75, 2.0, 0, 0]
    metrics.fold(series)
    sums = {name: histogram.sum for name, histogram in metrics.stages.items()}
    assert sums == {"read": 1.25, "queue": 0.75, "handler": 0.25, "write": 0.75}


def test_a_full_batch_is_folded_and_a_reader_misses_nothing() -> None:
    metrics = ServerMetrics()
    series = metrics.find(metrics.unrouted, "", GET)
    for _ in range(600):
        count(metrics, series, 1.0, 1.0, 1.1, 1.25, 1.5, 0, 10)
    assert (series.duration.count, len(series.pending)) == (512, 88 * 7)
    assert list(metrics.all()) == [series]
    assert list(metrics.all()) == [series]
    assert (series.duration.count, series.pending) == (600, [])
    assert series.duration.sum == pytest.approx(300.0)
    assert metrics.stages["handler"].sum == pytest.approx(90.0)
    assert metrics.stages["read"].counts[0] == 600


@pytest.mark.parametrize(
    ("key", "labels"),
    [
        (GET, ("GET", "/x", 200, "http", "")),
        (("PATCH", 404, True, ""), ("PATCH", "/x", 404, "https", "")),
        (("BREW", 503, False, ""), (OTHER, "/x", 503, "http", "503")),
        (("POST", 200, False, "disconnect"), ("POST", "/x", 200, "http", "disconnect")),
        (("POST", 0, False, "shutdown"), ("POST", "/x", 0, "http", "shutdown")),
    ],
)
def test_labels(key: tuple[str, int, bool, str], labels: tuple[str, str, int, str, str]) -> None:
    series = ServerMetrics().find({}, "/x", key)
    assert series.labels == ServerLabels(*labels)


def test_a_known_series_is_found_again() -> None:
    metrics = ServerMetrics()
    known: Known = {}
    series = metrics.find(known, "/x", GET)
    assert known == {GET: series}
    assert metrics.find({}, "/x", GET) is series
    assert metrics.find(known, "/y", GET) is not series


def test_invented_methods_make_nothing_grow() -> None:
    metrics = ServerMetrics()
    found = {id(metrics.find(metrics.unrouted, "", (f"M{n}", 404, False, ""))) for n in range(100)}
    assert len(found) == 1
    assert metrics.unrouted == {}


def test_the_table_is_bounded() -> None:
    metrics = ServerMetrics(limit=2)
    known: Known = {}
    for status in range(200, 210):
        count(metrics, metrics.find(known, "/x", ("GET", status, False, "")), *[1.0] * 5, 0, 0)
        count(metrics, metrics.find(known, "/x", ("GET", status, True, "")), *[1.0] * 5, 0, 0)
    counts = {series.labels: series.duration.count for series in metrics.all()}
    assert counts == {
        ("GET", "/x", 200, "http", ""): 1,
        ("GET", "/x", 200, "https", ""): 1,
        (OTHER, OTHER, 0, "http", ""): 9,
        (OTHER, OTHER, 0, "https", ""): 9,
    }
    assert len(known) == 2


def test_many_series_have_small_batches() -> None:
    metrics = ServerMetrics()
    whole = metrics.batch
    for number in range(2_000):
        metrics.find({}, f"/{number}", GET)
    assert metrics.batch < whole
    # Together they hold at most about this many requests that were not counted yet.
    assert 2_000 * metrics.batch <= 64_000 * 7
