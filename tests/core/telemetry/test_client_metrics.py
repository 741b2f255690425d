"""The client's series: their labels and their bounds."""

import pytest

from pipebus.telemetry.client_metrics import ClientMetrics, ClientSeries
from pipebus.telemetry.http_metrics import OTHER


def only(metrics: ClientMetrics) -> ClientSeries:
    [series] = metrics.all()
    return series


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("https://example.org:443", ("https", "example.org", "443")),
        ("http://[::1]:8000", ("http", "::1", "8000")),
        ("http+unix:///run/app.sock", ("http+unix", "/run/app.sock", "")),
        ("http+unix:///run/app:1", ("http+unix", "/run/app:1", "")),
    ],
)
def test_origins(origin: str, told: tuple[str, str, str]) -> None:
    assert ClientMetrics().origin(origin) == told


@pytest.mark.parametrize(
    ("status", "error", "error_type"),
    [(200, "", ""), (302, "", ""), (404, "", "404"), (0, "ConnectError", "ConnectError"),
     (200, "ReadTimeout", "ReadTimeout")],
)  # fmt: skip
def test_labels(status: int, error: str, error_type: str) -> None:
    metrics = ClientMetrics()
    metrics.ended("http://app:80", "GET", status, error, 0.25, 0.125)
    series = only(metrics)
    assert series.labels == ("GET", ("http", "app", "80"), status, error_type)
    assert (series.duration.count, series.duration.sum) == (1, 0.25)


def test_a_full_batch_is_folded_and_a_reader_misses_nothing() -> None:
    metrics = ClientMetrics()
    for _ in range(600):
        metrics.ended("http://app:80", "GET", 200, "", 0.5, 0.125)
    series = only(metrics)
    assert (series.duration.count, series.duration.sum, series.pending) == (600, 300.0, [])
    assert (metrics.waits.count, metrics.waits.sum) == (600, 75.0)


def test_origins_without_end() -> None:
    metrics = ClientMetrics(origins=2)
    for number in range(10):
        metrics.ended(f"http://host{number}:80", "GET", 200, "", 0.5, 0.125)
        metrics.ended(f"http://host{number}:80", f"M{number}", 200, "", 0.5, 0.125)
    counts = {
        (series.labels.method, series.labels.origin.address): series.duration.count
        for series in metrics.all()
    }
    assert counts == {
        ("GET", "host0"): 1, (OTHER, "host0"): 1,
        ("GET", "host1"): 1, (OTHER, "host1"): 1,
        ("GET", OTHER): 8, (OTHER, OTHER): 8,
    }  # fmt: skip


def test_statuses_without_end() -> None:
    metrics = ClientMetrics(limit=2)
    for status in range(200, 210):
        metrics.ended("http://app:80", "GET", status, "", 0.5, 0.125)
    counts = {series.labels: series.duration.count for series in metrics.all()}
    app, other = ("http", "app", "80"), ("http", OTHER, "")
    assert counts == {
        ("GET", app, 200, ""): 1, ("GET", app, 201, ""): 1, (OTHER, other, 0, ""): 8,
    }  # fmt: skip


def test_many_series_have_small_batches() -> None:
    metrics = ClientMetrics()
    for rounds in (100, 1):
        for number in range(900):
            for method in ("GET", "POST"):
                for _ in range(rounds):
                    metrics.ended(f"http://host{number}:80", method, 200, "", 0.5, 0.125)
    held = sum(len(series.pending) for series in metrics._table.values())
    assert held <= 65_536 * 2
    assert sum(series.duration.count for series in metrics.all()) == 1_800 * 101
