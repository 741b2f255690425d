"""The client: against our server, and against a peer that answers in raw bytes."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from pipebus.errors import (
    ConnectError,
    ConnectTimeout,
    ReadTimeout,
    TotalTimeout,
    UpstreamProtocolError,
)
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits, Timeouts
from pipebus.pipeline.context import Context, ThreadContext
from pipebus.pipeline.declare import Pipeline
from tests.bindings.certificates import certificates
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, peer, until

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.route("/echo")
    async def echo(request: Request) -> Response:
        return Response(200, request.body, {"x-method": request.method})

    @pipeline.route("POST /upload", stream=True, max_body=None)
    async def upload(request: StreamRequest) -> Response:
        size = 0
        async for chunk in request:
            size += len(chunk)
        return Response.text(str(size))

    @pipeline.route("GET /stream")
    async def stream(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 10_000

        return Response.stream(chunks())

    @pipeline.route("GET /endless")
    async def endless(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 10_000

        return Response.stream(chunks())

    return pipeline


async def pieces(count: int, size: int = 1_000) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def read_to_the_end(server: Peer) -> None:
    with suppress(anyio.BrokenResourceError):
        await server.rest()


@asynccontextmanager
async def answering(
    handle: Callable[[Peer], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a server of raw bytes; gives its URL."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def one(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):  # the client may reset it
                await handle(Peer(stream))

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, one)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def test_every_method(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, stack.client() as client:
        url = f"{server.url}/echo"
        for send, name in (
            (client.get, "GET"), (client.head, "HEAD"), (client.options, "OPTIONS"),
            (client.delete, "DELETE"),
        ):  # fmt: skip
            response = await send(url)
            assert (response.status, response.headers["x-method"]) == (200, name)
        for write, name in (
            (client.post, "POST"), (client.put, "PUT"), (client.patch, "PATCH"),
        ):  # fmt: skip
            response = await write(url, body=b"data")
            assert (response.body, response.headers["x-method"]) == (b"data", name)
        response = await client.request("POST", url, json={"a": 1})
        assert response.json() == {"a": 1}


async def test_one_connection_serves_many_calls(stack: Stack) -> None:
    connections = 0

    async def handle(server: Peer) -> None:
        nonlocal connections
        connections += 1
        while await server.receive():
            await server.send(OK)

    async with answering(handle) as url, stack.client() as client:
        for _ in range(5):
            assert (await client.get(url)).body == b"ok"
    assert connections == 1


async def test_uploads_and_downloads_stream(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, stack.client() as client:
        response = await client.post(f"{server.url}/upload", body=pieces(1_000))
        assert response.text() == "1000000"
        async with client.stream("GET", f"{server.url}/stream") as stream:
            assert stream.status == 200
            assert stream.headers["transfer-encoding"] == "chunked"
            assert sum([len(chunk) async for chunk in stream]) == 1_000_000
        async with client.stream(
            "POST", f"{server.url}/upload", body=pieces(10), content_length=10_000
        ) as stream:
            assert b"".join([chunk async for chunk in stream]) == b"10000"


async def test_leaving_a_stream_early(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, stack.client() as client:
        async with client.stream("GET", f"{server.url}/endless") as stream:
            async for _ in stream:
                break
        assert (await client.get(f"{server.url}/echo")).status == 200


async def test_an_upload_that_breaks_fails_its_call(stack: Stack, pipeline: Pipeline[None]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("in the upload")

    async with stack.serve(pipeline) as server, stack.client() as client:
        with pytest.raises(Exception, match=r".") as caught:
            await client.post(f"{server.url}/upload", body=broken())
        chain: list[BaseException | None] = [caught.value]
        while chain[-1] is not None:
            chain.append(chain[-1].__cause__)
        assert any(isinstance(error, LookupError) for error in chain)
        await until(lambda: server.engine.running == 0)


async def test_https(stack: Stack, pipeline: Pipeline[None], tmp_path: Path) -> None:
    ca, _, _ = certificates().write(tmp_path)
    async with stack.serve(pipeline, tls=certificates().server) as server:
        url = server.url.replace("127.0.0.1", "localhost") + "/echo"
        for verify in (ca, certificates().client, False):
            async with stack.client(verify=verify) as client:
                for _ in range(2):
                    assert (await client.post(url, body=b"secret")).body == b"secret"
        async with stack.client() as client:
            with pytest.raises(ConnectError, match="certificate"):
                await client.get(url)


async def test_a_ca_file_that_is_none(
    stack: Stack, pipeline: Pipeline[None], tmp_path: Path
) -> None:
    async with (
        stack.serve(pipeline, tls=certificates().server) as server,
        stack.client(verify=tmp_path / "none") as client,
    ):
        with pytest.raises(ConnectError, match="No such file"):
            await client.get(f"{server.url}/echo")


async def test_a_unix_socket(stack: Stack, pipeline: Pipeline[None], tmp_path: Path) -> None:
    path = tmp_path / "s"
    quoted = str(path).replace("/", "%2F")
    async with stack.serve(pipeline, bind=f"unix:{path}"), stack.client() as client:
        assert (await client.get(f"http+unix://{quoted}/echo")).status == 200


async def test_nobody_listens(stack: Stack) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    async with stack.client() as client:
        with pytest.raises(ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_name_that_does_not_resolve(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*_: object, **__: object) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", nowhere)
    async with stack.client() as client:
        with pytest.raises(ConnectError, match="Name or service not known"):
            await client.get("http://gone.test/")


async def test_a_server_that_says_nothing(stack: Stack) -> None:
    async def handle(server: Peer) -> None:
        await server.rest()

    async with answering(handle) as url, stack.client() as client:
        with pytest.raises(ReadTimeout):
            await client.get(url, timeouts=Timeouts(read=0.03))
        with pytest.raises(TotalTimeout):
            await client.get(url, timeouts=Timeouts(total=0.03))


async def test_a_handshake_that_never_ends(stack: Stack) -> None:
    gone = anyio.Event()

    async def handle(server: Peer) -> None:
        await server.rest()
        gone.set()

    async with answering(handle) as url, stack.client() as client:
        with pytest.raises(ConnectTimeout):
            await client.get(url.replace("http", "https"), timeouts=Timeouts(connect=0.03))
        await gone.wait()  # the attempt was abandoned, its socket closed


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"nonsense\r\n\r\n"],
)
async def test_a_server_that_breaks_off(stack: Stack, answer: bytes) -> None:
    async def handle(server: Peer) -> None:
        await server.until(b"\r\n\r\n")
        if answer:
            await server.send(answer)

    async with answering(handle) as url, stack.client() as client:
        with pytest.raises(UpstreamProtocolError):
            await client.post(url, body=b"x")


async def test_a_reset_is_an_error_of_the_call(stack: Stack) -> None:
    async def handle(server: Peer) -> None:
        await server.until(b"\r\n\r\n")
        server.reset()

    async with answering(handle) as url, stack.client() as client:
        with pytest.raises(UpstreamProtocolError):
            await client.post(url, body=b"x")


async def test_a_cancelled_call_closes_its_connection_and_frees_its_slot(stack: Stack) -> None:
    gone: list[int] = []

    async def handle(server: Peer) -> None:
        await read_to_the_end(server)
        gone.append(1)

    async with answering(handle) as url, stack.client() as client:
        for _ in range(3):
            with anyio.move_on_after(0.02) as scope:
                await client.get(url)
            assert scope.cancelled_caught
        await until(lambda: len(gone) == 3)


async def test_leaving_the_block_cancels_calls_and_closes(stack: Stack) -> None:
    async def handle(server: Peer) -> None:
        await server.rest()

    failed: list[BaseException] = []
    async with (
        answering(handle) as url,
        anyio.create_task_group() as tasks,
        stack.client() as client,
    ):

        async def call() -> None:
            try:
                await client.get(url)
            except Exception as error:  # noqa: BLE001 (looked at below)
                failed.append(error)

        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
    assert len(failed) == 1


async def test_a_client_works_only_in_its_block(stack: Stack) -> None:
    client = stack.client()
    with pytest.raises(RuntimeError, match="block"):
        await client.get("http://127.0.0.1/")
    async with client:
        with pytest.raises(RuntimeError, match="open already"):
            await client.__aenter__()
        with pytest.raises(ValueError, match=r"."):
            await client.get("ftp://127.0.0.1/")
    with pytest.raises(RuntimeError, match="block"):
        await client.get("http://127.0.0.1/")


async def test_handlers_call_other_services(stack: Stack, pipeline: Pipeline[None]) -> None:
    front: Pipeline[None] = Pipeline("front")
    upstream: list[str] = []

    @front.route("GET /task")
    async def task(_: Request, ctx: Context[None]) -> Response:
        answer = await ctx.client.post(f"{upstream[0]}/echo", body=b"through a task")
        async with ctx.client.stream("GET", f"{upstream[0]}/stream") as stream:
            size = sum([len(chunk) async for chunk in stream])
        return Response.text(f"{answer.text()} {size}")

    @front.route("GET /thread", thread=True)
    def thread(_: Request, ctx: ThreadContext[None]) -> Response:
        answer = ctx.client.post(f"{upstream[0]}/echo", body=b"through a thread")
        up = ctx.client.post(f"{upstream[0]}/upload", body=[b"ab", b"cde"])
        with ctx.client.stream("GET", f"{upstream[0]}/stream") as stream:
            size = sum(len(chunk) for chunk in stream)
        return Response.text(f"{answer.text()} {up.text()} {size}")

    async with stack.serve(pipeline) as back:
        upstream.append(back.url)
        async with stack.serve(front) as server, peer(server.addresses[0]) as client:
            async with server.bus.subscribe("net.http.client.>") as events:
                assert (await client.ask(get("/task"))).body == b"through a task 1000000"
                assert (await anext(events)).type == "net.http.client.request"
            assert (await client.ask(get("/thread"))).body == b"through a thread 5 1000000"
            assert (await server.client.get(f"{back.url}/echo")).status == 200


async def test_a_disconnect_reaches_through_to_the_upstream_call(stack: Stack) -> None:
    front: Pipeline[None] = Pipeline("front")
    upstream: list[str] = []
    called = anyio.Event()
    gone = anyio.Event()

    @front.route("GET /")
    async def relay(_: Request, ctx: Context[None]) -> Response:
        return Response(200, (await ctx.client.get(upstream[0])).body)

    async def handle(server: Peer) -> None:
        await server.until(b"\r\n\r\n")
        called.set()
        await read_to_the_end(server)
        gone.set()

    async with answering(handle) as url:
        upstream.append(url)
        limits = Limits(half_close_grace=0)
        async with stack.serve(front, limits=limits) as server:
            async with peer(server.addresses[0]) as client:
                await client.send(get("/"))
                await called.wait()
            await gone.wait()
