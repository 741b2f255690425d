"""What becomes of a fault of ours in the selector driver, and that nothing is left open."""

import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from pipebus.engine.actions import Link
from pipebus.engine.engine import Engine
from pipebus.limits import Limits, Timeouts
from pipebus_anyio.options import Options
from pipebus_anyio.server import Surroundings
from pipebus_anyio.server import serve as serve_in
from tests.bindings.app import App
from tests.bindings.certificates import certificates
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import Peer, get, post, until
from tests.bindings.quiet import Watched, connections, driver_of, out_of_files, refuse
from tests.bindings.raw import RawStream, connected, raw_peer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("stack", DEFAULT_STACKS, ids=str, indirect=True),
]


@pytest.fixture
def app() -> App:
    return App()


# --- faults of ours ----------------------------------------------------------------------------


class Faulty:
    """Has a bug that some bytes bring out. It wraps an engine: a compiled one has no subclasses."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self.engine: Engine = Engine(*given, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def receive_data(self, link: Link, data: bytes, now: float) -> None:
        if b"receive-fault" in data:
            raise LookupError("a fault in receive_data")
        self.engine.receive_data(link, data, now)

    def data_sent(self, link: Link, count: int, now: float) -> bool:
        if b"send-fault" in link.data_to_send():
            raise LookupError("a fault in data_sent")
        return self.engine.data_sent(link, count, now)


class Hopeless(Faulty):
    """Cannot even end such a connection."""

    def connection_lost(self, link: Link, now: float) -> None:
        self.engine.connection_lost(link, now)
        if len(self.engine.dispatch.sessions) == 1:
            raise LookupError("another fault")


@pytest.mark.parametrize(("engine", "said"), [(Faulty, 1), (Hopeless, 2)])
@pytest.mark.parametrize("where", ["receive-fault", "send-fault"])
async def test_a_fault_ends_one_connection_and_is_said(
    stack: Stack,
    app: App,
    caplog: pytest.LogCaptureFixture,
    engine: type[Faulty],
    said: int,
    where: str,
) -> None:
    options = Options(bind="127.0.0.1:0", driver="selector")
    surroundings = Surroundings(new_engine=cast("Callable[..., Engine]", engine))
    async with serve_in(stack.new_runtime, app.pipeline, options, surroundings) as server:
        async with raw_peer(server.addresses[0]) as other, raw_peer(server.addresses[0]) as peer:
            assert (await other.ask(get("/inline"))).status == 200
            await peer.send(post("/echo", where.encode()))
            assert b"send-fault" in await peer.rest() or where == "receive-fault"
            assert (await other.ask(get("/inline"))).status == 200
            assert len(connections(server)) == 1
            assert server.engine.admission.connections == 1
        assert len([r for r in caplog.records if r.exc_info is not None]) == said


async def test_a_fault_of_what_is_no_connection(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    def fault() -> None:
        one.recv(1)
        raise LookupError("a fault")

    one, other = socket.socketpair()
    with one, other:
        async with stack.serve(app.pipeline) as server, raw_peer(server.addresses[0]) as peer:
            watched = Watched(one, fault)
            driver_of(server).watch(watched, select.EPOLLIN)
            other.send(b"xx")
            await until(lambda: watched.seen == 2)
            assert (await peer.ask(get("/inline"))).status == 200
            driver_of(server).unwatch(watched)
    assert len(caplog.records) == 4  # itself, and that its end failed, too


async def test_a_fault_in_accepting_is_the_connections(
    stack: Stack,
    app: App,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stack.serve(app.pipeline) as server:
        with monkeypatch.context() as patch:
            patch.setattr("pipebus_anyio.selector.peer_address", lambda _: 1 / 0)
            async with raw_peer(server.addresses[0]) as peer:
                assert await peer.rest() == b""
        async with raw_peer(server.addresses[0]) as peer:
            assert (await peer.ask(get("/inline"))).status == 200
    (record,) = caplog.records
    assert record.exc_info is not None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["in order", "by an exception"])
async def test_whatever_state_it_is_in_nothing_is_left_open(
    stack: Stack, app: App, how: str
) -> None:
    async def leave() -> None:
        limits = Limits(read_ahead=1_000, grace=0.05, write_timeout=1_000)
        async with (
            stack.serve(app.pipeline, limits=limits) as server,
            stack.serve(app.pipeline, limits=limits, tls=certificates().server) as secure,
            stack.client(timeouts=Timeouts(connect=1_000)) as client,
            anyio.create_task_group() as tasks,
        ):
            refuse(driver_of(secure))
            idle, waiting, unread, slow, lingering = (
                Peer(stream(server.addresses[0])) for _ in range(5)
            )
            stream(secure.addresses[0])  # its handshake does not begin
            await idle.ask(get("/inline"))
            await waiting.send(get("/wait"))
            await app.started.wait()
            await slow.send(get("/big"))
            await unread.send(get("/wait") + b"x" * 3_000)
            await lingering.ask(b"no request\r\n\r\n")
            await until(lambda: len(connections(server)) == 5)
            await until(lambda: len(connections(secure)) == 1)
            tasks.start_soon(client.get, f"http://127.0.0.1:{full.getsockname()[1]}/")
            await until(lambda: client._engine.client.unfinished > 1)
            refuse(driver_of(server), *[out_of_files()] * 3)
            stream(server.addresses[0])
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
            if how != "in order":
                raise LookupError(how)

    streams: list[RawStream] = []

    def stream(address: Any) -> RawStream:
        streams.append(connected(address, buffer=4_096))
        return streams[-1]

    before = open_files()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        stream(full.getsockname())
        if how == "in order":
            await leave()
        else:
            with pytest.raises(ExceptionGroup) as raised:
                await leave()
            assert raised.group_contains(LookupError, match=how)
        for opened in streams:
            await opened.aclose()
    assert open_files() == before
