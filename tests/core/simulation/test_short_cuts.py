"""Whole scenarios over a bad network, played with every short cut and with none: nothing differs."""

import pytest

from pipebus.limits import INFINITY
from pipebus.testing.node import Node
from tests.core.bus.long_bus import LongBus
from tests.core.dispatch.both_ways import LongWay, ShortWay
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import Author

pytestmark = pytest.mark.untraced
SEEDS = 15


class WakingNode(Node):
    """Asks when to wake next, as the bindings do, and not when something is due."""

    def next_deadline(self) -> float | None:
        wake = self.engine.next_wake()
        return None if wake == INFINITY else wake


def rig(seed: int, *, recorded: bool) -> Rig:
    rig = Rig(Author(seed).draw())
    if not recorded:  # nobody listens to requests, so that bodies go the short way, too
        for subscription in rig.subscriptions:
            if subscription.pattern == ">":
                rig.engine.bus.close(subscription, rig.world.now)
    return rig


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("block", range(4))
def test_both_ways_are_the_same(block: int, recorded: bool) -> None:
    taken = 0
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        short, long = rig(seed, recorded=recorded), rig(seed, recorded=recorded)
        short.engine.dispatch.__class__ = ShortWay
        long.engine.dispatch.__class__ = LongWay
        long.engine.bus.__class__ = LongBus
        short.play()
        long.play()
        assert short.transcript() == long.transcript(), seed
        assert short.engine.cells == long.engine.cells, seed
        assert isinstance(short.engine.dispatch, ShortWay)
        taken += min(short.engine.dispatch.taken)
    assert taken > 10


def timetable(rig: Rig) -> tuple[list[object], list[bytes]]:
    """Return what happened when; not in which order at one moment, and so without ids."""
    events = sorted((event.time, event.source, event.type, event.subject) for event in rig.events)
    return [*events], [peer.received for peer in rig.peers]


@pytest.mark.parametrize("block", range(2))
def test_who_sleeps_until_the_next_wake_misses_nothing(block: int) -> None:
    for seed in range(1_000 + block * SEEDS, 1_000 + (block + 1) * SEEDS):
        due, waking = rig(seed, recorded=True), rig(seed, recorded=True)
        for node in waking.nodes:
            node.__class__ = WakingNode
        due.play()
        waking.play()
        assert timetable(due) == timetable(waking), seed
