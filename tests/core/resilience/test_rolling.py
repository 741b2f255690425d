"""Counts of the last ten tenths of a window."""

from hypothesis import given
from hypothesis import strategies as st

from pipebus.resilience.rolling import RollingCounts


def test_a_tenth_at_a_time_is_forgotten() -> None:
    counts = RollingCounts(10.0)
    for second in range(1_000, 1_010):
        counts.roll(second)
        counts.add(marked=second % 2 == 0)
    assert (counts.all, counts.marked) == (10, 5)
    counts.roll(1_010.5)
    assert (counts.all, counts.marked) == (9, 4)
    counts.roll(1_011.0)
    assert (counts.all, counts.marked) == (8, 4)
    counts.roll(900.0)  # a clock that goes back
    assert (counts.all, counts.marked) == (8, 4)
    counts.add(marked=True)
    counts.roll(1_020.0)
    assert (counts.all, counts.marked) == (1, 1)  # it was counted at 1011
    counts.roll(1_021.0)
    assert (counts.all, counts.marked) == (0, 0)


def test_a_long_pause_forgets_all() -> None:
    counts = RollingCounts(10.0)
    counts.add(marked=True)
    counts.roll(10.0)
    assert (counts.all, counts.marked) == (0, 0)
    counts.add(marked=True)
    counts.clear()
    assert (counts.all, counts.marked) == (0, 0)


@given(
    steps=st.lists(st.tuples(st.floats(0, 6), st.booleans()), max_size=80),
    window=st.sampled_from([1.0, 10.0]),
)
def test_between_nine_tenths_and_all_of_the_window(
    steps: list[tuple[float, bool]], window: float
) -> None:
    counts, now = RollingCounts(window), 1_000.0
    seen: list[tuple[float, bool]] = []
    for pause, marked in steps:
        now += pause
        counts.roll(now)
        counts.add(marked)
        seen.append((now, marked))
        surely = [m for at, m in seen if now - at < window * 0.9 - 1e-6]
        perhaps = [m for at, m in seen if now - at <= window + 1e-6]
        assert len(surely) <= counts.all <= len(perhaps)
        assert sum(surely) <= counts.marked <= sum(perhaps)
