"""Counts of the recent past."""

from typing import Final

_PARTS: Final = 10


class RollingCounts:
    """How many there were, and how many of some kind, in the last `window` seconds.

    Mutators: `add`, `clear`; `roll` forgets what is too old, and comes before each look at `all`
    and `marked`. The window is made of ten parts and moves by one: it is between nine tenths of
    itself and the whole.
    """

    __slots__ = ("_all", "_marked", "_part", "_until", "_width", "all", "marked")

    def __init__(self, window: float) -> None:
        self._width = window / _PARTS
        self._until = float("-inf")
        """When the part that is being filled ends."""
        self._part = 0
        """The number of the part that is being filled, from the clock's zero on."""
        self._all = [0] * _PARTS
        self._marked = [0] * _PARTS
        self.all: int = 0
        self.marked: int = 0

    def roll(self, now: float) -> None:
        """Forget what is older than the window; a clock that goes back forgets nothing."""
        if now < self._until:
            return
        part = int(now / self._width)
        self._until = (part + 1) * self._width
        gone = part - self._part
        if gone >= _PARTS:
            self.clear()
        else:
            for old in range(self._part + 1, part + 1):
                index = old % _PARTS
                self.all -= self._all[index]
                self.marked -= self._marked[index]
                self._all[index] = self._marked[index] = 0
        self._part = part

    def add(self, marked: bool) -> None:
        """Count one, now."""
        index = self._part % _PARTS
        self._all[index] += 1
        self.all += 1
        if marked:
            self._marked[index] += 1
            self.marked += 1

    def clear(self) -> None:
        """Forget all."""
        for index in range(_PARTS):
            self._all[index] = self._marked[index] = 0
        self.all = self.marked = 0
