"""A network in memory: listeners, connections and names, without sockets and without delay."""

from collections import deque
from typing import Final

import anyio
import anyio.lowlevel

from pipebus.http.message import Address
from pipebus_anyio.bind import Bind, InheritedBind, UnixBind, parse_bind
from pipebus_anyio.network import Accepted, Listener
from pipebus_anyio.transport import RECEIVE_SIZE

BUFFER: Final = 65_536
"""Bytes that one direction of a connection holds before `send` waits."""
_FIRST_PORT: Final = 49_152
_LOOPBACK: Final = "127.0.0.1"


class _Pipe:
    """One direction of a connection."""

    __slots__ = ("_changed", "closed", "ended", "pieces", "reset", "size")

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.size: int = 0
        self.ended: bool = False
        """The writer shut it."""
        self.closed: bool = False
        """The reader is gone."""
        self.reset: bool = False
        self._changed = anyio.Event()

    def change(self) -> None:
        """Wake whoever waits at either end."""
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait until the other end did something."""
        await self._changed.wait()


class MemoryTransport:
    """One end of a connection in memory; also what a test talks raw bytes over.

    As with TCP on Linux, data that was sent can be read after its sender has closed or reset, and
    writing to a peer that has closed fails.
    """

    __slots__ = ("_incoming", "_outgoing", "_resets", "closed", "peer")

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: Address) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._resets = False
        self.closed: bool = False
        self.peer: Address = peer
        """The other end's address."""

    async def opened(self) -> "MemoryTransport":
        """Return this end: it is open already."""
        return self

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for bytes; `EndOfStream` once the peer shut its side and all was read."""
        await anyio.lowlevel.checkpoint()
        pipe = self._incoming
        while True:
            if self.closed:
                raise anyio.ClosedResourceError
            if pipe.pieces:
                break
            if pipe.reset:
                raise anyio.BrokenResourceError
            if pipe.ended:
                raise anyio.EndOfStream
            await pipe.changed()
        piece = pipe.pieces.popleft()
        if len(piece) > max_bytes:
            pipe.pieces.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        pipe.size -= len(piece)
        pipe.change()
        return piece

    async def receive_all(self) -> bytes:
        """Read until the peer ends its side; for tests."""
        pieces = []
        while True:
            try:
                pieces.append(await self.receive())
            except anyio.EndOfStream:
                return b"".join(pieces)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`, waiting while the peer does not read."""
        await anyio.lowlevel.checkpoint()
        pipe = self._outgoing
        rest = bytes(data)
        while rest:
            if self.closed or pipe.ended:
                raise anyio.ClosedResourceError
            if pipe.closed or pipe.reset:
                raise anyio.BrokenResourceError
            room = BUFFER - pipe.size
            if room <= 0:
                await pipe.changed()
                continue
            pipe.pieces.append(rest[:room])
            pipe.size += len(pipe.pieces[-1])
            rest = rest[room:]
            pipe.change()

    async def send_eof(self) -> None:
        """Shut the sending side."""
        self._outgoing.ended = True
        self._outgoing.change()
        await anyio.lowlevel.checkpoint()

    def reset_on_close(self) -> None:
        """Make `aclose` reset the connection."""
        self._resets = True

    async def aclose(self) -> None:
        """Close both sides; with bytes unread the peer sees a reset, as with TCP."""
        if not self.closed:
            self.closed = True
            if self._resets or self._incoming.pieces:
                self._outgoing.reset = True
                self._incoming.reset = True
            self._outgoing.ended = True
            self._incoming.closed = True
            self._incoming.pieces.clear()
            self._outgoing.change()
            self._incoming.change()
        await anyio.lowlevel.checkpoint()


class MemoryListener:
    """Accepts connections of a `MemoryNetwork`."""

    __slots__ = ("_arrived", "_backlog", "_network", "address")

    def __init__(self, network: "MemoryNetwork", address: Address) -> None:
        self._network = network
        self._backlog: deque[MemoryTransport] = deque()
        self._arrived = anyio.Event()
        self.address: Address = address

    def arrive(self, transport: MemoryTransport) -> None:
        """Take a connection that a peer opened."""
        self._backlog.append(transport)
        self._arrived.set()

    async def accept_forever(self, accepted: Accepted) -> None:
        """Hand on connections until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            self._hand_on(accepted)

    def close(self, accepted: Accepted) -> None:
        """Hand on what has arrived, then refuse."""
        self._hand_on(accepted)
        self._network.listeners.pop(self.address, None)

    def _hand_on(self, accepted: Accepted) -> None:
        while self._backlog:
            transport = self._backlog.popleft()
            accepted(transport.opened, transport.peer)


class MemoryNetwork:
    """Names, addresses and connections that exist only in this process.

    Every name resolves to 127.0.0.1 unless `names` says otherwise; an `OSError` there is raised.
    """

    def __init__(self) -> None:
        self.listeners: dict[Address, MemoryListener] = {}
        self.names: dict[str, list[str] | OSError] = {}
        self._next_port = _FIRST_PORT

    async def listen(self, bind: Bind) -> list[Listener]:
        """Listen at every address of `bind`; a name is the loopback address, as in `resolve`."""
        opened: list[Listener] = []
        for one in parse_bind(bind):
            address: Address
            if isinstance(one, UnixBind):
                address = one.path
            elif isinstance(one, InheritedBind):
                raise OSError(f"cannot listen on fd:{one.fd}: no socket in memory is inherited")
            else:
                port = one.port or self._port()
                address = (one.host if one.host[:1].isdigit() else _LOOPBACK, port)
            if address in self.listeners:
                raise OSError(f"cannot listen on {address}: in use")
            listener = self.listeners[address] = MemoryListener(self, address)
            opened.append(listener)
        return opened

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        """Look a name up in `names`."""
        await anyio.lowlevel.checkpoint()
        found = [host] if host[:1].isdigit() else self.names.get(host, [_LOOPBACK])
        if isinstance(found, OSError):
            raise found
        return [(address, port) for address in found]

    async def connect(self, address: Address) -> MemoryTransport:
        """Connect to a listener, or raise `ConnectionRefusedError`."""
        await anyio.lowlevel.checkpoint()
        listener = self.listeners.get(address)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        here: Address = "" if isinstance(address, str) else (_LOOPBACK, self._port())
        up, down = _Pipe(), _Pipe()
        listener.arrive(MemoryTransport(up, down, here))
        return MemoryTransport(down, up, address)

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port
