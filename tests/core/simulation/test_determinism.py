"""The same seed gives the same bytes, events and outcomes in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from tests.core.simulation.digest import digest
from tests.environment import without_coverage

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[3]
SEEDS = 40


def digests(hash_seed: str) -> list[str]:
    path = os.pathsep.join(str(ROOT / part) for part in (".", "core", "bindings"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.simulation.digest", "0", str(SEEDS)],
        cwd=ROOT,
        env=without_coverage(PYTHONHASHSEED=hash_seed, PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_two_processes_with_different_hash_seeds_agree() -> None:
    one = digests("1")
    assert len(one) == SEEDS
    assert one == digests("2")
    # And this one: what ran before in a process leaves no trace.
    assert one[:5] == [f"{seed} {digest(seed)}" for seed in range(5)]


def test_different_seeds_are_different_plays() -> None:
    assert len({digest(seed) for seed in range(10)}) == 10


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_the_codec_changes_nothing(seed: int) -> None:
    """Not one byte, event or outcome of a whole play."""
    assert digest(seed, H11Codec()) == digest(seed, LlhttpCodec())
