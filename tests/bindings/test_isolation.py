"""What one handler does to its surroundings meets no other: variables, odd exceptions, bodies."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.errors import CallCancelled, PublishTimeout
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.http.session import BodyStream
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer, request, until

pytestmark = pytest.mark.anyio

user: ContextVar[str] = ContextVar("user", default="nobody")


class Odd(BaseException):
    """Not an `Exception`, as pytest's outcomes are not."""


@pytest.fixture
def pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.route("GET /ok")
    def ok(_: Request) -> Response:
        return Response.text("ok")

    return pipeline


# --- context variables -------------------------------------------------------------------------


async def test_a_variable_that_a_handler_sets_is_gone_in_the_next_request(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    def swap(name: str) -> Response:
        before = user.get()
        user.set(name)
        return Response.text(before)

    @pipeline.route("GET /inline")
    def inline(_: Request) -> Response:
        return swap("inline")

    @pipeline.route("GET /task")
    async def task(_: Request) -> Response:
        return swap("task")

    @pipeline.route("GET /thread", thread=True)
    def thread(_: Request) -> Response:
        return swap("thread")

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        for path in ("/inline", "/task", "/thread", "/inline", "/task", "/thread"):
            assert (await client.ask(get(path))).body == b"nobody"


async def test_whoever_pumps_lends_a_handler_no_variables(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    """A task's call, or its end, makes the engine start what others wait for."""
    seen: list[str] = []
    queued = anyio.Event()

    @pipeline.respond("who.task")
    async def in_task(_: Event) -> str:
        return user.get()

    @pipeline.respond("who.inline")
    def inline(_: Event) -> str:
        return user.get()

    @pipeline.route("GET /one-at-a-time", concurrency=1)
    async def one(incoming: Request, ctx: Context[None]) -> Response:
        seen.append(user.get())
        user.set(incoming.query.get("n", ""))
        if incoming.query.get("n") == "first":
            await queued.wait()
        seen.append(await ctx.request("who.task"))
        seen.append(await ctx.request("who.inline"))
        return Response(204)

    async with (
        stack.serve(pipeline) as server,
        peer(server.addresses[0]) as first,
        peer(server.addresses[0]) as second,
    ):
        await first.send(get("/one-at-a-time?n=first"))
        await until(lambda: seen == ["nobody"])
        await second.send(get("/one-at-a-time?n=second"))
        await until(lambda: server.engine.bus.open_exchanges == 2)
        queued.set()
        assert (await first.answer()).status == (await second.answer()).status == 204
        user.set("the test")
        seen.append(await server.bus.request("who.task"))
        seen.append(await server.bus.request("who.inline"))
    assert seen == ["nobody"] * 8


async def test_handlers_see_the_variables_that_held_where_the_server_was_started(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    @pipeline.respond("who")
    async def who(_: Event) -> str:
        return user.get()

    user.set("the program")
    async with stack.serve(pipeline) as server:
        user.set("the block")
        assert await server.bus.request("who") == "the program"


# --- exceptions that are no Exception ----------------------------------------------------------


@pytest.mark.parametrize("error", [Odd, asyncio.CancelledError, GeneratorExit])
async def test_an_odd_exception_of_an_inline_handler_is_its_failure(
    stack: Stack,
    pipeline: Pipeline[None],
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    @pipeline.route("GET /odd")
    def odd(_: Request) -> Response:
        raise error

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        assert (await client.ask(get("/odd"))).status == 500
        assert (await client.ask(get("/ok"))).body == b"ok"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is error


async def test_an_odd_exception_of_a_task_is_its_failure(
    stack: Stack, pipeline: Pipeline[None], caplog: pytest.LogCaptureFixture
) -> None:
    @pipeline.route("GET /odd")
    async def odd(_: Request) -> Response:
        raise Odd

    @pipeline.route("GET /group")
    async def group(_: Request) -> Response:
        raise BaseExceptionGroup("several", [Odd(), ValueError()])

    @pipeline.route("GET /body")
    async def body(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            raise Odd

        return Response.stream(pieces())

    async with stack.serve(pipeline) as server:
        async with peer(server.addresses[0]) as client:
            assert (await client.ask(get("/odd"))).status == 500
            assert (await client.ask(get("/group"))).status == 500
            assert (await client.ask(get("/ok"))).body == b"ok"
            await client.send(get("/body"))
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
        await until(lambda: server.engine.running == 0)
    assert len(caplog.records) == 3


async def test_an_inline_subscriber_that_the_timer_runs_does_not_stop_time(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    seen: list[str] = []

    @pipeline.subscribe("pipebus.events.dropped")
    def odd(event: Event) -> None:
        seen.append(event.type)
        raise Odd

    async with (
        stack.serve(pipeline, limits=Limits(publish_timeout=0.01)) as server,
        server.bus.subscribe("a", queue=1),
    ):
        await server.bus.publish("a", 0)
        for number in (1, 2):
            with anyio.fail_after(5), pytest.raises(PublishTimeout):
                await server.bus.publish("a", number)
            assert len(seen) == number


@pytest.mark.parametrize("kind", ["inline", "task"])
def test_the_end_of_the_program_is_not_kept_back(
    stack: Stack, pipeline: Pipeline[None], kind: str
) -> None:
    @pipeline.route("GET /inline")
    def inline(_: Request) -> Response:
        raise SystemExit(3)

    @pipeline.route("GET /task")
    async def task(_: Request) -> Response:
        raise SystemExit(3)

    async def main() -> None:
        async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
            await client.send(get(f"/{kind}"))
            await client.receive()

    with pytest.raises(SystemExit) as raised:
        anyio.run(main, backend=stack.runtime)
    assert raised.value.code == 3


# --- bodies that nobody reads, or that break in an odd way -------------------------------------


class Body:
    """A body that must be closed, begun or not."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = 0

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        return b"x"

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("kind", ["inline", "task"])
async def test_a_body_that_head_does_not_want_is_closed_unread(
    stack: Stack, pipeline: Pipeline[None], kind: str
) -> None:
    body = Body()

    @pipeline.route("GET /inline")
    def inline(_: Request) -> Response:
        return Response.stream(body)

    @pipeline.route("GET /task")
    async def task(_: Request) -> Response:
        return Response.stream(body)

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        assert (await client.ask(get(f"/{kind}", method="HEAD"))).status == 200
        await until(lambda: body.closed == 1)
        assert body.asked == 0


async def test_an_upload_that_ends_in_a_strange_cancellation_ends_its_call(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    @pipeline.route("POST /count", stream=True)
    async def count(incoming: StreamRequest) -> Response:
        return Response.text(str(sum([len(chunk) async for chunk in incoming])))

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise asyncio.CancelledError  # as awaiting a task that was cancelled does

    async with stack.serve(pipeline) as server, stack.client() as client:
        with anyio.fail_after(5), pytest.raises(CallCancelled):
            await client.post(f"{server.url}/count", body=pieces())
        assert (await client.get(f"{server.url}/ok")).status == 200


async def test_a_read_that_is_cancelled_though_its_piece_was_there_gives_it_back(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    streams: list[BodyStream] = []
    here = anyio.Event()

    @pipeline.route("POST /count", stream=True)
    async def count(incoming: StreamRequest) -> Response:
        assert isinstance(incoming.body_state, BodyStream)
        streams.append(incoming.body_state)
        await here.wait()
        got = b""
        pieces = aiter(incoming)
        while True:
            with anyio.CancelScope() as scope:
                scope.cancel()
                try:
                    got += await anext(pieces)
                except StopAsyncIteration:
                    break
        return Response(200, got)

    sent = bytes(range(100))
    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        await client.send(request("POST", "/count", "Content-Length: 100"))
        await until(lambda: bool(streams))
        for n, byte in enumerate(sent):
            await client.send(bytes([byte]))
            await until(lambda n=n: streams[0].size == n + 1)  # type: ignore[misc]  # bound now
        here.set()
        assert (await client.answer("POST")).body == sent
