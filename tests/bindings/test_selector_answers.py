"""The selector driver's client: servers that stop, go or reset in the middle."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from pipebus.errors import ClientError, UpstreamProtocolError
from pipebus.limits import ClientLimits, Timeouts
from pipebus_anyio import attempt
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, until
from tests.bindings.quiet import (
    ENDING,
    READING,
    WRITING,
    Sweeps,
    assert_rests,
    connections,
    interest,
    unfinished,
)
from tests.bindings.raw import upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

NEVER = Timeouts(connect=None, write=None, read=None, pool=None, total=None)
SMALL = ClientLimits(read_ahead=1_000)
STREAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536


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
