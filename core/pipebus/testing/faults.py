"""What goes wrong on a simulated network, drawn from a seed."""

import random  # noqa: TID251 (seeded: a network that can be had again)
from collections import Counter


class Faults:
    """How unkind the network is. Seeded: the same seed, the same network.

    Each is a probability from 0 (the default) to 1. Per piece of data: `split` (it arrives in
    pieces), `delay` (it arrives up to `longest` seconds late), `stall` (nothing moves that way for
    up to 100 x `longest` seconds), `reset` (both sides lose the connection and what is under way)
    and `half_close` (the sender's FIN follows this piece; if it writes on, it gets a reset). Per
    attempt to connect: `refuse`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        split: float = 0.0,
        delay: float = 0.0,
        stall: float = 0.0,
        reset: float = 0.0,
        half_close: float = 0.0,
        refuse: float = 0.0,
        longest: float = 0.05,
    ) -> None:
        self._random = random.Random(seed)
        self.longest = longest
        self.hits: Counter[str] = Counter()
        """How often each fault happened."""
        self._chances = {
            "split": split,
            "delay": delay,
            "stall": stall,
            "reset": reset,
            "half_close": half_close,
            "refuse": refuse,
        }

    def strikes(self, fault: str) -> bool:
        """Draw whether a fault happens now."""
        chance = self._chances[fault]
        struck = chance > 0.0 and self._random.random() < chance
        if struck:
            self.hits[fault] += 1
        return struck

    def seconds(self, longest: float) -> float:
        """Draw a duration."""
        return self._random.random() * longest

    def cut(self, size: int) -> int:
        """Draw where to cut a piece of `size` bytes (at least 2): short pieces are likely."""
        return min(1 + int(self._random.random() ** 3 * size), size - 1)
