"""What a driver moves bytes over: the interface, its errors, and sockets."""

import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

import anyio

from pipebus.http.message import Address
from pipebus_anyio.reader import SocketReader

RECEIVE_SIZE: Final = 65_536
"""The most bytes that one receive asks for."""

SEND_SIZE: Final = 65_536
"""The most bytes that one send is given: the core hears of progress after each, so a slow peer
that reads on is told from one that does not (`Limits.write_timeout`)."""

EOF: Final = (anyio.EndOfStream,)
"""The peer shut its sending side in order."""

LOST: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
"""The connection is gone: reset, failed or closed here. `ssl.SSLError` is an `OSError`."""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which a close sends RST."""


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
    """A connected TCP or UNIX socket, non-blocking; owned.

    anyio's socket streams are not used: on asyncio a failed send makes them forget what has
    arrived, which may be the answer that says why; and each call costs a wait more.
    """

    __slots__ = ("_reader", "_socket")

    def __init__(self, connected: socket.socket, reader: SocketReader) -> None:
        self._socket = connected
        self._reader = reader
        send_at_once(connected)

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes."""
        data = await self._reader.receive(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`; does not yield where the system takes it at once."""
        sock = self._socket
        while True:
            try:
                sent = sock.send(data)
            except BlockingIOError:
                await anyio.wait_writable(sock)
                continue
            if sent == len(data):
                return
            data = memoryview(data)[sent:]

    async def send_eof(self) -> None:
        """Shut the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset_on_close(self) -> None:
        """Set SO_LINGER to zero seconds: the close sends RST (no effect on UNIX sockets)."""
        with suppress(OSError):  # closed already, or the peer's reset has come first
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def aclose(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._reader.close()
            anyio.notify_closing(self._socket)
            self._socket.close()


def send_at_once(sock: socket.socket) -> None:
    """Let a small write go out at once: the last of a message does not wait for an acknowledgement.

    `OSError` if the peer has reset it already (EINVAL, on BSD).
    """
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_address(address: object) -> Address:
    """Return a socket's address as `(host, port)`, or the path (empty if unnamed)."""
    match address:
        case (str(host), int(port), *_):
            return host, port
        case str(path):
            return path
        case _:  # bytes: Linux's abstract UNIX addresses; b"" or None: unnamed
            return ""
