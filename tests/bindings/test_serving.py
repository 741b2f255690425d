"""HTTP over real sockets: what a peer sends, what it gets, and how a connection ends."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.errors import StreamInterrupted
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.server import Server
from pipebus_anyio.tls import TLSConfig
from tests.bindings.certificates import certificates
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, peer, post, request

pytestmark = pytest.mark.anyio


class App:
    """A pipeline with a bit of everything, and what its handlers met."""

    def __init__(self) -> None:
        self.pipeline: Pipeline[None] = Pipeline("app")
        self.started = anyio.Event()
        self.stopped = anyio.Event()
        self.go_on = anyio.Event()
        self.log: list[str] = []
        pipeline = self.pipeline

        @pipeline.route("POST /echo")
        async def echo(request: Request) -> Response:
            return Response(200, request.body)

        @pipeline.route("GET /inline")
        def inline(request: Request) -> Response:
            return Response.text(f"inline {request.query.get('n', '')}")

        @pipeline.route("GET /big")
        def big(_: Request) -> Response:
            return Response(200, b"x" * 3_000_000)

        @pipeline.route("GET /wait")
        async def wait(_: Request) -> Response:
            self.started.set()
            try:
                await self.go_on.wait()
            except BaseException:
                self.log.append("cancelled")
                raise
            finally:
                self.stopped.set()
            return Response.text("waited")

        @pipeline.route("POST /count", stream=True, max_body=None)
        async def count(request: StreamRequest) -> Response:
            size = 0
            self.started.set()
            try:
                async for chunk in request:
                    size += len(chunk)
            except StreamInterrupted:
                self.log.append("interrupted")
                raise
            finally:
                self.stopped.set()
            return Response.text(str(size))

        @pipeline.route("GET /stream")
        async def stream(_: Request) -> Response:
            return Response.stream(self.chunks())

        @pipeline.route("GET /inline-stream")
        def inline_stream(_: Request) -> Response:
            return Response.stream(self.chunks())

        @pipeline.route("GET /events")
        async def events(_: Request) -> Response:
            return Response.events(self.texts())

        @pipeline.route("GET /broken-stream")
        async def broken_stream(_: Request) -> Response:
            return Response.stream(self.breaks())

        @pipeline.route("GET /raises")
        async def raises(_: Request) -> Response:
            raise LookupError("a secret")

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            self.started.set()
            yield b"one"
            await self.go_on.wait()
            yield b"two"
        finally:
            self.log.append("closed")
            self.stopped.set()

    async def texts(self) -> AsyncIterator[str]:
        yield "hello"
        yield "world"

    async def breaks(self) -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("a secret")


@pytest.fixture
def app() -> App:
    return App()


@asynccontextmanager
async def served(
    stack: Stack, app: App, *, trust: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[tuple[Server, Peer]]:
    """Serve, and connect one peer."""
    async with (
        stack.serve(app.pipeline, **options) as server,
        peer(server.addresses[0], trust) as client,
    ):
        yield server, client


async def test_keep_alive(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        for number in range(3):
            answer = await client.ask(post("/echo", b"%d" % number))
            assert (answer.status, answer.body, answer.closes) == (200, b"%d" % number, False)


async def test_pipelined_requests_are_answered_in_order(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(b"".join(get(f"/inline?n={n}") for n in range(20)))
        bodies = [(await client.answer()).body for _ in range(20)]
        assert bodies == [b"inline %d" % n for n in range(20)]


async def test_a_request_byte_by_byte(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        for byte in post("/echo", b"slow"):
            await client.send(bytes([byte]))
        assert (await client.answer("POST")).body == b"slow"


async def test_a_chunked_upload(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/echo", "Transfer-Encoding: chunked"))
        await client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await client.answer("POST")).body == b"abcde"


async def test_a_body_is_asked_for(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/echo", "Content-Length: 3", "Expect: 100-continue"))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.answer("POST")).body == b"abc"


async def test_head_has_the_length_and_no_body(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/inline", method="HEAD"))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len("inline "))
        assert (await client.ask(get("/inline"))).status == 200


async def test_http_10_closes(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/inline", version="1.0"))
        assert (answer.status, answer.body) == (200, b"inline ")
        assert await client.rest() == b""


async def test_a_big_answer_to_a_slow_reader(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/big"))
        assert answer.body == b"x" * 3_000_000


async def test_what_a_handler_raises_stays_inside(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/raises"))
        assert answer.status == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert b"secret" not in answer.body
    (record,) = caplog.records
    assert record.name == "pipebus"
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"PUT /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
)
async def test_refusals(stack: Stack, app: App, sent: bytes, status: int) -> None:
    async with served(stack, app) as (_, client):
        await client.send(sent)
        assert (await client.answer()).status == status


async def test_a_refusal_is_not_eaten_by_a_reset(stack: Stack, app: App) -> None:
    limits = Limits(max_body=1_000)
    async with served(stack, app, limits=limits) as (_, client):
        await client.send(request("POST", "/echo", "Content-Length: 200000"))
        await client.send(b"x" * 200_000)  # all of it, though nobody will read it
        assert (await client.answer("POST")).status == 413
        assert await client.rest() == b""


# --- streams ---------------------------------------------------------------------------------


async def test_a_streaming_upload(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/count", "Content-Length: 2000000"))
        await app.started.wait()
        await client.send(b"x" * 2_000_000)
        assert (await client.answer("POST")).body == b"2000000"


async def test_an_upload_cut_short_interrupts_its_handler(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(request("POST", "/count", "Content-Length: 10") + b"x")
        await app.started.wait()
        await client.close()
        await app.stopped.wait()


@pytest.mark.parametrize("path", ["/stream", "/inline-stream"])
async def test_a_streamed_answer_arrives_as_it_is_made(stack: Stack, app: App, path: str) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get(path))
        assert (await client.until(b"one\r\n")).endswith(b"\r\n\r\n3\r\none\r\n")
        app.go_on.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        assert app.log == ["closed"]
        assert (await client.ask(get("/inline"))).status == 200


async def test_server_sent_events(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        answer = await client.ask(get("/events"))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.body == b"data: hello\n\ndata: world\n\n"


async def test_a_stream_that_breaks_is_cut_where_the_peer_sees_it(
    stack: Stack, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get("/broken-stream"))
        got = await client.until(b"one\r\n")
        with suppress(anyio.BrokenResourceError):  # a reset shows it, too
            got += await client.rest()
        assert not got.endswith(b"0\r\n\r\n")
    assert "a secret" in caplog.text


async def test_a_reader_that_goes_away_ends_the_stream(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(half_close_grace=0.05)) as (_, client):
        await client.send(get("/stream"))
        await client.until(b"one\r\n")
        await client.close()
        await app.stopped.wait()
        assert app.log == ["closed"]


# --- disconnects -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "half-close and wait"])
async def test_a_disconnect_cancels_the_handler(stack: Stack, app: App, how: str) -> None:
    limits = Limits(half_close_grace=0.05)
    async with served(stack, app, limits=limits) as (server, client):
        await client.send(get("/wait"))
        await app.started.wait()
        if how == "reset":
            client.reset()
            await client.close()
        else:
            await client.end()
        await app.stopped.wait()
    assert app.log == ["cancelled"]
    assert server.engine.running == 0


async def test_a_half_closed_peer_gets_its_answer(stack: Stack, app: App) -> None:
    async with served(stack, app) as (_, client):
        await client.send(get("/wait"))
        await app.started.wait()
        await client.end()
        app.go_on.set()
        assert (await client.answer()).body == b"waited"
        assert await client.rest() == b""


async def nag(client: Peer) -> None:
    """Send a byte now and then: only so does a peer that does not read hear of a reset."""
    while True:
        await anyio.sleep(0.05)
        await client.send(b"x")


async def test_a_peer_that_does_not_read_is_reset(stack: Stack, app: App) -> None:
    limits = Limits(write_timeout=0.2)
    async with served(stack, app, limits=limits) as (_, client):
        for _ in range(8):
            await client.send(get("/big"))
        with pytest.raises(anyio.BrokenResourceError):
            await nag(client)


# --- time and numbers ------------------------------------------------------------------------


async def test_a_connection_that_says_nothing_is_closed(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(head_timeout=0.05)) as (_, client):
        assert await client.rest() == b""


async def test_a_head_that_never_ends_is_408(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(head_timeout=0.05)) as (_, client):
        assert (await client.ask(b"GET / HT")).status == 408
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(idle_timeout=0.05)) as (_, client):
        await client.ask(get("/inline"))
        assert await client.rest() == b""


async def test_a_handler_that_takes_too_long_is_504(stack: Stack, app: App) -> None:
    async with served(stack, app, limits=Limits(request_timeout=0.05)) as (_, client):
        assert (await client.ask(get("/wait"))).status == 504
        assert app.log == ["cancelled"]
        assert (await client.ask(get("/inline"))).status == 200


async def test_one_connection_too_many_is_503(stack: Stack, app: App) -> None:
    async with (
        served(stack, app, limits=Limits(max_connections=1)) as (server, first),
        peer(server.addresses[0]) as second,
    ):
        assert (await first.ask(get("/inline"))).status == 200
        answer = await second.ask(get("/inline"))
        assert answer.status == 503
        assert "retry-after" in answer.headers


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


async def test_a_drain_finishes_what_is_in_flight(stack: Stack, app: App) -> None:
    async with (
        served(stack, app) as (server, client),
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
    limits = Limits(grace=0.05)
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
