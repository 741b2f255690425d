"""The server's series: what a fold counts, and that nobody outside can make tables grow."""

import pytest

from pipebus.telemetry.http_metrics import (
    OTHER,
    Known,
    ServerLabels,
    ServerMetrics,
    ServerSeries,
)

GET = ("GET", 200, False, "")


def count(metrics: ServerMetrics, series: ServerSeries, *numbers: float) -> None:
    """Do what `count_request` does."""
    series.pending.extend(numbers)
    if len(series.pending) >= metrics.batch:
        metrics.fold(series)


def test_a_fold_counts_each_column() -> None:
    metrics = ServerMetrics()
    series = metrics.find(metrics.unrouted, "", GET)
    series.pending += [0.0, 0.25, 0.5, 1.0, 1.75, 10, 100]
    series.pending += [2.0, 0.0, 0.0, 0.5, 2.5, 0, 300]
    metrics.fold(series)
    assert {name: stage.sum for name, stage in metrics.stages.items()} == {
        "read": 2.0, "queue": 0.25, "handler": 0.5, "write": 1.5,
    }  # fmt: skip
    assert {stage.count for stage in metrics.stages.values()} == {2}
    assert (series.duration.sum, series.request_size.sum, series.response_size.sum) == (
        4.25,
        10,
        400,
    )
    assert series.pending == []


def test_a_full_batch_is_folded_and_a_reader_misses_nothing() -> None:
    metrics = ServerMetrics()
    series = metrics.find(metrics.unrouted, "", GET)
    for _ in range(600):
        count(metrics, series, 0.0, 0.125, 0.125, 0.25, 0.5, 0, 10)
    assert (series.duration.count, len(series.pending)) == (512, 88 * 7)
    assert list(metrics.all()) == [series]
    assert list(metrics.all()) == [series]
    assert (series.duration.count, series.pending) == (600, [])
    assert series.duration.sum == pytest.approx(300.0)
    assert metrics.stages["handler"].sum == pytest.approx(75.0)
    assert metrics.stages["read"].cumulative()[0] == 600


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
