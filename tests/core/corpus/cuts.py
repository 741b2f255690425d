"""How the bytes of a case are cut on their way."""

import random
from collections.abc import Iterator
from typing import Final

CUTS: Final = ("whole", "bytes", "random-1", "random-2")


def cut(data: bytes, how: str, seed: str) -> Iterator[bytes]:
    """Cut `data` into the pieces in which it arrives; never an empty one."""
    if how == "whole":
        if data:
            yield data
        return
    rng = random.Random(how + seed)
    start = 0
    while start < len(data):
        size = 1 if how == "bytes" else rng.choice((1, 2, 3, 5, 20, 80))
        yield data[start : start + size]
        start += size
