"""How bytes come out of a socket: what differs from one async library to another."""

import socket
from typing import Protocol

import anyio


class SocketReader(Protocol):
    """Reads one non-blocking socket for one task. It has to be closed before the socket is."""

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes, and return at most so many; `b""` at the end of the file.

        Raises `OSError`, and `anyio.ClosedResourceError` once closed. Bytes that came as the task
        was cancelled are the next call's.
        """
        ...

    def close(self) -> None:
        """End the current `receive` and every later one; harmless a second time."""
        ...


class AnyioReader:
    """Waits by anyio: on trio the library's own way."""

    __slots__ = ("_closed", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._closed = False

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes."""
        while not self._closed:
            # First, not only where nothing is there yet: so a busy peer leaves others their turn.
            await anyio.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                continue
        raise anyio.ClosedResourceError

    def close(self) -> None:
        """End what waits for the socket."""
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._socket)
