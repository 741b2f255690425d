"""Where transports come from: the seam between the streams driver and sockets (or memory)."""

import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import anyio

from pipebus.http.message import Address
from pipebus_anyio.bind import BACKLOG, Bind, ListeningSocket, open_listeners
from pipebus_anyio.reader import AnyioReader, SocketReader
from pipebus_anyio.transport import SocketTransport, Transport, peer_address

logger: logging.Logger = logging.getLogger("pipebus")

ACCEPTS_PER_TURN: Final = 64
"""Connections accepted before other tasks get their turn."""
PAUSE_FIRST: Final = 0.05
PAUSE_MOST: Final = 1.0
"""Seconds without accepting after an error, doubling from the first to the most."""
BACKLOG_PAUSE: Final = 0.01
"""Seconds between attempts at a UNIX socket whose backlog is full."""

Open = Callable[[], Awaitable[Transport]]
NewReader = Callable[[socket.socket], SocketReader]
Accepted = Callable[[Open, Address], None]
"""Takes an accepted connection: how to open its transport, and the peer's address."""


class Listener(Protocol):
    """Something that accepts connections at an address."""

    address: Address

    async def accept_forever(self, accepted: Accepted) -> None:
        """Hand on every connection, until cancelled."""
        ...

    def close(self, accepted: Accepted) -> None:
        """Hand on what has already been established, then stop listening."""
        ...


class Network(Protocol):
    """Opens listeners and connections."""

    async def listen(self, bind: Bind) -> list[Listener]:
        """Listen at every address, or raise `OSError` and listen at none."""
        ...

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        """Return a name's addresses, best first; raises `OSError`."""
        ...

    async def connect(self, address: Address) -> Transport:
        """Connect; raises `OSError`."""
        ...


class SocketListener:
    """Accepts TCP or UNIX connections."""

    __slots__ = ("_listening", "_new_reader", "address")

    def __init__(self, listening: ListeningSocket, new_reader: NewReader) -> None:
        self._listening = listening
        self._new_reader = new_reader
        self.address: Address = listening.address

    async def accept_forever(self, accepted: Accepted) -> None:
        """Accept until cancelled; where the system is out of files or memory, pause and say so."""
        pause = 0.0
        while self._listening.sock.fileno() >= 0:  # closed before this began
            await anyio.wait_readable(self._listening.sock)
            if self._listening.sock.fileno() < 0:  # closed between the wake and this task's turn
                return
            error = self._accept_some(ACCEPTS_PER_TURN, accepted)
            if error is None:
                pause = 0.0
                continue
            if not pause:
                logger.error("cannot accept connections at %s: %s", self.address, error)
            pause = min(pause * 2 or PAUSE_FIRST, PAUSE_MOST)
            await anyio.sleep(pause)

    def close(self, accepted: Accepted) -> None:
        """Accept what the backlog holds (closing would reset it), then stop listening."""
        self._accept_some(BACKLOG, accepted)
        # The file's number may be another's before the cancelled waiter comes to take it off.
        anyio.notify_closing(self._listening.sock)
        self._listening.close()

    def _accept_some(self, most: int, accepted: Accepted) -> OSError | None:
        def take(sock: socket.socket, peer: object) -> None:
            accepted(partial(_open, sock, self._new_reader), peer_address(peer))

        return accept_some(self._listening.sock, most, take)


def accept_some(
    listening: socket.socket, most: int, accepted: Callable[[socket.socket, object], None]
) -> OSError | None:
    """Accept at most `most`; return the error that stops it, if it is not just the end."""
    for _ in range(most):
        try:
            sock, peer = listening.accept()
        except BlockingIOError:
            return None
        except ConnectionError:
            continue  # ECONNABORTED: gone before it was accepted
        except OSError as error:
            return error
        sock.setblocking(False)
        accepted(sock, peer)
    return None


async def _open(sock: socket.socket, new_reader: NewReader) -> Transport:
    try:
        return SocketTransport(sock, new_reader(sock))
    except OSError:  # the peer has reset it already
        sock.close()
        raise


class SocketNetwork:
    """The network of the operating system.

    `new_reader` is the runtime's; by default anyio does it. `unix_mode`: permissions of UNIX
    sockets listened at.
    """

    __slots__ = ("_new_reader", "_unix_mode")

    def __init__(
        self, new_reader: NewReader = AnyioReader, *, unix_mode: int | None = None
    ) -> None:
        self._new_reader = new_reader
        self._unix_mode = unix_mode

    async def listen(self, bind: Bind) -> list[Listener]:
        """Listen at every address of `bind`."""
        sockets = await open_listeners(bind, unix_mode=self._unix_mode)
        return [SocketListener(listening, self._new_reader) for listening in sockets]

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        """Return a name's addresses, best first."""
        return await resolve(host, port)

    async def connect(self, address: Address) -> Transport:
        """Connect to one address."""
        sock = new_socket(address)
        try:
            await _connect(sock, address)
            return SocketTransport(sock, self._new_reader(sock))
        except BaseException:
            sock.close()
            raise


async def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """Return a name's addresses in the system's order (RFC 6724); an address is its own."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(where[0], where[1]) for _, _, _, _, where in found]
    return [(host, port)]


def new_socket(address: Address) -> socket.socket:
    """Return a non-blocking socket of an address's kind."""
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


async def _connect(sock: socket.socket, address: Address) -> None:
    """Connect one socket to one address; `anyio.connect_tcp` would race several of its own."""
    while True:
        try:
            sock.connect(address)
        except BlockingIOError:
            if sock.family != socket.AF_UNIX:
                break
            # The backlog is full (connect(2): EAGAIN), and there is nothing to wait for.
            await anyio.sleep(BACKLOG_PAUSE)
        else:
            return
    await anyio.wait_writable(sock)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
