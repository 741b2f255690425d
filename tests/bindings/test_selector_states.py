"""The selector driver's connections in every state that sockets can get into; none of them spins."""

import socket

import anyio
import anyio.lowlevel
import pytest

from pipebus.http.message import StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus_anyio.server import Server
from tests.bindings.app import App
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, get, post, request, until
from tests.bindings.quiet import (
    ENDING,
    NOTHING,
    READING,
    WRITING,
    Sweeps,
    accept_as,
    assert_rests,
    connections,
    interest,
)
from tests.bindings.raw import raw_peer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]

NEVER = 1_000.0
PATIENT = Limits(
    half_close_grace=NEVER, write_timeout=NEVER, body_timeout=NEVER, linger_timeout=NEVER
)
"""No clock of the core's hides what the driver does."""


@pytest.fixture
def app() -> App:
    app = App()

    @app.pipeline.route("POST /later", stream=True, max_body=None)
    async def later(incoming: StreamRequest) -> Response:
        """Begin to read when the test says so."""
        app.started.set()
        try:
            await app.go_on.wait()
            return Response.text(str(sum([len(piece) async for piece in incoming])))
        except BaseException:
            app.log.append("cancelled")
            raise
        finally:
            app.stopped.set()

    return app


async def beyond_the_read_ahead(peer: Peer, server: Server, surplus: bytes) -> None:
    """Send more than the server wants to hold, so that it stops reading, and some behind it."""
    await peer.send(surplus)
    await until(lambda: interest(server) == ENDING)
    await peer.send(b"x")  # unread from now on


async def more_than_it_reads(peer: Peer, server: Server) -> int:
    """Send until the server stops reading, and some behind it; return how much."""
    size = 1
    while interest(server) != ENDING:
        await peer.send(b"x" * 500)
        size += 500
        await anyio.lowlevel.checkpoint()
    await peer.send(b"x")
    return size


# --- writing -----------------------------------------------------------------------------------


async def test_what_the_system_does_not_take_waits_for_the_peer(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0], buffer=4_096) as peer,
    ):
        await peer.send(get("/inline"))
        await peer.until(b"inline ")
        assert interest(server) == READING
        await peer.send(get("/big"))
        await until(lambda: interest(server) == READING | WRITING)
        await assert_rests(sweeps)
        assert (await peer.answer()).body == b"x" * 3_000_000
        assert interest(server) == READING
        await assert_rests(sweeps)


async def test_a_reader_that_stops_and_goes_on_gets_every_byte_of_a_stream(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0], buffer=4_096) as peer,
    ):
        for number in range(4):  # pipelined: the next head waits for the write
            await peer.send(get("/big") + get(f"/inline?n={number}"))
        await until(lambda: bool(interest(server) & WRITING))
        await assert_rests(sweeps)
        for number in range(4):
            assert len((await peer.answer()).body) == 3_000_000
            assert (await peer.answer()).body == b"inline %d" % number


async def test_a_peer_that_takes_nothing_is_reset_when_its_time_is_over(
    stack: Stack, app: App
) -> None:
    async with (
        stack.serve(app.pipeline, limits=Limits(write_timeout=0.1)) as server,
        raw_peer(server.addresses[0], buffer=4_096) as peer,
    ):
        await peer.send(get("/big"))
        await until(lambda: bool(interest(server) & WRITING))
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


@pytest.mark.parametrize("reading", [True, False])
async def test_a_reset_while_bytes_wait_to_be_sent(stack: Stack, app: App, reading: bool) -> None:
    async with stack.serve(app.pipeline, limits=Limits(read_ahead=1_000)) as server:
        async with raw_peer(server.addresses[0], buffer=4_096) as peer:
            await peer.send(get("/big"))
            await until(lambda: bool(interest(server) & WRITING))
            if not reading:
                await peer.send(b"x" * 5_000)
                await until(lambda: interest(server) == ENDING | WRITING)
            peer.reset()
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


# --- reading -----------------------------------------------------------------------------------


async def test_reading_stops_at_the_read_ahead_and_is_taken_up_again(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    body = b"y" * 10_000
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.send, post("/echo", body) * 1_000)  # more than any buffer takes
            await until(lambda: interest(server) == ENDING)
            await assert_rests(sweeps)
            app.go_on.set()
            assert (await peer.answer()).body == b"waited"
            for _ in range(1_000):
                assert (await peer.answer("POST")).body == body
        assert interest(server) == READING


async def test_an_upload_whose_handler_does_not_read_rests_until_it_does(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(request("POST", "/later", "Content-Length: 20000000"))
        await app.started.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.send, b"x" * 20_000_000)
            await until(lambda: interest(server) == ENDING)
            await assert_rests(sweeps)
            app.go_on.set()
            assert (await peer.answer("POST")).body == b"20000000"


async def test_a_silent_peer_costs_nothing(stack: Stack, app: App, sweeps: Sweeps) -> None:
    async with (
        stack.serve(app.pipeline) as server,
        raw_peer(server.addresses[0]) as new,
        raw_peer(server.addresses[0]) as idle,
        raw_peer(server.addresses[0]) as slow,
    ):
        await idle.ask(get("/inline"))
        await slow.send(b"GET / HT")
        await until(lambda: len(connections(server)) == 3)
        await assert_rests(sweeps)
        assert (await new.ask(get("/inline"))).status == 200
        assert (await idle.ask(get("/inline"))).status == 200


# --- the peer's end ----------------------------------------------------------------------------


async def test_a_half_closed_peer_waits_for_its_answer_in_peace(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await peer.end()
        await until(lambda: interest(server) == NOTHING)
        await assert_rests(sweeps)
        app.go_on.set()
        assert (await peer.answer()).body == b"waited"
        assert await peer.rest() == b""


async def test_a_half_close_behind_unread_bytes_ends_a_handler_after_its_grace(
    stack: Stack, app: App
) -> None:
    limits = Limits(read_ahead=1_000, half_close_grace=0.05)
    async with (
        stack.serve(app.pipeline, limits=limits) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await beyond_the_read_ahead(peer, server, b"x" * 2_000)
        await peer.end()
        await app.stopped.wait()
    assert app.log == ["cancelled"]


async def test_a_half_close_behind_unread_bytes_is_seen_once(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    limits = Limits(read_ahead=1_000, half_close_grace=NEVER)
    async with (
        stack.serve(app.pipeline, limits=limits) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await beyond_the_read_ahead(peer, server, get("/inline?n=") * 100 + b"GET /inline?n=1 ")
        await peer.send(b"HTTP/1.1\r\nHost: x\r\n\r\n"[1:])  # its first byte is the unread one
        await peer.end()
        await until(lambda: interest(server) == NOTHING)
        await assert_rests(sweeps)
        app.go_on.set()
        assert (await peer.answer()).body == b"waited"
        for _ in range(100):
            assert (await peer.answer()).body == b"inline "
        assert (await peer.answer()).status == 400  # the last request line has an x for its H
        assert await peer.rest() == b""


async def test_a_half_close_behind_the_unread_rest_of_an_upload_cancels_nothing(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    limits = Limits(read_ahead=1_000, half_close_grace=0.01, body_timeout=NEVER)
    async with (
        stack.serve(app.pipeline, limits=limits) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(request("POST", "/later", "Content-Length: 20000"))
        await app.started.wait()
        left = 20_000 - await more_than_it_reads(peer, server)
        await peer.send(b"x" * left)
        await peer.end()
        await until(lambda: interest(server) == NOTHING)
        await assert_rests(sweeps)
        assert app.log == []
        app.go_on.set()
        assert (await peer.answer("POST")).body == b"20000"
        assert await peer.rest() == b""


@pytest.mark.parametrize("path", ["/wait", "/later"])
async def test_a_reset_behind_unread_bytes_cancels_the_handler_at_once(
    stack: Stack, app: App, path: str
) -> None:
    limits = Limits(read_ahead=1_000, half_close_grace=NEVER, body_timeout=NEVER)
    async with stack.serve(app.pipeline, limits=limits) as server:
        async with raw_peer(server.addresses[0]) as peer:
            head = get(path) if path == "/wait" else request("POST", path, "Content-Length: 99999")
            await peer.send(head)
            await app.started.wait()
            await more_than_it_reads(peer, server)
            peer.reset()
        await app.stopped.wait()
        assert app.log == ["cancelled"]
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


async def test_a_reset_after_a_half_close_cancels_the_handler_at_once(
    stack: Stack, app: App
) -> None:
    async with stack.serve(app.pipeline, limits=PATIENT) as server:
        async with raw_peer(server.addresses[0]) as peer:
            await peer.send(get("/wait"))
            await app.started.wait()
            await peer.end()
            await until(lambda: interest(server) == NOTHING)
            peer.reset()
        await app.stopped.wait()
        assert app.log == ["cancelled"]
        await until(lambda: server.engine.admission.connections == 0)


# --- our end -----------------------------------------------------------------------------------


async def test_a_connection_that_lingers_rests_until_the_peer_ends(
    stack: Stack, app: App, sweeps: Sweeps
) -> None:
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        assert (await peer.ask(b"no request\r\n\r\n")).status == 400
        assert await peer.rest() == b""
        assert interest(server) == READING
        await assert_rests(sweeps)
        await peer.send(b"x" * 100_000)
        await peer.end()
        await until(lambda: server.engine.admission.connections == 0)


async def test_a_connection_that_lingers_has_an_end(stack: Stack, app: App) -> None:
    async with (
        stack.serve(app.pipeline, limits=Limits(linger_timeout=0.05)) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        assert (await peer.ask(b"no request\r\n\r\n")).status == 400
        await until(lambda: server.engine.admission.connections == 0)
        assert connections(server) == []


async def test_a_peer_that_has_gone_cannot_be_told_of_our_end(stack: Stack, app: App) -> None:
    """Its reset comes with its bytes: the answer cannot be sent, nor the sending side be shut."""
    async with stack.serve(app.pipeline, limits=PATIENT) as server:
        async with raw_peer(server.addresses[0]) as peer:
            await peer.send(b"no request\r\n\r\n")
            peer.reset()
        await until(lambda: server.engine.dispatch.connections == 1)
        await until(lambda: server.engine.admission.connections == 0)


async def test_a_peer_that_has_gone_before_our_side_can_be_shut(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(socket.socket):
        def shutdown(self, _: int) -> None:
            raise OSError(107, "Transport endpoint is not connected")

    accept_as(monkeypatch, Gone)
    async with (
        stack.serve(app.pipeline, limits=PATIENT) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        assert (await peer.ask(b"no request\r\n\r\n")).status == 400
        assert await peer.rest() == b""
        assert server.engine.admission.connections == 0
