"""Many random plays: whatever happens, every request has one right end and nothing is left behind.

They say how often each fault struck and each cell of the table "state x owner gone" was met; one
that never was fails, and so does one that cannot happen and did.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest

from tests.core.simulation.check import check
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import FAULTS, Author
from tests.core.simulation.watch import Cell
from tests.core.states.table import GONE, STATES, TABLE, Never

BLOCKS: Final = 6
SEEDS: Final = 175
"""In each block."""


class Tally:
    """What the plays of some seeds met."""

    def __init__(self) -> None:
        self.cells: Counter[Cell] = Counter()
        self.faults: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def add(self, other: "Tally | Rig") -> None:
        if isinstance(other, Tally):
            self.cells.update(other.cells)
            self.faults.update(other.faults)
            self.outcomes.update(other.outcomes)
        else:
            self.cells.update(other.engine.cells)
            self.faults.update(other.faults.hits)
            self.outcomes.update(other.engine.bus.counts.outcomes)


def play(seed: int) -> Rig:
    rig = Rig(Author(seed).draw())
    try:
        rig.play()
        check(rig)
    except Exception as error:
        error.add_note(f"seed {seed}: Rig(Author({seed}).draw()).play()")
        raise
    return rig


@cache
def block(number: int) -> Tally:
    tally = Tally()
    for seed in range(number * SEEDS, (number + 1) * SEEDS):
        tally.add(play(seed))
    return tally


# In one group, so that with several workers one has played all of them when they are added up.
@pytest.mark.xdist_group("seeds")
@pytest.mark.parametrize("number", range(BLOCKS))
def test_whatever_happens_every_request_has_one_right_end(number: int) -> None:
    assert block(number).outcomes["replied"] > SEEDS


@pytest.mark.xdist_group("seeds")
@pytest.mark.timeout(300)  # alone it plays all the seeds
def test_every_cell_and_every_fault_was_met(record_property: Callable[[str, object], None]) -> None:
    tally = Tally()
    for number in range(BLOCKS):
        tally.add(block(number))
    record_property("summary", "\n".join(report(tally)))
    for cell, answer in TABLE.items():
        if isinstance(answer, Never):
            assert tally.cells[cell] == 0, f"{cell} cannot happen ({answer.why}), and did"
        else:
            assert tally.cells[cell] > 0, f"{cell} was never met"
    assert set(tally.cells) <= set(TABLE)
    assert min(tally.faults[fault] for fault in FAULTS) > 0
    assert min(tally.outcomes.values()) > 0


def report(tally: Tally) -> list[str]:
    """Lay the counts out as the table; a dash is a cell that cannot happen."""
    lines = [f"simulated network, {BLOCKS * SEEDS:,} seeds: how often an owner vanished"]
    lines.append(" " * 30 + "".join(f"{gone:>17}" for gone in GONE))
    for resource, states in STATES.items():
        for state in states:
            counts = (
                "-" if isinstance(TABLE[resource, state, gone], Never)
                else f"{tally.cells[resource, state, gone]:,}"
                for gone in GONE
            )  # fmt: skip
            lines.append(f"{resource + ', ' + state:<30}" + "".join(f"{n:>17}" for n in counts))
    faults = ", ".join(f"{fault} {tally.faults[fault]:,}" for fault in FAULTS)
    outcomes = ", ".join(f"{name} {count:,}" for name, count in tally.outcomes.items())
    return [*lines, f"faults: {faults}", f"outcomes: {outcomes}"]
