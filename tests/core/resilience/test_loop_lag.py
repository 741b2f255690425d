"""How late the loop is."""

from hypothesis import given
from hypothesis import strategies as st

from pipebus.resilience.loop_lag import WINDOW, LoopLag


def test_nothing_is_known_before_anything_was_said() -> None:
    assert LoopLag().lag(1_000.0) == 0.0


def test_what_a_sweep_comes_to_later_has_waited_since_it_began() -> None:
    lag = LoopLag()
    lag.polled(10.0)
    assert [lag.lag(10.0), lag.lag(10.5)] == [0.0, 0.5]
    lag.polled(11.0)
    assert [lag.lag(11.0), lag.lag(11.25), lag.lag(10.5)] == [0.0, 0.25, 0.0]


def test_one_late_timer_is_a_burst_and_many_are_the_rule() -> None:
    lag = LoopLag()
    lag.late(0.5, 1.0)
    lag.late(0.5, 1.01)
    assert lag.lag(1.01) == 0.0
    lag.late(0.25, 1.02)
    assert lag.lag(1.02) == 0.25  # the least of them
    lag.polled(1.02)
    assert lag.lag(1.5) == 0.48  # in a sweep, and the timers are too long ago


def test_one_timer_in_time_says_that_it_is_over() -> None:
    lag = LoopLag()
    for at in (1.0, 1.01, 1.02):
        lag.late(0.5, at)
    lag.late(0.0, 1.03)
    assert lag.lag(1.03) == 0.0


def test_what_is_long_ago_is_forgotten() -> None:
    lag = LoopLag()
    lag.late(0.0, 0.9)
    for at in (1.0, 1.01, 1.02):
        lag.late(0.5, at)
    assert lag.lag(1.02 + WINDOW / 2) == 0.5
    assert lag.lag(1.02 + WINDOW * 1.01) == 0.0
    lag.late(0.5, 2.0)
    assert lag.lag(2.0) == 0.0  # alone again


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["polled", "late"]), st.floats(0, 0.05), st.floats(0, 1)),
        max_size=40,
    )
)
def test_never_more_than_was_seen(steps: list[tuple[str, float, float]]) -> None:
    lag, now, polled = LoopLag(), 0.0, 0.0
    lag.polled(now)
    lates: list[float] = []
    for what, pause, by in steps:
        now += pause
        if what == "polled":
            polled = now
            lag.polled(now)
        else:
            lates.append(by)
            lag.late(by, now)
        assert now - polled <= lag.lag(now) <= max(now - polled, *lates[-3:], 0.0)
