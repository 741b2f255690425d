"""`Retry-After`, in seconds or as a date."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.http.retry_after import http_date, retry_after
from pipebus.wall_clock import WallClock

NOW = 784111777.0
"""1994-11-06 08:49:37, the moment of RFC 9110 section 5.6.7."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b"007", 7.0),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        (b"Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        (b"Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        (b"Sun Nov  6 08:49:47 1994", 10.0),
        (b"Wed Nov 16 08:49:37 1994", 864_000.0),
        (b"Sat, 05 Nov 1994 08:49:37 GMT", 0.0),
        (
            b"Sat, 31 Dec 1994 23:59:60 GMT",
            4806622.0,
        ),  # a leap second counts as the one before
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"99999999999", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 06 nov 1994 08:49:37 GMT", None),
        (b"Sun, 31 Feb 1994 08:49:37 GMT", None),
        (b"Sun, 06 Nov 1994 25:49:37 GMT", None),
        (b"Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT\xb2".encode("latin-1"), None),
        (b"\xb2", None),
    ],
)
def test_in_how_many_seconds(value: bytes, seconds: float | None) -> None:
    assert retry_after([(b"date", b"x"), (b"retry-after", value)], NOW) == seconds


def test_none_and_two_say_nothing() -> None:
    assert retry_after([], NOW) is None
    assert retry_after([(b"retry-after", b"1"), (b"retry-after", b"2")], NOW) is None


@pytest.mark.parametrize(
    ("year", "full"), [("94", 1994), ("44", 2044), ("45", 1945), ("00", 2000), ("99", 1999)]
)
def test_a_year_of_two_digits_is_not_more_than_50_years_ahead(year: str, full: int) -> None:
    short = http_date(f"Sunday, 06-Nov-{year} 08:49:37 GMT", NOW)
    assert short == http_date(f"Sun, 06 Nov {full} 08:49:37 GMT", NOW)


@given(st.integers(0, 4_000_000_000))
def test_what_our_own_clock_writes_is_read(at: int) -> None:
    clock = WallClock()
    clock.set(float(at), 0.0)
    assert http_date(clock.http_date(0.0).decode(), 0.0) == at
