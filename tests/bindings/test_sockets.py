"""What sockets do that no test can make happen at will: stand-ins that do it once."""

import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.errors import UpstreamProtocolError
from pipebus.http.message import Address
from pipebus_anyio import network as network_module
from pipebus_anyio.client import within
from pipebus_anyio.network import SocketNetwork
from pipebus_anyio.server import Surroundings
from pipebus_anyio.transport import LOST, SocketTransport, Transport
from tests.bindings.conftest import Stack

pytestmark = pytest.mark.anyio


class Spurious(socket.socket):
    """Was readable, but not when it was read: epoll(7) allows it."""

    empty = 1

    def recv(self, *args: Any) -> bytes:
        if self.empty:
            self.empty -= 1
            raise BlockingIOError
        return super().recv(*args)


async def test_readable_was_a_mistake(stack: Stack) -> None:
    one, other = socket.socketpair()
    with other, Spurious(fileno=one.detach()) as spurious:
        spurious.setblocking(False)
        other.send(b"there")
        assert await SocketTransport(spurious).receive() == b"there"


async def test_a_closed_transport(stack: Stack) -> None:
    one, other = socket.socketpair()
    with other:
        transport = SocketTransport(one)
        await transport.aclose()
        await transport.aclose()
        transport.reset_on_close()
        for use in (transport.receive(), transport.send(b"x"), transport.send_eof()):
            with pytest.raises(LOST):
                await use


class Unsettable(socket.socket):
    def setsockopt(self, *_: Any) -> None:
        raise OSError("reset already")


async def test_a_socket_that_cannot_be_set_up_is_closed(stack: Stack) -> None:
    sock = Unsettable()
    with pytest.raises(OSError, match="reset already"):
        await network_module._open(sock)
    assert sock.fileno() == -1


async def test_a_unix_socket_whose_backlog_is_full(stack: Stack, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            connected = anyio.Event()

            async def connect() -> None:
                transport = await SocketNetwork().connect(path)
                connected.set()
                await transport.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connect)
                await anyio.wait_all_tasks_blocked()
                assert not connected.is_set()
                listener.accept()[0].close()
                await connected.wait()


class Refusing:
    """Sends nothing; what the server said before it closed can still be read."""

    def __init__(self, answer: bytes) -> None:
        self.left = [answer] if answer else []
        self.refused = anyio.Event()

    async def receive(self, max_bytes: int = 0) -> bytes:
        await self.refused.wait()
        if not self.left:
            raise ConnectionResetError
        return self.left.pop()

    async def send(self, data: bytes | memoryview) -> None:
        self.refused.set()
        raise BrokenPipeError

    async def send_eof(self) -> None:
        raise BrokenPipeError

    def reset_on_close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class RefusingNetwork(SocketNetwork):
    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    async def connect(self, address: Address) -> Transport:
        return Refusing(self.answer)


async def refused(stack: Stack, answer: bytes) -> Any:
    client = stack.client()
    within(client, Surroundings(network=RefusingNetwork(answer)))
    async with client:
        return await client.post("http://127.0.0.1/", body=b"x" * 100)


async def test_an_answer_is_heard_out_though_the_request_could_not_be_sent(stack: Stack) -> None:
    answer = await refused(stack, b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nmuch")
    assert (answer.status, answer.body) == (413, b"much")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nm"])
async def test_a_failed_send_without_a_whole_answer_fails(stack: Stack, answer: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        await refused(stack, answer)
