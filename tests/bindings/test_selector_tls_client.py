"""TLS of the selector driver, a client's: certificates, handshakes, cuts."""

import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from pipebus.errors import ConnectError, ConnectTimeout, UpstreamProtocolError
from pipebus.limits import Timeouts
from pipebus_anyio import attempt, tls_connection
from pipebus_anyio.tls_connection import TlsConnection
from pipebus_anyio.tls_layer import TlsLayer
from tests.bindings.app import App
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import until
from tests.bindings.quiet import WRITING, Sweeps, assert_rests, connections, unfinished
from tests.bindings.raw import TlsStream, upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

UNTIMED = Timeouts(connect=None, write=None, read=None, pool=None, total=None)
SERVER, CLIENT = certificates().server, certificates().client


async def test_a_certificate_for_another_name(stack: Stack) -> None:
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates().authority.issue_cert("example.org").configure_cert(other)
    async with (
        upstream() as (port, accept),
        stack.client(verify=CLIENT) as client,
        anyio.create_task_group() as tasks,
    ):
        alerts: list[str] = []

        async def serve() -> None:
            stream = TlsStream((await accept()).stream, other, hostname=None)
            with pytest.raises(ssl.SSLError) as raised:
                await stream.handshake()
                await stream.receive()
            alerts.append(str(raised.value))

        tasks.start_soon(serve)
        with pytest.raises(ConnectError, match="certificate verify failed"):
            await client.get(f"https://localhost:{port}/")
        await until(lambda: bool(alerts))
        assert "alert" in alerts[0].lower()
        assert connections(client) == []


async def test_a_name_that_tls_does_not_take(stack: Stack) -> None:
    async with upstream() as (port, _), stack.client(verify=CLIENT) as client:
        with pytest.raises(ConnectError):
            await client.get(f"https://.127.0.0.1:{port}/", timeouts=Timeouts(connect=1))
        assert connections(client) == []


async def test_a_server_that_does_not_shake_hands_is_abandoned(
    stack: Stack, sweeps: Sweeps
) -> None:
    async with (
        upstream() as (port, accept),
        stack.client(verify=CLIENT, timeouts=Timeouts(connect=0.5)) as client,
        anyio.create_task_group() as tasks,
    ):

        async def call() -> None:
            with pytest.raises(ConnectTimeout):
                await client.get(f"https://localhost:{port}/")

        tasks.start_soon(call)
        peer = await accept()
        assert await peer.receive()
        await assert_rests(sweeps)
        assert await peer.rest() == b""
        assert connections(client) == []


async def test_a_fault_in_a_handshake_is_said_and_fails_its_call(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(TlsLayer):
        steps = 0

        def handshake(self) -> bool:
            self.steps += 1
            if self.steps == 2:
                raise LookupError("a fault")
            return super().handshake()

    monkeypatch.setattr(attempt, "TlsLayer", Faulty)
    async with upstream(SERVER) as (port, accept), stack.client(verify=CLIENT) as client:
        async with anyio.create_task_group() as tasks:

            async def serve() -> None:
                with pytest.raises(ssl.SSLError):
                    await accept()

            tasks.start_soon(serve)
            with pytest.raises(ConnectError):
                await client.get(f"https://localhost:{port}/")
        assert connections(client) == []
    assert "a fault" in caplog.text


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536


@pytest.mark.parametrize("takes_it_late", [False, True])
async def test_a_goodbye_that_a_server_does_not_take_waits_for_so_long(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, sweeps: Sweeps, takes_it_late: bool
) -> None:
    """Its early answer ends the call, but it takes no byte more: no clock of the core's runs."""
    monkeypatch.setattr(tls_connection, "CLOSE_TIMEOUT", 0.5)
    ended, end_later = anyio.Event(), TlsConnection._end_later

    async def ending(connection: TlsConnection) -> None:
        await end_later(connection)
        ended.set()

    monkeypatch.setattr(TlsConnection, "_end_later", ending)
    async with (
        upstream(SERVER, buffer=4_096) as (port, accept),
        stack.client(verify=CLIENT, timeouts=UNTIMED) as client,
        anyio.create_task_group() as tasks,
    ):
        answers: list[bytes] = []

        async def call() -> None:
            answers.append((await client.post(f"https://localhost:{port}/", body=endless())).body)

        tasks.start_soon(call)
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        await until(lambda: bool(connections(client)[0]._interest & WRITING))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await until(lambda: answers == [b"ok"])
        (one,) = connections(client)
        if takes_it_late:
            assert await peer.rest()  # to the goodbye: without it this raises
        else:
            await assert_rests(sweeps)
        await until(lambda: one.closed)
        assert connections(client) == []
        assert unfinished(client) == 0
        await ended.wait()


class Failing(socket.socket):
    """Cannot send any more when the test says so; what the server said can still be read."""

    failing = False

    def send(self, *args: Any) -> int:
        if self.failing:
            raise BrokenPipeError
        return super().send(*args)


@pytest.mark.parametrize("closes", [False, True])
async def test_an_answer_is_heard_out_though_the_request_could_not_be_sent(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    socks: list[Failing] = []

    def new_socket(_: object) -> socket.socket:
        socks.append(Failing())
        socks[0].setblocking(False)
        return socks[0]

    monkeypatch.setattr(attempt, "new_socket", new_socket)
    go_on, failed = anyio.Event(), anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield b"x" * 1_000
        failed.set()
        await anyio.sleep_forever()

    async with (
        upstream(SERVER) as (port, accept),
        stack.client(verify=CLIENT, timeouts=UNTIMED) as client,
        anyio.create_task_group() as tasks,
    ):
        answers: list[bytes] = []

        async def call() -> None:
            answers.append((await client.post(f"https://localhost:{port}/", body=body())).body)

        tasks.start_soon(call)
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        socks[0].failing = True
        if not closes:
            go_on.set()  # else it is the goodbye that cannot be sent
            await failed.wait()
        await peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nmuch")
        await until(lambda: answers == [b"much"])
        await until(lambda: connections(client) == [])
        assert socks[0].fileno() == -1
        assert unfinished(client) == 0


@pytest.mark.parametrize("how", ["goodbye", "cut", "reset"])
async def test_a_body_that_lasts_until_the_end_needs_a_goodbye(stack: Stack, how: str) -> None:
    async with (
        upstream(SERVER) as (port, accept),
        stack.client(verify=CLIENT, timeouts=UNTIMED) as client,
        anyio.create_task_group() as tasks,
    ):
        outcome: list[object] = []

        async def call() -> None:
            try:
                outcome.append((await client.get(f"https://localhost:{port}/")).body)
            except UpstreamProtocolError as error:
                outcome.append(type(error))

        tasks.start_soon(call)
        peer = await accept()
        await peer.until(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall")
        if how == "goodbye":
            await peer.end()
        elif how == "cut":
            await peer.stream.raw.send_eof()
        else:
            peer.reset()
            await peer.close()
        await until(lambda: bool(outcome))
        assert outcome == [b"all" if how == "goodbye" else UpstreamProtocolError]
        assert connections(client) == []


async def test_our_server_and_our_client(stack: Stack) -> None:
    app = App()
    async with (
        stack.serve(app.pipeline, tls=SERVER) as server,
        stack.client(verify=CLIENT) as client,
    ):
        url = f"https://localhost:{server.addresses[0][1]}"
        for size in (0, 1, 100_000, 3_000_000):
            body = b"x" * size
            assert (await client.post(f"{url}/echo", body=body)).body == body
        assert len(connections(client)) == 1
        await until(lambda: len(connections(server)) == 1)
