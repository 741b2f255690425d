"""What a supervisor decides, on plain values: no process, no clock."""

import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.limits import INFINITY
from pipebus_cli.supervision import Log, Replace, Send, Start, Supervision, Worker

GRACE, MARGIN = 30.0, 10.0


class Played:
    """A supervision whose actions are carried out as soon as it has them."""

    def __init__(self, workers: int = 2) -> None:
        self.machine = Supervision(workers, grace=GRACE)
        self.now = 100.0
        self.started: list[Worker] = []
        self.sent: list[tuple[Worker, signal.Signals]] = []
        self.replacing: list[Worker] = []
        self.replaced: list[Worker] = []
        self.log: list[str] = []
        self.errors: list[str] = []
        self("begin")

    def __call__(self, name: str, *arguments: Any) -> None:
        getattr(self.machine, name)(*arguments, self.now)
        while (action := self.machine.next_action()) is not None:
            match action:
                case Start(worker, replaces):
                    self.started.append(worker)
                    if replaces:
                        self.replacing.append(worker)
                case Replace(worker):
                    self.replaced.append(worker)
                    self.sent.append((worker, signal.SIGTERM))  # which it sends to itself
                case Send(worker, number):
                    self.sent.append((worker, number))
                case Log(text, worker, error):
                    about = "" if worker is None else f"{worker.slot + 1}: "
                    (self.errors if error else self.log).append(about + text)

    def all_ready(self) -> list[Worker]:
        """Let every worker become ready; forget what was done up to here and return them."""
        self("ready", self.started[0])
        for worker in self.started[1:]:
            self("ready", worker)
        workers = list(self.started)
        self.forget()
        return workers

    def forget(self) -> None:
        self.started.clear()
        self.sent.clear()
        self.log.clear()
        self.errors.clear()

    def wait(self, seconds: float) -> None:
        """Let time pass, and `handle_timeout` be called too early, when it is due, and late."""
        self("handle_timeout")
        self.now += seconds
        self("handle_timeout")

    def new(self) -> Worker:
        """Return the only worker that was started since the last time."""
        (worker,) = self.started
        self.started.clear()
        return worker


def test_the_first_worker_is_started_alone() -> None:
    play = Played(3)
    assert [worker.slot for worker in play.started] == [0]
    play.now += 0.5
    play("ready", play.started[0])
    assert [worker.slot for worker in play.started] == [0, 1, 2]
    assert play.log == ["1: ready after 0.50 s"]
    assert (play.machine.next_deadline(), play.machine.status) == (None, None)


@pytest.mark.parametrize(
    ("ended", "status", "error"),
    [
        (1, 1, ""),
        (2, 2, ""),
        (0, 1, "the first worker ended before it accepted connections"),
        (-9, 137, "the first worker was killed by SIGKILL before it accepted connections"),
    ],
)
def test_if_the_first_cannot_start_none_is(ended: int, status: int, error: str) -> None:
    play = Played()
    play("ended", play.new(), ended)
    assert (play.machine.status, play.machine.error) == (status, error)
    assert (play.started, play.log, play.errors) == ([], [], [])


def test_a_worker_that_dies_is_restarted_at_once_and_then_with_back_off() -> None:
    play = Played(2)
    _, worker = play.all_ready()
    delays = []
    for _ in range(10):
        play("ended", worker, -11)
        due = play.machine.next_deadline()
        if due is None:
            delays.append(0.0)
        else:
            delays.append(due - play.now)
            assert not play.started
            play.wait(delays[-1])
        worker = play.new()
        assert worker.slot == 1
    assert delays == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert play.errors[0] == "2: was killed by SIGSEGV; restarting"
    assert play.errors[2] == "2: was killed by SIGSEGV; restarting in 0.2 s"
    play("ready", worker)
    play.now += 9.9
    play("ended", worker, 3)
    assert play.errors[-1] == "2: ended with status 3; restarting in 10 s"
    play.wait(10)
    play.now += 10
    play("ended", play.new(), 0)
    assert play.errors[-1] == "2: ended; restarting"


def test_a_reload_replaces_one_after_the_other() -> None:
    play = Played(2)
    first, second = play.all_ready()
    play("reload")
    new_first = play.new()
    assert (new_first.slot, play.sent, play.replaced) == (0, [], [])
    play("ready", new_first)
    assert (play.sent, play.replaced) == ([(first, signal.SIGTERM)], [first])
    assert play.machine.next_deadline() == play.now + GRACE + MARGIN
    assert play.started == []  # not before the old one has drained
    play("ended", first, 0)
    new_second = play.new()
    assert new_second.slot == 1
    play("ready", new_second)
    play("ended", second, 0)
    assert play.sent == [(first, signal.SIGTERM), (second, signal.SIGTERM)]
    assert (play.replacing, play.replaced) == ([new_first, new_second], [first, second])
    assert play.log == [
        "reloading one by one",
        "1: ready after 0.00 s",
        "1: ended; it was replaced",
        "2: ready after 0.00 s",
        "2: ended; it was replaced",
        "reloaded",
    ]
    assert (play.errors, play.started, play.machine.next_deadline()) == ([], [], None)


def test_an_old_worker_that_does_not_end_is_killed() -> None:
    play = Played(1)
    (old,) = play.all_ready()
    play("reload")
    play("ready", play.new())
    play.wait(GRACE + MARGIN)
    assert play.sent == [(old, signal.SIGTERM), (old, signal.SIGKILL)]
    assert play.machine.next_deadline() is None
    play("ended", old, -9)
    assert play.errors == [
        "1: does not end: killing it",
        "1: was killed by SIGKILL; it was replaced",
    ]
    assert play.log[-1] == "reloaded"


def test_a_successor_that_does_not_start_ends_the_reload_and_the_old_worker_stays() -> None:
    play = Played(2)
    old, _ = play.all_ready()
    play("reload")
    play("ended", play.new(), 1)
    assert play.errors == [
        "1: ended with status 1 before it was ready; the reload stops; the old worker stays"
    ]
    assert (play.started, play.sent, play.machine.next_deadline()) == ([], [], None)
    play("reload")  # once more, when it is mended
    play("ready", play.new())
    assert play.sent == [(old, signal.SIGTERM)]


def test_a_worker_that_dies_while_its_successor_starts_is_not_restarted() -> None:
    play = Played(1)
    (old,) = play.all_ready()
    play("reload")
    new = play.new()
    play("ended", old, -9)
    assert play.errors == ["1: was killed by SIGKILL; its successor starts"]
    assert play.started == []
    play("ready", new)
    assert (play.sent, play.log[-1]) == ([], "reloaded")


def test_if_that_successor_dies_too_the_slot_is_not_left_empty() -> None:
    play = Played(1)
    (old,) = play.all_ready()
    play("reload")
    new = play.new()
    play("ended", old, -9)
    play("ended", new, 1)
    assert play.errors[-1] == (
        "1: ended with status 1 before it was ready; the reload stops; restarting"
    )
    assert play.new().slot == 0


def test_a_reload_comes_in_time_for_a_slot_that_waits_to_be_restarted() -> None:
    play = Played(1)
    (worker,) = play.all_ready()
    play("ended", worker, 1)
    play("ended", play.new(), 1)
    assert play.machine.next_deadline() == play.now + 0.1
    play("reload")
    new = play.new()
    play.wait(1)
    assert play.started == []
    play("ready", new)
    assert play.log[-1] == "reloaded"


def test_a_reload_replaces_also_a_worker_that_is_just_starting() -> None:
    """It may have imported what is old by now."""
    play = Played(1)
    (worker,) = play.all_ready()
    play("ended", worker, 1)
    starting = play.new()
    play("reload")
    play("ready", play.new())
    assert play.sent == [(starting, signal.SIGTERM)]
    play("ended", starting, -15)
    assert (play.log[-1], len(play.errors)) == ("reloaded", 1)


def test_a_reload_before_anything_is_ready_waits_for_it() -> None:
    play = Played(2)
    first = play.new()
    play("reload")
    assert (play.started, play.log) == ([], [])
    play("ready", first)
    assert [worker.slot for worker in play.started] == [1, 0]
    assert "reloading one by one" in play.log


def test_a_reload_within_a_reload_ends_the_successor_that_starts_and_begins_again() -> None:
    play = Played(2)
    first, second = play.all_ready()
    play("reload")
    play("ready", play.new())
    play("ended", first, 0)
    outdated = play.new()
    assert outdated.slot == 1
    play.forget()
    play("reload")
    play("reload")
    assert play.sent == [(outdated, signal.SIGTERM)]  # once
    play("ready", outdated)  # it was quicker than the signal
    assert second.state == "ready"
    play("ended", outdated, 0)
    assert play.new().slot == 0
    assert play.log == ["2: ended; the old worker stays", "reloading again, from the first"]


def test_a_slot_whose_worker_dies_meanwhile_is_not_left_empty_until_its_turn() -> None:
    play = Played(2)
    first, second = play.all_ready()
    play("reload")
    play("ready", play.new())
    play("ended", first, 0)
    outdated = play.new()
    play("reload")
    play("ended", second, -9)
    play("ended", outdated, -15)
    assert [worker.slot for worker in play.started] == [1, 0]


def test_a_reload_while_an_old_worker_drains_begins_again_when_it_has() -> None:
    play = Played(2)
    first, _ = play.all_ready()
    play("reload")
    play("ready", play.new())
    play("reload")
    assert play.started == []
    play("ended", first, 0)
    assert play.new().slot == 0


def test_a_signal_drains_all_at_once() -> None:
    play = Played(2)
    workers = play.all_ready()
    play("stop", signal.SIGINT)
    assert play.sent == [(worker, signal.SIGTERM) for worker in workers]
    assert (play.log, play.replaced) == (["SIGINT: draining"], [])
    play("ended", workers[1], 0)
    assert play.machine.next_deadline() is not None  # not over yet
    play("reload")
    play("ended", workers[0], 0)
    assert (play.machine.status, play.started, play.errors) == (0, [], [])


def test_a_signal_ends_workers_that_are_starting_and_one_that_drains_gets_no_second() -> None:
    play = Played(2)
    first, second = play.all_ready()
    play("reload")
    play("ready", new := play.new())
    play("ended", second, -9)
    starting = play.new()
    play("stop", signal.SIGTERM)
    assert [number for worker, number in play.sent if worker is first] == [signal.SIGTERM]
    for worker, status in ((first, 0), (new, 0), (starting, -15)):
        play("ended", worker, status)
    assert play.machine.status == 0


def test_a_signal_while_every_worker_waits_to_be_restarted() -> None:
    play = Played(1)
    (worker,) = play.all_ready()
    play("ended", worker, 1)
    play("ended", play.new(), 1)
    play("stop", signal.SIGTERM)
    assert (play.machine.status, play.machine.next_deadline()) == (0, None)


@pytest.mark.parametrize("status", [70, -9, 1])
def test_a_worker_that_ends_badly_when_told_to_is_seen_in_the_status(status: int) -> None:
    play = Played(2)
    first, second = play.all_ready()
    play("stop", signal.SIGTERM)
    play("ended", second, status)
    play("ended", first, 0)
    assert play.machine.status == 70
    assert len(play.errors) == 1


def test_a_worker_that_does_not_drain_is_killed() -> None:
    play = Played(1)
    (worker,) = play.all_ready()
    play("stop", signal.SIGTERM)
    play.wait(GRACE + MARGIN)
    assert play.sent[-1] == (worker, signal.SIGKILL)


def test_a_second_signal_ends_at_once_and_a_third_kills() -> None:
    play = Played(2)
    workers = play.all_ready()
    play("stop", signal.SIGTERM)
    play("ended", workers[0], 0)
    play.forget()
    play("stop", signal.SIGINT)
    assert play.sent == [(workers[1], signal.SIGTERM)]
    assert play.machine.next_deadline() == play.now + MARGIN
    play("stop", signal.SIGINT)
    assert play.sent[-1] == (workers[1], signal.SIGKILL)
    play("ended", workers[1], -9)
    assert (play.machine.status, play.errors) == (128 + signal.SIGINT, [])


def test_a_real_time_signal_has_a_number() -> None:
    play = Played(1)
    (worker,) = play.all_ready()
    play("ended", worker, -(signal.SIGRTMIN + 2))
    assert play.errors == [f"1: was killed by signal {signal.SIGRTMIN + 2}; restarting"]


@given(
    workers=st.integers(1, 3),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ready", "ready", "ended", "reload", "wait"]),
            st.integers(0, 5),
            st.sampled_from([0, 1, -9, -15]),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_no_slot_stays_empty_and_all_end_when_told_to(
    workers: int, steps: list[tuple[str, int, int]]
) -> None:
    play = Played(workers)
    play("ready", play.started[0])
    ended: list[Worker] = []
    for what, which, status in steps:
        alive = [worker for worker in play.started if worker not in ended]
        for slot in slots(play):
            assert slot.current or slot.successor or slot.restart_at < INFINITY
        # One slot may have two: the successor that starts, or the old worker that drains.
        assert len(alive) <= workers + 1
        if what == "wait":
            play.wait(which)
        elif what == "reload" or not alive:
            play("reload")
        elif what == "ready":
            play("ready", alive[which % len(alive)])
        else:
            ended.append(alive[which % len(alive)])
            play("ended", ended[-1], status)
    play("stop", signal.SIGTERM)
    for worker in [worker for worker in play.started if worker not in ended]:
        assert (worker, signal.SIGTERM) in play.sent
        play("ended", worker, 0)
    assert play.machine.status == 0
    assert play.machine.next_deadline() is None


def slots(play: Played) -> list[Any]:
    """Return the slots, of which no output says that they wait."""
    return play.machine._slots
