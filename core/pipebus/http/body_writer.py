"""Writes a streamed body so that its framing is kept."""

from pipebus.http.framing import Framing
from pipebus.http.send_buffer import SendBuffer


class BodyWriter:
    """One streamed body on its way into a `SendBuffer`; framing `none` discards it."""

    __slots__ = ("framing", "left")

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.left = framing.length
        """Bytes that a `length` body still owes."""

    def write(self, data: bytes, out: SendBuffer) -> None:
        """Write a piece (empty: nothing); more than was promised raises `LocalProtocolError`."""
        raise NotImplementedError

    def end(self, out: SendBuffer) -> None:
        """Write the end; less than was promised raises `LocalProtocolError`."""
        raise NotImplementedError
