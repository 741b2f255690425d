"""What sockets do that no test can make happen at will: stand-ins that do it once."""

import importlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipebus.errors import UpstreamProtocolError
from pipebus.http.message import Address
from pipebus_anyio import network as network_module
from pipebus_anyio.client import within
from pipebus_anyio.network import SocketNetwork
from pipebus_anyio.reader import SocketReader
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import Surroundings
from pipebus_anyio.transport import LOST, SocketTransport, Transport
from tests.bindings.conftest import STREAMS, Stack

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", STREAMS, ids=str, indirect=True),
]


def new_reader(stack: Stack) -> Callable[[socket.socket], SocketReader]:
    """Return what this cell's runtime watches sockets with."""
    module = importlib.import_module(f"pipebus_{stack.runtime}.runtime")
    runtime: Runtime = getattr(module, f"{stack.runtime.capitalize()}Runtime")()
    return runtime.new_reader


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
        transport = SocketTransport(spurious, new_reader(stack)(spurious))
        assert await transport.receive() == b"there"
        await transport.aclose()


async def test_a_closed_transport(stack: Stack) -> None:
    one, other = socket.socketpair()
    with other:
        transport = SocketTransport(one, new_reader(stack)(one))
        await transport.aclose()
        await transport.aclose()
        transport.reset_on_close()
        for use in (transport.receive(), transport.send(b"x"), transport.send_eof()):
            with pytest.raises(LOST):
                await use


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[tuple[SocketReader, socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    reader = new_reader(stack)(one)
    with one, other:
        yield reader, one, other
        reader.close()


async def test_one_read_after_the_other(stack: Stack) -> None:
    async with watched(stack) as (reader, _, other):
        for n in range(3):
            other.send(b"%d!" % n)
            assert await reader.receive(1) == b"%d" % n
            assert await reader.receive(10) == b"!"
        with anyio.move_on_after(0.01) as scope:
            await reader.receive(10)
        assert scope.cancelled_caught
        other.close()
        assert await reader.receive(10) == b""
        assert await reader.receive(10) == b""


async def test_what_comes_while_nobody_waits_is_read_later_and_costs_nothing(stack: Stack) -> None:
    async with watched(stack) as (reader, _, other):
        other.send(b"12")
        assert await reader.receive(1) == b"1"
        before = time.process_time()
        await anyio.sleep(0.1)  # a selector that nobody told to be quiet would spin
        assert time.process_time() - before < 0.05
        assert await reader.receive(1) == b"2"


async def test_a_cancelled_read_takes_nothing_from_the_next(stack: Stack) -> None:
    async with watched(stack) as (reader, _, other):
        for late in range(4):  # before the bytes are seen, and after
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader.receive, 10)
                await anyio.wait_all_tasks_blocked()
                other.send(b"%d" % late)
                for _ in range(late):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            other.send(b".")
            got = b""
            while not got.endswith(b"."):
                got += await reader.receive(10)
            # A task that had its turn with the bytes was not cancelled: it has returned them.
            assert got in (b"%d." % late, b".")
            assert late or got == b"0."


async def test_a_reset_is_raised(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        near.setblocking(False)
        reader = new_reader(stack)(near)
        with near:
            far, _ = listener.accept()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            far.close()
            with pytest.raises(ConnectionResetError):
                await reader.receive(10)
            reader.close()


async def test_closing_ends_a_read_and_later_ones(stack: Stack) -> None:
    async with watched(stack) as (reader, _, _):
        refused: list[int] = []

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await reader.receive(10)
            refused.append(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            reader.close()
        reader.close()
        await receive()
        assert len(refused) == 2


class Unsettable(socket.socket):
    def setsockopt(self, *_: Any) -> None:
        raise OSError("reset already")


async def test_a_socket_that_cannot_be_set_up_is_closed(stack: Stack) -> None:
    sock = Unsettable()
    with pytest.raises(OSError, match="reset already"):
        await network_module._open(sock, new_reader(stack))
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


@pytest.mark.anyio
async def test_a_listener_that_closes_before_its_task_has_its_turn_is_no_trouble(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (listener,) = await SocketNetwork().listen("127.0.0.1:0")

    async def wake_when_closed(_: socket.socket) -> None:
        listener.close(lambda *_: None)

    monkeypatch.setattr(anyio, "wait_readable", wake_when_closed)
    await listener.accept_forever(lambda *_: None)
    assert caplog.text == ""
