"""How a server begins and ends: addresses, TLS, options, drain, lifespan."""

import ssl
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.tls import TLSConfig
from tests.bindings.app import App, served
from tests.bindings.certificates import certificates
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer, post

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> App:
    return App()


# --- TLS and UNIX sockets ----------------------------------------------------------------------


async def test_tls(stack: Stack, app: App, tmp_path: Path) -> None:
    _, cert, key = certificates().write(tmp_path)
    config = TLSConfig(certfile=cert, keyfile=key)
    async with stack.serve(app.pipeline, tls=config) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with peer(server.addresses[0], certificates().client) as client:
            for _ in range(2):
                assert (await client.ask(post("/echo", b"secret"))).body == b"secret"
            assert (await client.ask(get("/big"))).body == b"x" * 3_000_000


async def test_a_tls_client_that_does_not_trust_us(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline, tls=certificates().server) as server:
        with pytest.raises(ssl.SSLError):
            async with peer(server.addresses[0], ssl.create_default_context()):
                pass
        async with peer(server.addresses[0], certificates().client) as client:
            assert (await client.ask(get("/inline"))).status == 200


async def test_a_handshake_that_never_ends_is_cut(stack: Stack, app: App) -> None:
    limits = Limits(head_timeout=0.05)
    async with served(stack, app, tls=certificates().server, limits=limits) as (server, client):
        assert await client.rest() == b""
        assert server.engine.running == 0


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated")
async def test_a_context_that_serves_both_sides_serves_ours(
    stack: Stack, app: App, tmp_path: Path
) -> None:
    _, certificate, key = certificates().write(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS)
    tls.load_cert_chain(certificate, key)
    async with served(stack, app, trust=certificates().client, tls=tls) as (_, client):
        assert (await client.ask(get("/inline"))).status == 200


async def test_http_to_a_tls_port(stack: Stack, app: App) -> None:
    async with served(stack, app, tls=certificates().server) as (_, client):
        await client.send(get("/inline"))
        assert not (await client.rest()).startswith(b"HTTP/")


async def test_a_lingering_close_under_tls(stack: Stack, app: App) -> None:
    limits = Limits(max_body=1_000)
    tls = certificates().server
    async with served(stack, app, trust=certificates().client, limits=limits, tls=tls) as (
        _,
        client,
    ):
        await client.send(post("/echo", b"x" * 200_000))
        assert (await client.answer("POST")).status == 413
        assert await client.rest() == b""


async def test_a_unix_socket(stack: Stack, app: App, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with stack.serve(app.pipeline, bind=f"unix:{path}") as server:
        assert server.addresses == [path]
        with pytest.raises(LookupError):
            _ = server.url
        async with peer(path) as client:
            assert (await client.ask(get("/inline"))).status == 200
    assert not await anyio.Path(path).exists()


async def test_several_addresses(stack: Stack, app: App, tmp_path: Path) -> None:
    bind = ["127.0.0.1:0", f"unix:{tmp_path / 's'}", ("127.0.0.1", 0)]
    async with stack.serve(app.pipeline, bind=bind) as server:
        assert len(set(server.addresses)) == 3
        for address in server.addresses:
            async with peer(address) as client:
                assert (await client.ask(get("/inline"))).status == 200


async def test_a_busy_port_is_an_error_before_anything_is_served(stack: Stack, app: App) -> None:
    async with stack.serve(app.pipeline) as server:
        with pytest.raises(OSError, match="cannot listen on"):
            async with stack.package.serve(App().pipeline, bind=server.addresses[0]):
                pytest.fail("served on a port in use")


@pytest.mark.parametrize("option", [{"driver": "steam"}, {"wire": "barbed"}])
async def test_options_that_are_none(stack: Stack, app: App, option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        async with stack.package.serve(app.pipeline, bind="127.0.0.1:0", **option):
            pytest.fail("served")


# --- drain -----------------------------------------------------------------------------------


async def test_a_server_may_end_before_it_has_begun_to_accept(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.package.serve(app.pipeline, bind="127.0.0.1:0"):
        pass
    assert not caplog.records


async def test_a_drain_finishes_what_is_in_flight(stack: Stack, app: App) -> None:
    limits = Limits(linger_timeout=0.1)  # the client stays, and has nothing left to send
    async with (
        served(stack, app, limits=limits) as (server, client),
        peer(server.addresses[0]) as idle,
        anyio.create_task_group() as tasks,
    ):
        await client.send(get("/wait"))
        await app.started.wait()
        await idle.ask(get("/inline"))
        tasks.start_soon(server.drain)
        assert await idle.rest() == b""  # an idle connection is closed at once
        with pytest.raises(OSError, match=r"."):
            await anyio.connect_tcp(*server.addresses[0])
        app.go_on.set()
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
        assert await client.rest() == b""


async def test_a_drain_ends_by_grace(stack: Stack, app: App) -> None:
    limits = Limits(grace=0.05, linger_timeout=0.1)
    async with served(stack, app, limits=limits) as (server, client):
        await client.send(get("/wait"))
        await app.started.wait()
        await server.drain()
        assert app.log == ["cancelled"]
        assert (await client.answer()).status == 503


async def test_leaving_by_an_exception_ends_at_once(stack: Stack, app: App) -> None:
    async with anyio.create_task_group() as tasks:
        client_ended = anyio.Event()

        async def call(address: tuple[str, int]) -> None:
            async with peer(address) as client:
                await client.send(get("/wait"))
                with suppress(anyio.BrokenResourceError):
                    await client.rest()
                client_ended.set()

        async def break_off() -> None:
            async with stack.serve(app.pipeline) as server:
                address = server.addresses[0]
                assert isinstance(address, tuple)
                tasks.start_soon(call, address)
                await app.started.wait()
                raise LookupError

        with pytest.raises(LookupError):
            await break_off()
        assert app.log == ["cancelled"]
        await client_ended.wait()


async def test_cancelling_the_server_ends_at_once(stack: Stack, app: App) -> None:
    with anyio.CancelScope() as scope:
        async with served(stack, app) as (server, client):
            await client.send(get("/wait"))
            await app.started.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert app.log == ["cancelled"]
    assert server.engine.running == 0


async def test_the_lifespan_is_around_everything(stack: Stack) -> None:
    order: list[str] = []

    class Resource:
        async def __aenter__(self) -> str:
            order.append("enter")
            return "the state"

        async def __aexit__(self, *_: object) -> None:
            order.append("exit")

    pipeline: Pipeline[str] = Pipeline("app", lifespan=Resource)

    @pipeline.route("GET /")
    async def state(_: Request, ctx: Context[str]) -> Response:
        order.append("handler")
        return Response.text(ctx.state)

    seen: list[str] = []

    @pipeline.subscribe("net.http.response")
    async def watch(event: Event) -> None:
        seen.append(event.type)

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        assert (await client.ask(get("/"))).body == b"the state"
    assert order == ["enter", "handler", "exit"]
    assert seen == ["net.http.response"]
