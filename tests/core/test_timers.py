import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.limits import INFINITY
from pipebus.timers import Timed, TimerQueue


def once(name: str = "", deadline: float = INFINITY) -> Timed:
    """Return one whose reason is its name: no subclass, since a compiled `Timed` has none."""
    timed = Timed()
    timed.deadline = deadline
    timed.deadline_reason = name
    return timed


def done(timed: Timed, now: float) -> float:
    return INFINITY


def fire(
    queue: TimerQueue, now: float, following: Callable[[Timed, float], float] = done
) -> list[str]:
    """Do what a host does at `now`; `following` is the deadline that follows one that fired."""
    fired = []
    while (timed := queue.next_due(now)) is not None:
        assert timed.deadline <= now
        timed.deadline = following(timed, now)
        queue.watch(timed)
        fired.append(timed.deadline_reason)
    return fired


def watching(*timed: Timed) -> TimerQueue:
    queue = TimerQueue()
    for one in timed:
        queue.watch(one)
    return queue


def test_a_timed_must_say_what_it_does() -> None:
    with pytest.raises(NotImplementedError):
        Timed().handle_timeout(0.0)


def test_an_empty_queue_has_no_deadline() -> None:
    queue = TimerQueue()
    assert queue.next_deadline() is None
    assert queue.deadline_reason == ""
    assert queue.next_due(1e9) is None
    assert len(queue) == 0


def test_the_earliest_comes_out_with_its_reason() -> None:
    queue = watching(once("late", 9.0), once("early", 3.0), once("never"))
    assert queue.next_deadline() == 3.0
    assert queue.deadline_reason == "early"
    assert len(queue) == 2


def test_nothing_is_due_early_and_asking_does_not_spin() -> None:
    queue = watching(once("a", 3.0))
    assert queue.next_due(2.999) is None
    assert queue.next_deadline() == 3.0
    assert fire(queue, 3.0) == ["a"]
    assert fire(queue, 3.0) == []


def test_late_call_fires_all_that_are_due_in_order_of_deadline_then_of_watching() -> None:
    queue = watching(
        once("c", 3.0), once("a", 1.0), once("b1", 2.0), once("b2", 2.0), once("d", 9.0)
    )
    assert fire(queue, 5.0) == ["a", "b1", "b2", "c"]
    assert queue.next_deadline() == 9.0


def test_a_deadline_that_moves_later_is_corrected_when_it_comes_up() -> None:
    moving = once("moving", 3.0)
    queue = watching(moving)
    moving.deadline = 8.0
    assert queue.next_deadline() == 8.0
    assert fire(queue, 5.0) == []
    assert fire(queue, 8.0) == ["moving"]


def test_a_deadline_that_moves_earlier_is_watched_again() -> None:
    moving = once("moving", 8.0)
    queue = watching(moving)
    moving.deadline = 3.0
    queue.watch(moving)
    assert len(queue) == 1
    assert fire(queue, 3.0) == ["moving"]
    assert fire(queue, 9.0) == []


def test_back_to_an_old_entrys_time_fires_once() -> None:
    moving = once("moving", 8.0)
    queue = watching(moving)
    moving.deadline = 3.0
    queue.watch(moving)
    moving.deadline = 8.0
    assert queue.next_deadline() == 8.0
    assert len(queue) == 1
    assert fire(queue, 8.0) == ["moving"]


def test_a_forgotten_one_does_not_fire_and_may_come_back() -> None:
    gone, other = once("gone", 3.0), once("other", 5.0)
    queue = watching(gone, other)
    queue.forget(gone)
    assert gone.deadline == INFINITY
    assert queue.next_deadline() == 5.0
    gone.deadline = 3.0
    queue.watch(gone)
    assert len(queue) == 2
    assert fire(queue, 6.0) == ["gone", "other"]


def test_forgetting_what_was_never_watched_is_harmless() -> None:
    queue = TimerQueue()
    queue.forget(once("a", 1.0))
    assert queue.next_deadline() is None


def test_a_deadline_cleared_without_forget_is_let_go_when_it_comes_up() -> None:
    cleared = once("cleared", 3.0)
    queue = watching(cleared)
    cleared.deadline = INFINITY
    assert len(queue) == 0
    assert queue.next_deadline() is None
    cleared.deadline = 4.0
    queue.watch(cleared)
    assert fire(queue, 4.0) == ["cleared"]


def test_a_handler_that_sets_a_new_deadline_fires_again() -> None:
    queue = watching(once("tick", 0.0))
    times = (0.0, 5.0, 10.0, 19.0, 21.0)
    fired = [now for now in times if fire(queue, now, lambda _, now: now + 10.0)]
    assert fired == [0.0, 10.0, 21.0]


def test_memory_follows_what_is_alive() -> None:
    queue = TimerQueue()
    keep = [once(str(n), 1_000.0 + n) for n in range(50)]
    for one in keep:
        queue.watch(one)
    for n in range(5_000):
        short = once("short", 30.0 + n)
        queue.watch(short)
        queue.forget(short)
        assert len(queue._heap) <= 50 + 50 + 64 + 1
    assert fire(queue, 2_000.0) == [one.deadline_reason for one in keep]


def test_what_is_forgotten_is_let_go_of_at_once() -> None:
    gone = once("gone", 1_000_000.0)
    before = sys.getrefcount(gone)
    queue = watching(gone, once("other", 5.0))
    assert sys.getrefcount(gone) == before + 1
    queue.forget(gone)
    assert sys.getrefcount(gone) == before  # not when its deadline would have been
    assert fire(queue, 2_000_000.0) == ["other"]


def test_memory_does_not_grow_with_deadlines_that_keep_moving_earlier() -> None:
    moving = once("moving", 10_000.0)
    queue = watching(moving)
    for n in range(5_000):
        moving.deadline = 9_999.0 - n
        queue.watch(moving)
    assert len(queue._heap) <= 2 * 64 + 2
    assert queue.next_deadline() == moving.deadline


def test_an_empty_queue_never_wakes_anybody() -> None:
    queue = TimerQueue()
    assert queue.next_wake() == INFINITY
    queue.watch(once("a", 3.0))
    assert queue.next_wake() == 3.0
    fire(queue, 3.0)
    assert queue.next_wake() == INFINITY


def test_a_wake_may_come_for_nothing_and_the_next_one_is_later() -> None:
    moving, gone = once("moving", 3.0), once("gone", 2.0)
    queue = watching(moving, gone)
    moving.deadline = 8.0
    queue.forget(gone)
    assert queue.next_wake() == 2.0
    assert fire(queue, 2.0) == []
    assert queue.next_wake() == 8.0  # the queue looked at all that came up


class Sleeper:
    """A host's only timer: it sleeps until `next_wake`, and is woken when that becomes earlier."""

    def __init__(self, queue: TimerQueue, following: Callable[[Timed, float], float]) -> None:
        self.queue = queue
        self.following = following
        self.at = INFINITY
        self.wakes = 0

    def pump(self) -> None:
        """After any input: sleep no longer than is right."""
        self.at = min(self.at, self.queue.next_wake())

    def sleep(self, until: float) -> None:
        """Let time pass."""
        while self.at <= until:
            now = self.at
            self.wakes += 1
            fire(self.queue, now, self.following)
            self.at = self.queue.next_wake()
            assert self.at > now, "it would wake again at once, for ever"


step = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 4), st.integers(0, 20)),
    st.tuples(st.just("forget"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("advance"), st.just(0), st.integers(0, 5)),
)


@given(st.lists(step, max_size=60))
def test_queue_agrees_with_looking_at_every_machine(steps: list[tuple[str, int, int]]) -> None:
    queue = TimerQueue()
    machines = [once(str(n)) for n in range(5)]
    now = 0.0
    for what, which, amount in steps:
        machine = machines[which]
        if what == "set":
            machine.deadline = now + amount
            queue.watch(machine)
        elif what == "forget":
            queue.forget(machine)
        else:
            now += amount
            due = {m.deadline_reason for m in machines if m.deadline <= now}
            assert set(fire(queue, now)) == due
        pending = [m.deadline for m in machines if m.deadline < INFINITY]
        assert queue.next_deadline() == (min(pending) if pending else None)
        assert len(queue) == len(pending)


moves = st.tuples(
    st.sampled_from(["set", "set", "later", "forget", "sleep"]),
    st.integers(0, 4),
    st.integers(0, 9),
)


@given(st.lists(moves, max_size=60), st.lists(st.integers(1, 9), max_size=4))
def test_who_sleeps_until_the_next_wake_is_never_late(
    steps: list[tuple[str, int, int]], more: list[int]
) -> None:
    queue = TimerQueue()
    waits = {str(n): list(more) for n in range(5)}
    fired = 0

    def following(timed: Timed, now: float) -> float:
        nonlocal fired
        assert now == timed.deadline, "it fires at its deadline, neither before nor after"
        fired += 1
        wait = waits[timed.deadline_reason]
        return now + wait.pop() if wait else INFINITY

    sleeper = Sleeper(queue, following)
    machines = [once(name) for name in waits]
    now, moved = 0.0, 0
    for what, which, amount in steps:
        machine = machines[which]
        if what == "set":
            machine.deadline = now + amount
            queue.watch(machine)
            moved += 1
        elif what == "later" and now < machine.deadline < INFINITY:
            machine.deadline += amount
            moved += 1
        elif what == "forget":
            queue.forget(machine)
            moved += 1
        elif what == "sleep":
            now += amount
            sleeper.sleep(now)
        wake = queue.next_wake()
        sleeper.pump()
        assert wake <= min(machine.deadline for machine in machines)
        deadline = queue.next_deadline()
        assert wake <= (INFINITY if deadline is None else deadline)
    sleeper.sleep(1_000.0)
    assert len(queue) == 0
    # It wakes for what fires and, once for each move, for what has moved.
    assert sleeper.wakes <= fired + moved
