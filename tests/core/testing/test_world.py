"""The clock of a simulation."""

import pytest

from pipebus.testing import World


class Alarm:
    """Something that ticks at given times, and may have work without a time."""

    def __init__(self, world: World, *times: float) -> None:
        self.world = world
        self.times = list(times)
        self.work = 0
        self.rang: list[float] = []
        world.add(self)

    def next_deadline(self) -> float | None:
        return min(self.times, default=None)

    def tick(self) -> None:
        self.times.remove(min(self.times))
        self.rang.append(self.world.now)

    def run(self) -> bool:
        self.work -= self.work > 0
        return self.work > 0


def test_everything_happens_at_its_moment_in_the_order_it_was_asked_for() -> None:
    world = World(start=10.0)
    seen: list[tuple[str, float]] = []
    world.at(12.0, lambda: seen.append(("later", world.now)))
    world.at(11.0, lambda: seen.append(("first", world.now)))
    world.at(11.0, lambda: seen.append(("second", world.now)))
    world.at(1.0, lambda: seen.append(("past", world.now)))
    alarm = Alarm(world, 11.5, 40.0)
    assert world.next_moment() == 10.0
    world.advance(5.0)
    assert seen == [("past", 10.0), ("first", 11.0), ("second", 11.0), ("later", 12.0)]
    assert alarm.rang == [11.5]
    assert (world.now, world.next_moment()) == (15.0, 40.0)


def test_the_clock_stops_where_it_was_done() -> None:
    world = World()
    alarm = Alarm(world, 1_003.0, 1_004.0)
    assert world.run_until(lambda: len(alarm.rang) == 1, 1_010.0)
    assert world.now == 1_003.0
    assert not world.run_until(lambda: False, 1_010.0)
    assert (world.now, world.next_moment()) == (1_010.0, None)
    assert world.run_until(lambda: True, 0.0)
    assert not world.run_until(lambda: False, 0.0)
    assert world.now == 1_010.0, "it never goes back"


def test_what_is_due_in_the_past_happens_now() -> None:
    world = World()
    alarm = Alarm(world, 1.0)
    assert world.next_moment() == world.now
    world.settle()
    assert alarm.rang == [1_000.0]


def test_work_is_done_before_time_passes() -> None:
    world = World()
    alarm = Alarm(world, 1_001.0)
    alarm.work = 5
    world.settle()
    assert (alarm.work, alarm.rang) == (0, [])


def test_what_never_comes_to_rest_is_an_error() -> None:
    world = World(patience=100)

    def again() -> None:
        world.at(world.now, again)

    again()
    with pytest.raises(RuntimeError, match="does not come to rest"):
        world.settle()
