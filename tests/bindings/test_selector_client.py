"""The selector driver's client: attempts to connect."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.engine.engine import Engine
from pipebus.errors import ConnectError, ConnectTimeout
from pipebus.limits import Timeouts
from pipebus_anyio import attempt
from pipebus_anyio.selector import SelectorDriver
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import until
from tests.bindings.quiet import (
    Sweeps,
    assert_rests,
    driver_of,
    unfinished,
)
from tests.bindings.raw import RawStream, upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

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
    class Faulty:
        def __init__(self, engine: Engine) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def connected(self, *_: object) -> None:
            raise LookupError("a fault")

    async with upstream() as (port, accept), stack.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(driver_of(client), "engine", Faulty(client._engine))
            with pytest.raises(ConnectError):
                await client.get(f"http://127.0.0.1:{port}/")
        assert driver_of(client)._watched == {}
        assert await (await accept()).rest() == b""
    assert "a fault" in caplog.text
