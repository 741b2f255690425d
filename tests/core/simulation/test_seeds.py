"""Many random plays: whatever happens, every request has one right end and nothing is left behind.

They say how often each fault struck and each cell of the table "state x owner gone" was met; one
that never was fails, and so does one that cannot happen and did.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from tests.core.simulation.check import check
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import FAULTS, Author
from tests.core.simulation.watch import Cell
from tests.core.states.table import GONE, STATES, TABLE, Never

SEEDS: Final = 1_000


class Tally:
    """What the plays of some seeds met."""

    def __init__(self) -> None:
        self.cells: Counter[Cell] = Counter()
        self.faults: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def add(self, rig: Rig) -> None:
        self.cells.update(rig.engine.cells)
        self.faults.update(rig.faults.hits)
        self.outcomes.update(rig.engine.bus.counts.outcomes)


def play(seed: int) -> Rig:
    rig = Rig(Author(seed).draw())
    try:
        rig.play()
        check(rig)
    except Exception as error:
        error.add_note(f"seed {seed}: Rig(Author({seed}).draw()).play()")
        raise
    return rig


# One test plays them all: what is counted is counted once, whatever the number of workers.
@pytest.mark.untraced
@pytest.mark.timeout(300)
def test_whatever_happens_every_request_has_one_right_end(
    record_property: Callable[[str, object], None],
) -> None:
    tally = Tally()
    for seed in range(SEEDS):
        tally.add(play(seed))
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
    lines = [f"simulated network, {SEEDS:,} seeds: how often an owner vanished"]
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
