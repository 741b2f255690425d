"""Every cell of the table is played, and there is no empty one."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.core.states.scenes import play
from tests.core.states.table import GONE, STATES, TABLE, Answer, Cell, Never
from tests.environment import without_coverage

ROOT = Path(__file__).parents[3]
HAPPEN = {cell: answer for cell, answer in TABLE.items() if isinstance(answer, Answer)}


def test_no_cell_is_empty() -> None:
    rows = [(resource, state) for resource, states in STATES.items() for state in states]
    assert set(TABLE) == {(*row, gone) for row, gone in product(rows, GONE)}
    assert all(cell.why for cell in TABLE.values() if isinstance(cell, Never))


@pytest.mark.parametrize("cell", HAPPEN, ids="-".join)
def test_cell(cell: Cell) -> None:
    answer = HAPPEN[cell]
    assert play(*cell) == (answer.outcome, answer.seen, answer.published, ())


def test_the_tests_it_names_exist() -> None:
    named = {test for answer in TABLE.values() for test in answer.also}
    assert len(named) > 60
    files = sorted({test.partition("::")[0] for test in named})
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert named <= set(collected.stdout.splitlines())
