"""Writes a streamed body so that its framing is kept."""

from typing import Final

from pipebus.errors import LocalProtocolError
from pipebus.http import encode
from pipebus.http.framing import Framing
from pipebus.http.send_buffer import SendBuffer

_COPY_UP_TO: Final = 64 * 1024
"""A chunk up to this size is copied into one piece with its frame."""


class BodyWriter:
    """One streamed body on its way into a `SendBuffer`; framing `none` discards it."""

    __slots__ = ("framing", "left")

    def __init__(self, framing: Framing) -> None:
        self.framing: Framing = framing
        self.left: int = framing.length
        """Bytes that a `length` body still owes."""

    def write(self, data: bytes, out: SendBuffer) -> None:
        """Write a piece (empty: nothing); more than was promised raises `LocalProtocolError`."""
        kind = self.framing.kind
        if kind == "none" or not data:
            return
        if kind == "chunked":
            self._write_chunk(data, out)
            return
        if kind == "length":
            if len(data) > self.left:
                raise LocalProtocolError("the body is longer than its content_length")
            self.left -= len(data)
        out.push(data)

    def end(self, out: SendBuffer) -> None:
        """Write the end; less than was promised raises `LocalProtocolError`."""
        if self.framing.kind == "chunked":
            out.push(encode.LAST_CHUNK)
        elif self.left:
            raise LocalProtocolError("the body is shorter than its content_length")

    def _write_chunk(self, data: bytes, out: SendBuffer) -> None:
        if len(data) <= _COPY_UP_TO:
            out.push(encode.chunk(data))
        else:
            out.push(b"%x\r\n" % len(data))
            out.push(data)
            out.push(b"\r\n")
