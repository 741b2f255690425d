"""A peer that speaks raw bytes, with h11 (not our code) reading what comes back."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
import h11
from anyio.streams.tls import TLSStream

from pipebus.http.message import Address


@dataclass
class Answer:
    """A response as h11 reads it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool
    """The connection cannot be used for another."""


class Peer:
    """One connection to a server under test."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._left = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def end(self) -> None:
        await self.stream.send_eof()

    async def close(self) -> None:
        await self.stream.aclose()

    async def receive(self) -> bytes:
        """Return what comes next, or b"" at the end."""
        if self._left:
            data, self._left = self._left, b""
            return data
        try:
            data = await self.stream.receive()
        except anyio.EndOfStream:
            return b""
        assert isinstance(data, bytes)
        return data

    async def rest(self) -> bytes:
        """Read until the server ends the connection in order."""
        pieces = []
        while data := await self.receive():
            pieces.append(data)
        return b"".join(pieces)

    async def until(self, end: bytes) -> bytes:
        """Read up to and including `end`."""
        got = b""
        while end not in got:
            data = await self.receive()
            assert data, f"ended after {got!r}"
            got += data
        head, self._left = got.split(end, 1)
        return head + end

    async def answer(self, method: str = "GET") -> Answer:
        """Read one response to its end."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = b""
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(await self.receive())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), event
        self._left = reader.trailing_data[0]
        assert head is not None
        fields = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, fields, body, reader.our_state is h11.MUST_CLOSE)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its response."""
        await self.send(request)
        return await self.answer(request.split(b" ", 1)[0].decode())

    def reset(self) -> None:
        """Make the coming close a reset."""
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@asynccontextmanager
async def peer(address: Address, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Connect; close at the end of the block."""
    stream: Any
    if isinstance(address, str):
        stream = await anyio.connect_unix(address)
    else:
        stream = await anyio.connect_tcp(*address)
        if tls is not None:
            plain = stream
            try:
                stream = await TLSStream.wrap(
                    plain, hostname="localhost", ssl_context=tls, standard_compatible=False
                )
            except BaseException:
                await plain.aclose()
                raise
    async with stream:
        yield Peer(stream)


def get(path: str, *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    """Return a request without a body."""
    return request(method, path, *fields, version=version)


def post(path: str, body: bytes, *fields: str) -> bytes:
    """Return a request with a body of known length."""
    return request("POST", path, f"Content-Length: {len(body)}", *fields) + body


def request(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something is true, for what says nothing when it becomes so."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 (the core has no event to wait for)
            await anyio.sleep(0.001)
