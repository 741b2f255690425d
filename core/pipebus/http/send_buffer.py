"""Bytes on their way out, joined where that saves a write and not where it costs a copy."""


class SendBuffer:
    """A FIFO of bytes to send. `size` counts what is left."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def push(self, data: bytes) -> None:
        """Add bytes (empty ones are ignored)."""
        raise NotImplementedError

    def peek(self) -> bytes:
        """Return the next bytes to write, b"" for none; the same until `sent`."""
        raise NotImplementedError

    def sent(self, count: int) -> None:
        """Drop `count` bytes of what `peek` returned."""
        raise NotImplementedError

    def clear(self) -> None:
        """Drop everything."""
        raise NotImplementedError
