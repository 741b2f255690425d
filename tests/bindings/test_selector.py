"""The selector driver as a whole: its sweeps, and how it accepts."""

import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio import selector
from pipebus_anyio.selector import SelectorDriver
from pipebus_anyio.server import Server
from tests.bindings.app import App
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, get, peer, post, until
from tests.bindings.quiet import (
    ENDING,
    Sluggish,
    Spurious,
    Sweeps,
    Watched,
    accept_as,
    assert_rests,
    connections,
    driver_of,
    interest,
    out_of_files,
    refuse,
)
from tests.bindings.raw import connected, raw_peer, tls_peer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]


@pytest.fixture
def app() -> App:
    return App()


# --- what the runtime watches ------------------------------------------------------------------


async def test_a_runtime_watches_as_long_as_there_is_something_to_read(stack: Stack) -> None:
    one, other = socket.socketpair()
    seen: list[bytes] = []
    with one, other:

        def ready() -> None:
            seen.append(one.recv(1))

        async with stack.new_runtime() as runtime:
            stop = runtime.watch(one.fileno(), ready)
            other.send(b"abc")
            await until(lambda: seen == [b"a", b"b", b"c"])
            stop()
            other.send(b"d")
            await anyio.wait_all_tasks_blocked()
            assert len(seen) == 3
            stop()


# --- sweeps ------------------------------------------------------------------------------------


async def test_a_number_is_not_given_to_another_socket_within_a_sweep(
    stack: Stack, app: App
) -> None:
    async with stack.serve(app.pipeline) as server:
        driver = driver_of(server)
        pairs = [socket.socketpair() for _ in range(2)]
        (first, to_first), (second, to_second) = pairs
        new: list[Watched] = []

        def replace() -> None:
            """Close the other one, whose event waits in this sweep, and open a new one."""
            driver.close_socket(b)
            new.append(Watched(socket.socket(), lambda: None))
            driver.watch(new[0], select.EPOLLIN)
            driver.unwatch(a)

        a, b = Watched(first, replace), Watched(second, lambda: None)
        numbers = a.fd, b.fd
        driver.watch(a, select.EPOLLIN)
        driver.watch(b, select.EPOLLIN)
        to_first.send(b"x")
        to_second.send(b"x")  # in this order: a's event comes first
        await until(lambda: bool(new))
        assert (a.seen, b.seen) == (1, 0)
        assert second.fileno() == -1  # closed when the sweep was over
        assert new[0].fd not in numbers
        driver.close_socket(new[0])
        assert new[0].sock.fileno() == -1  # at once: this is no sweep
        for sock in (first, to_first, to_second):
            sock.close()


@asynccontextmanager
async def served(stack: Stack, app: App, *, tls: bool) -> AsyncIterator[tuple[Server, Peer]]:
    """Serve, and connect to it."""
    trusted = certificates()
    options = {"tls": trusted.server} if tls else {}
    async with stack.serve(app.pipeline, **options) as server:
        to = server.addresses[0]
        async with tls_peer(to, trusted.client) if tls else raw_peer(to) as peer:
            yield server, peer


@pytest.mark.parametrize("tls", [False, True])
async def test_readable_was_a_mistake(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    accept_as(monkeypatch, Spurious)
    async with served(stack, app, tls=tls) as (server, peer):
        assert (await peer.ask(get("/inline"))).status == 200
        (one,) = connections(server)
        assert isinstance(one.sock, Spurious)
        assert one.sock.mistakes == 0
        one.sock.mistakes = 1
        assert (await peer.ask(get("/inline"))).status == 200
        assert one.sock.mistakes == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_system_that_takes_little_or_nothing(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    accept_as(monkeypatch, Sluggish)
    async with served(stack, app, tls=tls) as (_, peer):
        for size in (0, 1_000, 100_000):
            body = b"x" * size
            assert (await peer.ask(post("/echo", body))).body == body


async def test_an_event_that_came_too_late_is_none(stack: Stack, app: App) -> None:
    """Another's turn in the same sweep may have changed what a socket is watched for."""
    async with (
        stack.serve(app.pipeline, limits=Limits(read_ahead=1_000)) as server,
        raw_peer(server.addresses[0]) as peer,
    ):
        await peer.send(get("/wait"))
        await app.started.wait()
        await peer.send(b"x" * 5_000)
        await until(lambda: interest(server) == ENDING)
        (one,) = connections(server)
        one.ready(select.EPOLLIN)
        assert not one.closed
        assert app.log == []


async def test_what_is_closed_twice_takes_nothing_from_its_number(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline) as server:
        async with raw_peer(server.addresses[0]) as peer:
            await peer.ask(get("/inline"))
            (one,) = connections(server)
            one.end(reset=True)
        async with raw_peer(server.addresses[0]) as peer:
            await peer.ask(get("/inline"))
            (other,) = connections(server)
            other.fd, number = one.fd, other.fd  # as if it had got the number
            driver_of(server)._watched = {one.fd: other}
            one.end()
            one.discard()
            assert connections(server) == [other]
            other.fd = number
            driver_of(server)._watched = {number: other}
            assert (await peer.ask(get("/inline"))).status == 200


async def test_a_peer_that_sends_without_end_leaves_the_others_their_turns(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(socket.socket):
        """Never runs dry, once its peer has been refused."""

        refused = over = False

        def send(self, *args: Any) -> int:
            self.refused = b" 400 " in bytes(args[0])
            return super().send(*args)

        def recv(self, size: int, *args: Any) -> bytes:
            if self.refused and not Endless.over:
                return b"x" * size
            return super().recv(size, *args)

    accept_as(monkeypatch, Endless)
    async with (
        stack.serve(app.pipeline, limits=Limits(linger_timeout=1_000)) as server,
        raw_peer(server.addresses[0]) as busy,
    ):
        assert (await busy.ask(b"no request\r\n\r\n")).status == 400
        await busy.send(b"x")  # readable from now on, for ever
        others = [Peer(connected(server.addresses[0])) for _ in range(50)]
        for _ in range(3):
            for number, other in enumerate(others):
                answer = await other.ask(post("/echo", b"%d" % number))
                assert answer.body == b"%d" % number
        assert len(connections(server)) == 51
        for other in others:
            await other.close()
        Endless.over = True


# --- accepting ---------------------------------------------------------------------------------


async def test_many_connections_at_once(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline) as server:
        peers = [Peer(connected(server.addresses[0])) for _ in range(300)]
        for number, peer in enumerate(peers):
            await peer.send(get(f"/inline?n={number}"))
        for number, peer in enumerate(peers):
            assert (await peer.answer()).body == b"inline %d" % number
            await peer.close()
        await until(lambda: server.engine.admission.connections == 0)


async def test_a_drain_serves_what_waits_in_the_backlog(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline) as server:
        peers = [connected(server.addresses[0]) for _ in range(100)]
        for peer in peers:
            assert peer.send_some(get("/inline"))
        server.begin_drain()  # nobody had a turn since they connected
        for peer in peers:
            answer = await Peer(peer).answer()
            assert (answer.status, answer.closes) == (200, True)
            await peer.aclose()
        await server.wait_drained()


async def test_out_of_files_is_paused_and_said_once(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.serve(app.pipeline) as server:
        refusing = refuse(
            driver_of(server), ConnectionAbortedError(), out_of_files(), out_of_files()
        )
        async with raw_peer(server.addresses[0]) as peer:
            assert (await peer.ask(get("/inline"))).status == 200
        # Two failures; the aborted one, the connection, and that there is none left.
        assert refusing.tries == 5
        async with raw_peer(server.addresses[0]) as peer:
            assert (await peer.ask(get("/inline"))).status == 200
    (record,) = caplog.records
    assert "Too many open files" in record.getMessage()


async def test_a_pause_in_accepting_is_one(
    stack: Stack, app: App, sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipebus_anyio.accepting.PAUSE_FIRST", 1.0)
    async with stack.serve(app.pipeline) as server:
        refusing = refuse(driver_of(server), out_of_files())
        async with raw_peer(server.addresses[0]):
            await until(lambda: refusing.tries == 1)
            await assert_rests(sweeps)
            assert refusing.tries == 1


async def test_a_listener_that_pauses_can_be_closed(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.serve(app.pipeline) as server, raw_peer(server.addresses[0]) as peer:
        await peer.send(get("/wait"))
        await app.started.wait()
        refusing = refuse(driver_of(server), out_of_files())
        async with raw_peer(server.addresses[0]) as late:
            await until(lambda: refusing.tries == 1)
            await late.send(get("/inline"))
            server.begin_drain()
            assert (await late.answer()).status == 200
        await anyio.sleep(0.1)  # the pause ends, and with it the chance to accept again
        app.go_on.set()
        assert (await peer.answer()).body == b"waited"
    assert len(caplog.records) == 1


async def test_a_peer_that_has_reset_before_it_is_served_is_forgotten(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(socket.socket):
        def setsockopt(self, *_: Any) -> None:
            raise OSError(22, "Invalid argument")  # what BSD says

    with monkeypatch.context() as patch:
        accept_as(patch, Gone)
        async with stack.serve(app.pipeline) as server, raw_peer(server.addresses[0]) as peer:
            assert await peer.rest() == b""
            assert server.engine.dispatch.connections == 0


async def test_tls_that_cannot_be_served_is_said_and_ends_no_more_than_the_connection(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.serve(app.pipeline, tls=certificates().client) as server:
        for _ in range(2):
            async with raw_peer(server.addresses[0]) as peer:
                assert await peer.rest() == b""
    assert len(caplog.records) == 2
    assert "PROTOCOL_TLS_CLIENT" in caplog.text


async def test_unix_sockets(stack: Stack, app: App, tmp_path: Path) -> None:
    path = tmp_path / "s"

    def mode() -> int:
        return path.stat().st_mode & 0o777

    async with stack.serve(app.pipeline, bind=f"unix:{path}", unix_mode=0o600) as server:
        assert mode() == 0o600
        async with raw_peer(str(path)) as peer:
            assert (await peer.ask(get("/inline"))).status == 200
            await peer.send(get("/wait"))
            await app.started.wait()
        await app.stopped.wait()  # there a close is seen at once: nobody is half-closed
        assert app.log == ["cancelled"]
        await until(lambda: server.engine.admission.connections == 0)
    with pytest.raises(FileNotFoundError):
        mode()


# --- how late the loop is ----------------------------------------------------------------------


async def test_what_is_served_outside_of_a_sweep_has_not_waited_since_the_last(
    stack: Stack,
) -> None:
    """The second request is here already; its turn comes when the first one's handler ends."""
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(0.3)
        return Response.text("at last")

    async with (
        stack.serve(pipeline, limits=Limits(max_loop_lag=0.1)) as server,
        peer(server.addresses[0]) as one,
    ):
        await one.send(get("/slow") + get("/nothing"))
        assert (await one.answer()).status == 200
        assert (await one.answer()).status == 404


async def test_the_lag_goes_on_from_a_full_sweep_to_the_next(
    stack: Stack, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selector, "SOCKETS_PER_SWEEP", 2)
    async with stack.serve(app.pipeline, limits=Limits(max_loop_lag=60.0)) as server:
        peers = [Peer(connected(server.addresses[0])) for _ in range(5)]
        for one in peers:  # accepted, and served once
            assert (await one.ask(get("/inline"))).status == 200
        told: list[float] = []
        driver = server.driver
        assert isinstance(driver, SelectorDriver)
        monkeypatch.setattr(driver, "_polled", told.append)
        for one in peers:
            assert one.stream.send_some(get("/inline"))  # nobody has a turn in between
        for one in peers:
            assert (await one.answer()).status == 200
        # Of the sweeps that took two, two and one the first alone was a beginning.
        assert [moment == float("inf") for moment in told] == [False, True]
        for one in peers:
            await one.close()
