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
