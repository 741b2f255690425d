import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.limits import INFINITY
from pipebus.timers import Timed, TimerQueue


class Once(Timed):
    """Remembers when it fired; no deadline follows."""

    __slots__ = ("fired", "name")

    def __init__(self, name: str = "", deadline: float = INFINITY) -> None:
        super().__init__()
        self.name = name
        self.deadline = deadline
        self.deadline_reason = f"reason of {name}"
        self.fired: list[float] = []

    def handle_timeout(self, now: float) -> None:
        if now >= self.deadline:
            self.fired.append(now)
            self.deadline = INFINITY


def fire(queue: TimerQueue, now: float) -> list[str]:
    fired = []
    while (timed := queue.next_due(now)) is not None:
        assert isinstance(timed, Once)
        timed.handle_timeout(now)
        queue.watch(timed)
        fired.append(timed.name)
    return fired


def watching(*timed: Once) -> TimerQueue:
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
    queue = watching(Once("late", 9.0), Once("early", 3.0), Once("never"))
    assert queue.next_deadline() == 3.0
    assert queue.deadline_reason == "reason of early"
    assert len(queue) == 2


def test_nothing_is_due_early_and_asking_does_not_spin() -> None:
    queue = watching(Once("a", 3.0))
    assert queue.next_due(2.999) is None
    assert queue.next_deadline() == 3.0
    assert fire(queue, 3.0) == ["a"]
    assert fire(queue, 3.0) == []


def test_late_call_fires_all_that_are_due_in_order_of_deadline_then_of_watching() -> None:
    queue = watching(
        Once("c", 3.0), Once("a", 1.0), Once("b1", 2.0), Once("b2", 2.0), Once("d", 9.0)
    )
    assert fire(queue, 5.0) == ["a", "b1", "b2", "c"]
    assert queue.next_deadline() == 9.0


def test_a_deadline_that_moves_later_is_corrected_when_it_comes_up() -> None:
    moving = Once("moving", 3.0)
    queue = watching(moving)
    moving.deadline = 8.0
    assert queue.next_deadline() == 8.0
    assert fire(queue, 5.0) == []
    assert fire(queue, 8.0) == ["moving"]


def test_a_deadline_that_moves_earlier_is_watched_again() -> None:
    moving = Once("moving", 8.0)
    queue = watching(moving)
    moving.deadline = 3.0
    queue.watch(moving)
    assert len(queue) == 1
    assert fire(queue, 3.0) == ["moving"]
    assert fire(queue, 9.0) == []


def test_back_to_an_old_entrys_time_fires_once() -> None:
    moving = Once("moving", 8.0)
    queue = watching(moving)
    moving.deadline = 3.0
    queue.watch(moving)
    moving.deadline = 8.0
    assert queue.next_deadline() == 8.0
    assert len(queue) == 1
    assert fire(queue, 8.0) == ["moving"]


def test_a_forgotten_one_does_not_fire_and_may_come_back() -> None:
    gone, other = Once("gone", 3.0), Once("other", 5.0)
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
    queue.forget(Once("a", 1.0))
    assert queue.next_deadline() is None


def test_a_deadline_cleared_without_forget_is_let_go_when_it_comes_up() -> None:
    cleared = Once("cleared", 3.0)
    queue = watching(cleared)
    cleared.deadline = INFINITY
    assert len(queue) == 0
    assert queue.next_deadline() is None
    cleared.deadline = 4.0
    queue.watch(cleared)
    assert fire(queue, 4.0) == ["cleared"]


def test_a_handler_that_sets_a_new_deadline_fires_again() -> None:
    class Periodic(Once):
        __slots__ = ()

        def handle_timeout(self, now: float) -> None:
            self.fired.append(now)
            self.deadline = now + 10.0

    periodic = Periodic("tick", 0.0)
    queue = watching(periodic)
    for now in (0.0, 5.0, 10.0, 19.0, 21.0):
        fire(queue, now)
    assert periodic.fired == [0.0, 10.0, 21.0]


def test_memory_follows_what_is_alive() -> None:
    queue = TimerQueue()
    keep = [Once(str(n), 1_000.0 + n) for n in range(50)]
    for one in keep:
        queue.watch(one)
    for n in range(5_000):
        short = Once("short", 30.0 + n)
        queue.watch(short)
        queue.forget(short)
        assert len(queue._heap) <= 50 + 50 + 64 + 1
    assert fire(queue, 2_000.0) == [one.name for one in keep]


def test_what_is_forgotten_is_let_go_of_at_once() -> None:
    class Heavy(Once):
        __slots__ = ("__weakref__",)

    gone = Heavy("gone", 1_000_000.0)
    queue = watching(gone, Once("other", 5.0))
    watched = weakref.ref(gone)
    queue.forget(gone)
    del gone
    assert watched() is None  # not when its deadline would have been
    assert fire(queue, 2_000_000.0) == ["other"]


def test_memory_does_not_grow_with_deadlines_that_keep_moving_earlier() -> None:
    moving = Once("moving", 10_000.0)
    queue = watching(moving)
    for n in range(5_000):
        moving.deadline = 9_999.0 - n
        queue.watch(moving)
    assert len(queue._heap) <= 2 * 64 + 2
    assert queue.next_deadline() == moving.deadline


def test_an_empty_queue_never_wakes_anybody() -> None:
    queue = TimerQueue()
    assert queue.next_wake() == INFINITY
    queue.watch(Once("a", 3.0))
    assert queue.next_wake() == 3.0
    fire(queue, 3.0)
    assert queue.next_wake() == INFINITY


def test_a_wake_may_come_for_nothing_and_the_next_one_is_later() -> None:
    moving, gone = Once("moving", 3.0), Once("gone", 2.0)
    queue = watching(moving, gone)
    moving.deadline = 8.0
    queue.forget(gone)
    assert queue.next_wake() == 2.0
    assert fire(queue, 2.0) == []
    assert queue.next_wake() == 8.0  # the queue looked at all that came up


class Sleeper:
    """A host's only timer: it sleeps until `next_wake`, and is woken when that becomes earlier."""

    def __init__(self, queue: TimerQueue) -> None:
        self.queue = queue
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
            fire(self.queue, now)
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
    machines = [Once(str(n)) for n in range(5)]
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
            due = {m.name for m in machines if m.deadline <= now}
            assert set(fire(queue, now)) == due
        pending = [m.deadline for m in machines if m.deadline < INFINITY]
        assert queue.next_deadline() == (min(pending) if pending else None)
        assert len(queue) == len(pending)


class Punctual(Once):
    """Fires at its deadline, neither before nor after; then again if there is more to wait for."""

    __slots__ = ("more",)

    def __init__(self, name: str, more: list[int]) -> None:
        super().__init__(name)
        self.more = list(more)

    def handle_timeout(self, now: float) -> None:
        assert now == self.deadline
        self.fired.append(now)
        self.deadline = now + self.more.pop() if self.more else INFINITY


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
    sleeper = Sleeper(queue)
    machines = [Punctual(str(n), more) for n in range(5)]
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
    assert sleeper.wakes <= sum(len(machine.fired) for machine in machines) + moved
