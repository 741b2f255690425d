"""What a driver moves bytes over: the interface, its errors, and sockets as anyio streams."""

import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

import anyio
import anyio.abc

from pipebus.http.message import Address

RECEIVE_SIZE: Final = 65_536
"""The most bytes that one receive asks for."""

SEND_SIZE: Final = 65_536
"""The most bytes that one send is given: the core hears of progress after each, so a slow peer
that reads on is told from one that does not (`Limits.write_timeout`)."""

EOF: Final = (anyio.EndOfStream,)
"""The peer shut its sending side in order."""

LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
"""The connection is gone: reset, failed or closed here. `ssl.SSLError` is an `OSError`."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Transport(Protocol):
    """A connected byte stream. One task receives, one sends; anyone may close.

    `receive` raises one of `EOF` or `LOST`, `send` and `send_eof` one of `LOST`.
    """

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes; never an empty result."""
        ...

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        ...

    async def send_eof(self) -> None:
        """Shut the sending side; the peer reads an end of file."""
        ...

    def reset_on_close(self) -> None:
        """Make `aclose` reset the connection rather than end it in order."""
        ...

    async def aclose(self) -> None:
        """Close both sides; what `receive` and `send` are waiting for ends with an error."""
        ...


class SocketTransport:
    """A TCP or UNIX socket as an anyio stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream

    @classmethod
    async def from_socket(cls, sock: socket.socket) -> "SocketTransport":
        """Wrap a connected, non-blocking socket and own it; TCP_NODELAY is set on TCP."""
        try:
            if sock.family == socket.AF_UNIX:
                return cls(await anyio.abc.UNIXSocketStream.from_socket(sock))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(await anyio.abc.SocketStream.from_socket(sock))
        except BaseException:
            sock.close()
            raise

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes."""
        return await self._stream.receive(max_bytes)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        await self._stream.send(data)  # type: ignore[arg-type]  # any buffer does, see its backends

    async def send_eof(self) -> None:
        """Shut the sending side."""
        await self._stream.send_eof()

    def reset_on_close(self) -> None:
        """Set SO_LINGER to zero seconds: the close sends RST (no effect on UNIX sockets)."""
        raw = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 (no Django)
        with suppress(OSError):  # closed already, or the peer's reset has come first
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    async def aclose(self) -> None:
        """Close the socket."""
        await self._stream.aclose()


def peer_address(address: object) -> Address:
    """Return a socket's address as `(host, port)`, or the path (empty if unnamed)."""
    match address:
        case (str(host), int(port), *_):
            return host, port
        case str(path):
            return path
        case _:  # bytes: Linux's abstract UNIX addresses; b"" or None: unnamed
            return ""
