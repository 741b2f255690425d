"""Prints a digest of the whole transcript of each seed, for the test that two processes agree."""

import hashlib
import sys

from pipebus.http.wire import WireCodec
from tests.core.simulation.rig import Rig
from tests.core.simulation.scenario import Author


def digest(seed: int, wire: WireCodec | None = None) -> str:
    rig = Rig(Author(seed).draw(), wire=wire)
    rig.play()
    return hashlib.sha256(repr(rig.transcript()).encode()).hexdigest()


def main() -> None:
    first, last = map(int, sys.argv[1:])
    for seed in range(first, last):
        print(seed, digest(seed))


if __name__ == "__main__":
    main()
