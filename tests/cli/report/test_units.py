"""Every figure carries its unit, and none is rounded into something that it is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus_cli.report import units

TO_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (15e-9, "15.0 ns"),
        (263.5e-6, "264 µs"),
        (999.7e-6, "1.00 ms"),
        (1.234e-3, "1.23 ms"),
        (0.9999, "1.00 s"),
        (10.0, "10.0 s"),
        (119.0, "119 s"),
        (600.0, "10.0 min"),
        (21.5 * 3_600, "21.5 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@given(st.floats(1e-9, 1e8))
def test_a_duration_can_be_read_back(seconds: float) -> None:
    number, unit = units.duration(seconds).split(" ")
    read = float(number.replace(",", "")) * TO_SECONDS[unit]
    assert read == pytest.approx(seconds, rel=0.006)


@given(st.floats(1e-9, 1e8), st.floats(1e-9, 1e8))
def test_durations_keep_their_order(a: float, b: float) -> None:
    low, high = (
        float(number.replace(",", "")) * TO_SECONDS[unit]
        for number, unit in (units.duration(value).split(" ") for value in sorted((a, b)))
    )
    assert low <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1_023, "1,023 bytes"),
        (1_024, "1.00 KiB"),
        (1_024**2 - 1, "1.00 MiB"),
        (48 * 1_024**2, "48.0 MiB"),
        (5 * 1_024**5, "5,120 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (25_816, 25_816, "100 %"),
        (25_815, 25_816, "99.996 %"),
        (999_999_999, 1_000_000_000, "99.999 %"),
        (1, 1_000_000, "< 0.01 %"),
        (0, 10, "0 %"),
        (1, 0, "-"),
        (1, 3, "33.3 %"),
        (1, 300, "0.33 %"),
    ],
)
def test_what_is_not_all_is_not_100_percent(part: int, whole: int, text: str) -> None:
    assert units.share(part, whole) == text


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_only_all_is_all_and_only_nothing_nothing(part: int, whole: int) -> None:
    part = min(part, whole)
    text = units.share(part, whole)
    assert (text == "100 %") == (part == whole)
    assert (re.fullmatch(r"0(\.0*)? %", text) is not None) == (part == 0)


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0, "+0.0 %"), (0.5, "-50.0 %"), (1.25, "+25.0 %"), (4.0, "x 4.00")]
)
def test_changes(ratio: float, text: str) -> None:
    assert units.change(ratio) == text


def test_plurals() -> None:
    assert units.count(1, "latency", "latencies") == "1 latency"
    assert units.count(2_000, "latency", "latencies") == "2,000 latencies"
    assert units.count(2, "request") == "2 requests"
