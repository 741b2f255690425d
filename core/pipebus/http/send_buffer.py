"""Bytes on their way out, joined where that saves a write and not where it costs a copy."""

from collections import deque
from typing import Final

_JOIN: Final = 64 * 1024
"""Pieces are joined up to this size: one write, and the copy costs less than a second write."""
_WRITE: Final = 256 * 1024
"""The most that is offered at once, so that a big body is copied once and not once a write."""


class SendBuffer:
    """A FIFO of bytes to send. `size` counts what is left."""

    __slots__ = ("_offset", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # of the first piece, already sent
        self.size: int = 0

    def push(self, data: bytes) -> None:
        """Add bytes (empty ones are ignored)."""
        if data:
            self._pieces.append(data)
            self.size += len(data)

    def peek(self) -> bytes:
        """Return the next bytes to write, b"" for none; the same until `sent`."""
        pieces = self._pieces
        if not pieces:
            return b""
        first = pieces[0]
        if len(pieces) > 1 and len(first) + len(pieces[1]) <= _JOIN:
            first = self._join_small()
        if self._offset == 0 and len(first) <= _WRITE:
            return first
        return first[self._offset : self._offset + _WRITE]

    def sent(self, count: int) -> None:
        """Drop `count` bytes of what `peek` returned."""
        self.size -= count
        self._offset += count
        if self._offset == len(self._pieces[0]):
            self._pieces.popleft()
            self._offset = 0

    def clear(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self._offset = self.size = 0

    def _join_small(self) -> bytes:
        pieces = self._pieces
        small = [pieces.popleft()]
        size = len(small[0])
        while pieces and size + len(pieces[0]) <= _JOIN:
            small.append(pieces.popleft())
            size += len(small[-1])
        first = b"".join(small)
        pieces.appendleft(first)
        return first
