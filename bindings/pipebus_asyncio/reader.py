"""Reads a socket in the selector's callback, which stays registered from one read to the next."""

import asyncio
import socket

import anyio


class AsyncioReader:
    """A `SocketReader` that leaves the selector alone while its task reads and waits in turn.

    anyio (and asyncio's own `sock_recv`) register and unregister at each wait, which costs a small
    request a fifth of its CPU. The callback itself reads: if it only woke the task, the loop would
    find the socket readable once more before that task had its turn.
    """

    __slots__ = ("_arrived", "_closed", "_future", "_loop", "_max", "_registered", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._future: asyncio.Future[None] | None = None
        self._arrived: bytes | OSError | None = None
        self._max = 0
        self._registered = False
        self._closed = False

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes."""
        if self._arrived is None and not self._closed:
            self._max = max_bytes
            self._future = self._loop.create_future()
            if not self._registered:
                self._loop.add_reader(self._socket, self._on_readable)
                self._registered = True
            await self._future
        arrived, self._arrived = self._arrived, None
        if arrived is None:
            raise anyio.ClosedResourceError
        if isinstance(arrived, OSError):
            raise arrived
        return arrived

    def _on_readable(self) -> None:
        future = self._future
        if future is None or future.done():
            # Nobody waits: the task is busy, or was cancelled. The selector would say it again and
            # again, so it is told to be quiet until somebody does.
            self._unregister()
            return
        try:
            self._arrived = self._socket.recv(self._max)
        except BlockingIOError:
            return
        except OSError as error:
            self._arrived = error
        future.set_result(None)

    def close(self) -> None:
        """End what waits; the selector must forget the socket before its number is used again."""
        self._closed = True
        self._unregister()
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def _unregister(self) -> None:
        if self._registered:
            self._registered = False
            self._loop.remove_reader(self._socket)
