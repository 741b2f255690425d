"""When a check is due, and what it found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.limits import INFINITY
from pipebus.telemetry.health import HealthCheck


def check() -> tuple[HealthCheck, list[str]]:
    asked: list[str] = []
    one = HealthCheck(
        "db", interval=10.0, timeout=5.0,
        on_due=lambda _, now: asked.append(f"run {now:g}"),
        on_late=lambda _, now: asked.append(f"late {now:g}"),
    )  # fmt: skip
    return one, asked


def test_it_runs_at_once_and_again_an_interval_after_its_end() -> None:
    one, asked = check()
    assert (one.state, one.detail) == ("unknown", "has not run yet")
    one.begin(100.0)
    one.handle_timeout(100.0)
    assert one.deadline_reason == "health_check_timeout"
    assert one.passed()
    one.gone(103.0)
    assert (one.state, one.detail, one.deadline) == ("passing", "", 113.0)
    one.handle_timeout(112.9)
    assert asked == ["run 100"]
    one.handle_timeout(113.0)
    assert asked == ["run 100", "run 113"]


def test_only_a_change_is_news() -> None:
    one, _ = check()
    one.begin(0.0)
    news = []
    for found in (one.passed, one.passed, lambda: one.failed("no"), lambda: one.failed("still no")):
        one.handle_timeout(one.deadline)
        news.append(found())
        one.gone(one.deadline)
    assert news == [True, False, True, False]
    assert one.detail == "still no"


def test_a_run_that_takes_too_long_is_given_up_and_its_late_word_is_not_heard() -> None:
    one, asked = check()
    one.begin(0.0)
    one.handle_timeout(0.0)
    one.handle_timeout(5.0)
    assert one.failed("took too long")
    assert (asked, one.deadline) == (["run 0", "late 5"], INFINITY)
    assert not one.passed()
    assert one.state == "failing"
    one.gone(60.0)  # a thread that hung: only now another may run
    assert one.deadline == 70.0


@pytest.mark.parametrize("running", [True, False])
def test_it_stops_for_good(running: bool) -> None:
    one, asked = check()
    one.begin(0.0)
    if running:
        one.handle_timeout(0.0)
    one.stop()
    one.gone(1.0)
    assert one.deadline == INFINITY
    assert asked == ["run 0"][:running]


@given(st.lists(st.tuples(st.sampled_from(["time", "pass", "fail", "gone"]), st.floats(0, 20))))
def test_never_two_runs_at_once_and_time_never_stands_still(
    steps: list[tuple[str, float]],
) -> None:
    running = 0
    now = 0.0

    def run(_: HealthCheck, __: float) -> None:
        nonlocal running
        running += 1
        assert running == 1

    def late(one: HealthCheck, _: float) -> None:
        one.failed("late")

    one = HealthCheck("db", interval=10.0, timeout=5.0, on_due=run, on_late=late)
    one.begin(now)
    for step, more in steps:
        now += more
        if step == "time":
            one.handle_timeout(now)
            assert one.deadline > now
        elif running and step == "pass":
            one.passed()
        elif running and step == "fail":
            one.failed("no")
        elif running:
            running = 0
            one.gone(now)
            assert one.deadline == now + 10.0
    assert (one.deadline < INFINITY) or running
