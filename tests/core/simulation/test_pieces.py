"""However the network cuts: the same bytes, events and outcomes as when nothing is cut."""

import pytest

from pipebus.testing.faults import Faults
from tests.core.simulation.check import check
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import Author

pytestmark = pytest.mark.untraced


class ByteAtATime(Faults):
    """Cuts everything into single bytes."""

    def __init__(self) -> None:
        super().__init__(split=1.0)

    def cut(self, size: int) -> int:
        return 1


def transcript(seed: int, faults: Faults) -> list[object]:
    rig = Rig(Author(seed, plain=True).draw(), faults)
    rig.play()
    check(rig)
    return rig.transcript()


@pytest.mark.parametrize("seed", range(12))
def test_a_byte_at_a_time_is_as_one_piece(seed: int) -> None:
    cut = ByteAtATime()
    assert transcript(seed, Faults()) == transcript(seed, cut)
    assert cut.hits["split"] > 100


@pytest.mark.parametrize("block", range(6))
def test_random_pieces_are_as_one_piece(block: int) -> None:
    for seed in range(100 + block * 25, 125 + block * 25):
        cut = Faults(seed, split=0.7)
        assert transcript(seed, Faults()) == transcript(seed, cut), seed
        assert cut.hits["split"], seed
