"""The selector driver's client: attempts, and servers that stop, go or reset in the middle."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.errors import ClientError, ConnectError, ConnectTimeout, UpstreamProtocolError
from pipebus.limits import ClientLimits, Timeouts
from pipebus_anyio import attempt
from pipebus_anyio.client import BaseClient
from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.socket_connection import SocketConnection
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, until
from tests.bindings.quiet import ENDING, READING, WRITING, Sweeps, assert_rests
from tests.bindings.raw import RawStream, upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

NEVER = Timeouts(connect=None, write=None, read=None, pool=None, total=None)
SMALL = ClientLimits(read_ahead=1_000)


def driver_of(client: BaseClient) -> SelectorDriver:
    driver: Any = client._host
    driver = driver._driver
    assert isinstance(driver, SelectorDriver)
    return driver


def connections(client: BaseClient) -> list[SocketConnection]:
    watched = driver_of(client)._watched.values()
    return [one for one in watched if isinstance(one, SocketConnection)]


def interest(client: BaseClient) -> int:
    found = connections(client)
    return found[0]._interest if found else -1


def unfinished(client: BaseClient) -> int:
    return client._engine.client.unfinished


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536


# --- attempts ----------------------------------------------------------------------------------


async def test_the_driver_can_be_chosen(stack: Stack) -> None:
    async with stack.client() as client:
        assert driver_of(client).name == "selector"
    async with stack.package.Client(driver="streams") as client:
        assert client._host._driver.name == "streams"
    with pytest.raises(ValueError, match="driver must be one of auto, selector, streams"):
        async with stack.package.Client(driver="kqueue"):
            pass


async def test_nobody_listens(stack: Stack, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with stack.client() as client:
            with pytest.raises(ConnectError, match="refused"):
                await client.get(f"http://127.0.0.1:{free.getsockname()[1]}/")
            nowhere = str(tmp_path / "s").replace("/", "%2F")
            with pytest.raises(ConnectError, match="No such file"):
                await client.get(f"http+unix://{nowhere}/")
            assert unfinished(client) == 0
            assert driver_of(client).attempts == {}


async def test_a_path_that_is_too_long(stack: Stack) -> None:
    async with stack.client() as client:
        with pytest.raises(ConnectError, match="too long"):
            await client.get(f"http+unix://%2F{'x' * 200}/")


@asynccontextmanager
async def full_backlog(address: Any) -> AsyncIterator[tuple[socket.socket, Callable[[], None]]]:
    """Listen where the next connection has to wait until the function is called."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as first:
        listener.bind(address)
        listener.listen(0)
        first.connect(listener.getsockname())

        def make_room() -> None:
            listener.accept()[0].close()

        yield listener, make_room


async def test_an_attempt_that_takes_too_long_is_abandoned(stack: Stack, sweeps: Sweeps) -> None:
    async with (
        full_backlog(("127.0.0.1", 0)) as (listener, _),
        stack.client(timeouts=Timeouts(connect=0.5)) as client,
        anyio.create_task_group() as tasks,
    ):

        async def call() -> None:
            with pytest.raises(ConnectTimeout):
                await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")

        tasks.start_soon(call)
        await until(lambda: len(driver_of(client).attempts) == 1)
        (waiting,) = driver_of(client).attempts.values()
        await assert_rests(sweeps)
        await until(lambda: unfinished(client) == 0)
        assert waiting.sock.fileno() == -1
        assert driver_of(client).attempts == {}
        assert driver_of(client)._watched == {}


async def test_a_unix_socket_whose_backlog_is_full_is_tried_again(
    stack: Stack, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    url = f"http+unix://{path.replace('/', '%2F')}/"
    async with (
        full_backlog(path) as (listener, make_room),
        stack.client() as client,
        anyio.create_task_group() as tasks,
    ):
        with pytest.raises(ConnectTimeout):
            await client.get(url, timeouts=Timeouts(connect=0.05))
        assert driver_of(client)._watched == {}
        answers: list[int] = []

        async def call() -> None:
            answers.append((await client.get(url)).status)

        tasks.start_soon(call)
        await until(lambda: len(driver_of(client).attempts) == 1)
        make_room()
        listener.setblocking(False)
        await anyio.wait_readable(listener)
        sock, _ = listener.accept()
        sock.setblocking(False)
        with sock:
            await RawStream(sock).send(b"HTTP/1.1 204 No Content\r\n\r\n")
            await until(lambda: answers == [204])


async def test_an_attempt_that_is_cancelled_leaves_nothing(stack: Stack) -> None:
    async with full_backlog(("127.0.0.1", 0)) as (listener, _), stack.client() as client:
        with anyio.move_on_after(0.05):
            await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert unfinished(client) == 0
        assert driver_of(client)._watched == {}


async def test_a_connection_that_comes_too_late_is_closed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core did not want the attempt any more, and the driver was not told in time."""
    trusted = certificates()
    async with (
        upstream(trusted.server) as (port, accept),
        stack.client(verify=trusted.client) as client,
    ):
        monkeypatch.setattr(SelectorDriver, "abandon_connect", lambda *_: None)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, f"https://localhost:{port}/")
                await until(lambda: len(driver_of(client).attempts) == 1)
                scope.cancel()
        late = await accept()  # the handshake is done: the driver reports a connection
        with pytest.raises(ssl.SSLEOFError):
            await late.rest()
        await until(lambda: driver_of(client).attempts == {})
        assert driver_of(client)._watched == {}


async def test_a_socket_that_cannot_be_made_or_set_up(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    class Unsettable(socket.socket):
        def setsockopt(self, *_: Any) -> None:
            raise OSError(22, "reset already")

    def unsettable(_: object) -> socket.socket:
        sock = Unsettable()
        sock.setblocking(False)
        return sock

    async with upstream() as (port, _), stack.client() as client:
        for new_socket, why in ((none, "Too many"), (unsettable, "reset already")):
            monkeypatch.setattr(attempt, "new_socket", new_socket)
            with pytest.raises(ConnectError, match=why):
                await client.get(f"http://127.0.0.1:{port}/")
        assert driver_of(client)._watched == {}


async def test_a_fault_in_an_attempt_is_said_and_fails_its_call(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object) -> None:
        raise LookupError("a fault")

    async with upstream() as (port, accept), stack.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(client._engine, "connected", fault)
            with pytest.raises(ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")
        assert driver_of(client)._watched == {}
        assert await (await accept()).rest() == b""
    assert "a fault" in caplog.text


# --- answers ------------------------------------------------------------------------------------

STREAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"


@pytest.mark.parametrize("missing", [0, 1_000])
@pytest.mark.parametrize("how", ["reset", "end", "end and reset"])
async def test_what_a_server_said_before_it_went_is_read_by_a_slow_reader(
    stack: Stack, sweeps: Sweeps, how: str, missing: int
) -> None:
    async with (
        upstream() as (port, accept),
        stack.client(limits=SMALL, timeouts=NEVER) as client,
        anyio.create_task_group() as tasks,
    ):
        got: list[bytes] = []
        began, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()

        async def call() -> None:
            async with client.stream("GET", f"http://127.0.0.1:{port}/") as answer:
                began.set()
                await go_on.wait()
                try:
                    async for piece in answer:
                        got.append(piece)
                except UpstreamProtocolError:
                    got.append(b"cut")
            ended.set()

        tasks.start_soon(call)
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        await peer.send(STREAMED + b"x" * 30_000)
        await began.wait()
        await until(lambda: interest(client) == ENDING)
        await assert_rests(sweeps)
        await peer.send(b"x" * (20_000 - missing))
        if "end" in how:
            await peer.end()
            await until(lambda: interest(client) == 0)
            await assert_rests(sweeps)
        if "reset" in how:
            peer.reset()
            await peer.close()
            await until(lambda: connections(client) == [])
            await assert_rests(sweeps)
            assert unfinished(client) == 2  # the call, and its connection
        go_on.set()
        await ended.wait()
        assert b"".join(got) == b"x" * (50_000 - missing) + (b"cut" if missing else b"")
        await until(lambda: unfinished(client) == 0)
        assert connections(client) == []


async def test_a_call_that_is_cancelled_lets_go_of_a_server_that_has_gone(
    stack: Stack, sweeps: Sweeps
) -> None:
    async with upstream() as (port, accept), stack.client(limits=SMALL, timeouts=NEVER) as client:
        async with anyio.create_task_group() as tasks:
            began = anyio.Event()

            async def call() -> None:
                url = f"http://127.0.0.1:{port}/"
                async with client.stream("POST", url, body=endless()):
                    began.set()
                    await anyio.sleep_forever()

            tasks.start_soon(call)
            peer = await accept()
            await peer.until(b"\r\n\r\n")
            await peer.send(STREAMED + b"x" * 30_000)
            await began.wait()
            await until(lambda: interest(client) == ENDING | WRITING)
            await assert_rests(sweeps)
            (one,) = connections(client)
            peer.reset()
            await peer.close()
            await until(lambda: connections(client) == [])
            await assert_rests(sweeps)
            assert one.sock.fileno() != -1
            tasks.cancel_scope.cancel()
        assert one.sock.fileno() == -1
        assert unfinished(client) == 0


async def test_an_early_answer_ends_a_connection_that_nobody_reads(stack: Stack) -> None:
    """What is left of the request waits for nobody: the core has dropped it, and has no clock."""
    async with upstream() as (port, accept), stack.client(timeouts=NEVER) as client:
        async with anyio.create_task_group() as tasks:
            answers: list[bytes] = []

            async def call() -> None:
                answers.append(
                    (await client.post(f"http://127.0.0.1:{port}/", body=endless())).body
                )

            tasks.start_soon(call)
            peer = await accept()
            await peer.until(b"\r\n\r\n")
            await until(lambda: interest(client) == READING | WRITING)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await until(lambda: answers == [b"ok"])
        assert connections(client) == []
        assert unfinished(client) == 0


async def test_an_idle_connection_that_the_server_ends_is_closed(
    stack: Stack, sweeps: Sweeps
) -> None:
    async with (
        upstream() as (port, accept),
        stack.client() as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.get, f"http://127.0.0.1:{port}/")
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: unfinished(client) == 1)
        await assert_rests(sweeps)
        await peer.close()
        await until(lambda: connections(client) == [])


class Failing(socket.socket):
    """Sends a request's head and then fails; what the server said can still be read."""

    error: OSError
    took = 0

    def send(self, *args: Any) -> int:
        if self.took:
            raise self.error
        self.took = super().send(*args)
        return self.took


async def send_fails(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, error: OSError, answer: bytes
) -> bytes:
    """Call a server that answers and ends in order; the request's body cannot be sent."""

    def new_socket(_: object) -> socket.socket:
        sock = Failing()
        sock.error = error
        sock.setblocking(False)
        return sock

    monkeypatch.setattr(attempt, "new_socket", new_socket)
    failed = anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        failed.set()
        await anyio.sleep_forever()

    async with (
        upstream() as (port, accept),
        stack.client(timeouts=NEVER) as client,
        anyio.create_task_group() as tasks,
    ):
        bodies: list[bytes | ClientError] = []

        async def call() -> None:
            try:
                bodies.append((await client.post(f"http://127.0.0.1:{port}/", body=body())).body)
            except ClientError as raised:
                bodies.append(raised)

        tasks.start_soon(call)
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        await failed.wait()
        await peer.send(answer)
        await peer.end()
        await until(lambda: bool(bodies))
        await until(lambda: unfinished(client) == 0)
        assert connections(client) == []
    (outcome,) = bodies
    if isinstance(outcome, ClientError):
        raise outcome
    return outcome


PIPE, RESET = BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "reset")


@pytest.mark.parametrize("error", [PIPE, RESET])
async def test_an_answer_is_heard_out_though_the_request_could_not_be_sent(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    answer = b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nmuch"
    assert await send_fails(stack, monkeypatch, error, answer) == b"much"
    with pytest.raises(UpstreamProtocolError):
        await send_fails(stack, monkeypatch, error, answer[:-1])
    with pytest.raises(UpstreamProtocolError):
        await send_fails(stack, monkeypatch, error, b"")


async def test_a_body_that_lasts_until_the_end_is_cut_by_a_reset(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of a reset once: the send is told, and reading then looks like the end."""
    answer = b"HTTP/1.1 413 No\r\n\r\nmuch"
    assert await send_fails(stack, monkeypatch, PIPE, answer) == b"much"
    with pytest.raises(UpstreamProtocolError):
        await send_fails(stack, monkeypatch, RESET, answer)


async def test_a_server_that_goes_on_reading_though_it_has_shut_its_side(stack: Stack) -> None:
    async with (
        upstream() as (port, accept),
        stack.client(timeouts=NEVER) as client,
        anyio.create_task_group() as tasks,
    ):
        outcome: list[object] = []

        async def call() -> None:
            try:
                outcome.append(await client.post(f"http://127.0.0.1:{port}/", body=endless()))
            except UpstreamProtocolError as error:
                outcome.append(error)

        tasks.start_soon(call)
        peer: Peer = await accept()
        await peer.until(b"\r\n\r\n")
        await peer.end()  # no answer will come
        await until(lambda: bool(outcome))
        assert isinstance(outcome[0], UpstreamProtocolError)
        assert connections(client) == []
