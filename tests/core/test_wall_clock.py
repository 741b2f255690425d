import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.wall_clock import WallClock


def test_before_the_first_set_the_epoch_is_zero() -> None:
    clock = WallClock()
    assert clock.time(5.0) == 5.0
    assert clock.http_date(0.0) == b"Thu, 01 Jan 1970 00:00:00 GMT"


def test_wall_time_follows_the_monotonic_clock() -> None:
    clock = WallClock()
    clock.set(1_700_000_000.25, 100.0)
    assert clock.time(100.0) == 1_700_000_000.25
    assert clock.time(160.5) == 1_700_000_060.75


def test_the_date_of_rfc_9110_section_5_6_7() -> None:
    clock = WallClock()
    clock.set(784_111_777.0, 0.0)
    assert clock.http_date(0.0) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_the_date_is_made_once_a_second() -> None:
    clock = WallClock()
    clock.set(1_000.5, 0.0)
    first = clock.http_date(0.0)
    assert clock.http_date(0.49) is first
    assert clock.http_date(0.5) == b"Thu, 01 Jan 1970 00:16:41 GMT"


def test_a_set_takes_effect_at_once_also_backwards() -> None:
    clock = WallClock()
    clock.set(1_000.0, 0.0)
    clock.http_date(0.0)
    clock.set(10.0, 0.0)
    assert clock.http_date(0.0) == b"Thu, 01 Jan 1970 00:00:10 GMT"


def test_an_earlier_now_gives_the_earlier_date() -> None:
    clock = WallClock()
    assert clock.http_date(50.0).endswith(b"00:00:50 GMT")
    assert clock.http_date(10.0).endswith(b"00:00:10 GMT")


@pytest.mark.parametrize("day", range(400))
def test_every_day_and_month_has_its_name(day: int) -> None:
    clock = WallClock()
    clock.set(1_700_000_000.0 + day * 86_400, 0.0)
    expected = email.utils.formatdate(1_700_000_000 + day * 86_400, usegmt=True)
    assert clock.http_date(0.0) == expected.encode()


@given(
    st.lists(
        st.tuples(st.integers(0, 4_000_000_000), st.lists(st.integers(0, 40_000), max_size=6)),
        max_size=5,
    )
)
def test_the_memo_never_shows(sets: list[tuple[int, list[int]]]) -> None:
    clock = WallClock()
    for wall, ticks in sets:
        clock.set(float(wall), 0.0)
        for tick in ticks:
            now = tick / 8  # exact in binary, so that no rounding hides a wrong second
            expected = email.utils.formatdate(wall + tick // 8, usegmt=True)
            assert clock.http_date(now) == expected.encode()
