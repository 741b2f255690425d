"""Peers made of plain sockets: nothing is read, sent or said that the test did not ask for."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio

from pipebus.http.message import Address
from tests.bindings.peer import Peer

T = TypeVar("T")


class RawStream:
    """A non-blocking socket, as a stream that `Peer` can use."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def extra(self, _: object) -> socket.socket:
        return self.sock

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self.sock)

    def send_some(self, data: bytes) -> int:
        """Send until the system takes no more; return how much it took."""
        sent = 0
        with suppress(BlockingIOError):
            while sent < len(data):
                sent += self.sock.send(data[sent : sent + 65_536])
        return sent

    async def receive(self) -> bytes:
        while True:
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)
                continue
            if not data:
                raise anyio.EndOfStream
            return data

    async def send_eof(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self.sock.close()


class TlsStream:
    """TLS over a `RawStream`, by `ssl` and none of our code; `piece`: bytes per send, 0 for all."""

    def __init__(
        self, raw: RawStream, context: ssl.SSLContext, *, hostname: str | None, piece: int = 0
    ) -> None:
        self.raw = raw
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, hostname is None, server_hostname=hostname
        )
        self.piece = piece

    async def push(self) -> None:
        data = self.outgoing.read()
        step = self.piece or len(data)
        for start in range(0, len(data), step or 1):
            await self.raw.send(data[start : start + step])

    async def do(self, act: Callable[..., T], *args: Any) -> T:
        """Do what TLS wants to read or send more for."""
        while True:
            try:
                result = act(*args)
            except ssl.SSLWantReadError:
                await self.push()
                try:
                    self.incoming.write(await self.raw.receive())
                except anyio.EndOfStream:
                    self.incoming.write_eof()
            except ssl.SSLError:
                with suppress(OSError):
                    await self.push()  # the alert
                raise
            else:
                await self.push()
                return result

    async def handshake(self) -> None:
        await self.do(self.tls.do_handshake)

    async def send(self, data: bytes) -> None:
        await self.do(self.tls.write, data)

    async def receive(self) -> bytes:
        try:
            data = await self.do(self.tls.read, 65_536)
        except ssl.SSLZeroReturnError:
            data = b""
        if not data:
            raise anyio.EndOfStream
        return data

    async def send_eof(self) -> None:
        """Send `close_notify`."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.push()

    async def aclose(self) -> None:
        await self.raw.aclose()

    def extra(self, _: object) -> socket.socket:
        return self.raw.sock


def connected(address: Address, *, buffer: int = 0) -> RawStream:
    """Connect to a listener on this machine; `buffer` bounds what waits to be read."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(address)
    sock.setblocking(False)
    return RawStream(sock)


@asynccontextmanager
async def raw_peer(address: Address, *, buffer: int = 0) -> AsyncIterator[Peer]:
    """Connect; close at the end of the block."""
    stream = connected(address, buffer=buffer)
    try:
        yield Peer(stream)
    finally:
        await stream.aclose()


@asynccontextmanager
async def tls_peer(
    address: Address, context: ssl.SSLContext, *, piece: int = 0, buffer: int = 0
) -> AsyncIterator[Peer]:
    """Connect and do the handshake; close, without `close_notify`, at the end of the block."""
    stream = TlsStream(
        connected(address, buffer=buffer), context, hostname="localhost", piece=piece
    )
    try:
        await stream.handshake()
        yield Peer(stream)
    finally:
        await stream.aclose()


@asynccontextmanager
async def upstream(
    tls: ssl.SSLContext | None = None, *, buffer: int = 0
) -> AsyncIterator[tuple[int, Callable[[], Awaitable[Peer]]]]:
    """Listen: gives the port, and how to accept the next connection."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        if buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)

        async def accept() -> Peer:
            await anyio.wait_readable(listener)
            sock, _ = listener.accept()
            sock.setblocking(False)
            accepted.append(sock)
            raw = RawStream(sock)
            if tls is None:
                return Peer(raw)
            stream = TlsStream(raw, tls, hostname=None)
            await stream.handshake()
            return Peer(stream)

        try:
            yield listener.getsockname()[1], accept
        finally:
            for sock in accepted:
                sock.close()
