"""The states of a drain, alone."""

from pipebus.http.drain import Drain


def test_a_drain_with_nothing_left_ends_at_once() -> None:
    drain = Drain(grace=30.0, linger=2.0)
    assert drain.begin(10.0)
    assert (drain.state, drain.deadline, drain.deadline_reason) == ("draining", 40.0, "grace")
    drain.settle(0)
    assert drain.drained
    assert drain.deadline == float("inf")


def test_a_second_begin_changes_nothing() -> None:
    drain = Drain(grace=30.0, linger=2.0)
    assert drain.begin(10.0)
    assert not drain.begin(20.0)
    assert drain.deadline == 40.0


def test_nothing_left_means_nothing_while_it_serves() -> None:
    drain = Drain(grace=30.0, linger=2.0)
    drain.settle(0)
    drain.handle_timeout(1e9)
    assert drain.state == "serving"


def test_grace_then_linger_then_the_end_even_if_work_is_left() -> None:
    cut: list[float] = []
    drain = Drain(grace=30.0, linger=2.0)
    drain.on_grace_over = cut.append
    drain.begin(0.0)
    drain.settle(3)
    drain.handle_timeout(29.9)  # early: a no-op
    assert (drain.state, cut) == ("draining", [])
    drain.handle_timeout(30.5)
    assert (drain.state, cut) == ("closing", [30.5])
    assert (drain.deadline, drain.deadline_reason) == (32.5, "linger")
    drain.handle_timeout(32.5)
    assert (drain.state, cut) == ("drained", [30.5])


def test_work_that_ends_while_closing_ends_the_drain() -> None:
    drain = Drain(grace=0.0, linger=2.0)
    drain.begin(0.0)
    drain.handle_timeout(0.0)
    assert drain.state == "closing"
    drain.settle(0)
    assert drain.drained


def test_no_lingering_ends_with_grace() -> None:
    drain = Drain(grace=1.0, linger=0.0)
    drain.begin(0.0)
    drain.handle_timeout(1.0)
    assert drain.drained


def test_a_cut_passes_through_closing_and_ends_at_once() -> None:
    seen: list[str] = []
    drain = Drain(grace=30.0, linger=2.0)
    drain.on_grace_over = lambda now: seen.append(f"{drain.state} at {now}")
    drain.begin(0.0)
    drain.cut(1.0)
    assert (drain.state, seen) == ("drained", ["closing at 1.0"])
    drain.cut(2.0)
    assert (drain.state, seen) == ("drained", ["closing at 1.0"])


def test_a_cut_needs_no_begin() -> None:
    drain = Drain(grace=30.0, linger=2.0)
    drain.cut(1.0)
    assert drain.drained


def test_it_is_announced_before_it_begins() -> None:
    left: list[str] = []
    drain = Drain(grace=30.0, linger=2.0, delay=5.0)
    drain.on_left = lambda: left.append("left")
    drain.leave(100.0)
    assert (drain.leaving, drain.state, drain.deadline) == (True, "serving", 105.0)
    assert drain.deadline_reason == "drain_delay"
    drain.leave(104.0)  # said again: nothing new
    drain.handle_timeout(104.9)
    assert (left, drain.deadline) == ([], 105.0)
    drain.handle_timeout(105.0)
    assert (left, drain.state, drain.deadline) == (["left"], "serving", float("inf"))
    assert drain.begin(105.0)
    assert drain.deadline == 135.0


def test_without_a_delay_it_is_left_at_once() -> None:
    left: list[str] = []
    drain = Drain(grace=30.0, linger=2.0)
    drain.on_left = lambda: left.append("left")
    drain.leave(100.0)
    assert (left, drain.leaving, drain.state) == (["left"], True, "serving")


def test_a_begun_or_cut_drain_is_leaving_too() -> None:
    begun, cut = Drain(grace=30.0, linger=2.0, delay=5.0), Drain(grace=30.0, linger=2.0, delay=5.0)
    begun.begin(100.0)
    begun.leave(101.0)
    assert (begun.leaving, begun.deadline) == (True, 130.0)
    cut.leave(100.0)
    cut.cut(101.0)
    assert (cut.state, cut.deadline) == ("drained", float("inf"))


def test_a_drain_that_begins_while_it_is_announced_does_not_wait() -> None:
    drain = Drain(grace=30.0, linger=2.0, delay=5.0)
    drain.leave(100.0)
    assert drain.begin(101.0)
    assert drain.deadline == 131.0


def test_it_may_be_announced_to_nobody() -> None:
    drain = Drain(grace=30.0, linger=2.0)
    drain.leave(100.0)
    assert (drain.leaving, drain.state) == (True, "serving")
