"""Handlers stepped by hand: what they may await, and what is said of the others."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Generator
from typing import NoReturn

import anyio
import anyio.lowlevel
import pytest

from pipebus.bus.event import Event
from pipebus.errors import CallCancelled, NeedsRuntime, RequestTimeout
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.context import Context, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation


class Alien:
    """Something of another library's that is awaited."""

    def __await__(self) -> Generator[object, None, None]:
        yield self


async def outside() -> None:
    await Alien()


def needs_runtime(wait: Awaitable[object], *, body: bool = False) -> NeedsRuntime:
    """Serve a route that awaits something itself, or in the body that it streams."""
    pipeline: Pipeline[None] = Pipeline()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await wait

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        if body:
            return Response.stream(pieces())
        await wait
        return Response()

    with pytest.raises(NeedsRuntime) as failed, Simulation(pipeline) as app:
        app.get("/")
    return failed.value


def test_awaiting_something_foreign_names_the_line() -> None:
    error = needs_runtime(outside())
    assert "awaits a Alien" in str(error)
    assert f"test_handlers.py:{outside.__code__.co_firstlineno + 1}:" in str(error)
    assert "pipebus_trio.testing" in str(error)


@pytest.mark.parametrize("body", [False, True])
def test_asyncio_and_anyio_need_their_loops(*, body: bool) -> None:
    for wait in (asyncio.sleep(1), anyio.sleep(1), anyio.lowlevel.checkpoint()):
        error = needs_runtime(wait, body=body)
        assert "needs an event loop at" in str(error)
        assert error.__cause__ is not None


def test_an_inline_handler_needs_a_loop_too() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        asyncio.get_running_loop()
        return Response()

    with pytest.raises(NeedsRuntime, match="root needs an event loop"), Simulation(pipeline) as app:
        app.get("/")


def test_other_errors_of_the_same_kind_are_the_handlers_own() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        raise RuntimeError("my own")

    with Simulation(pipeline) as app:
        assert app.get("/").status == 500


def test_an_upload_that_cannot_be_stepped() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def foreign() -> AsyncIterator[bytes]:
        yield b"one"
        await Alien()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.client.post("http://up/", body=foreign())
        return Response()

    upstream: Pipeline[None] = Pipeline("up")

    @upstream.route("POST /", stream=True)
    async def post(request: StreamRequest) -> Response:
        return Response(200, b"".join([piece async for piece in request]))

    with pytest.raises(NeedsRuntime, match="Alien"), Simulation(pipeline) as app:
        app.serve(upstream, "up")
        app.get("/")


class Stop(BaseException):
    """What a test framework raises to end a test, wherever it stands."""


def stop() -> NoReturn:
    raise Stop


@pytest.mark.parametrize("kind", ["handler", "body", "upload"])
def test_what_ends_a_test_is_not_swallowed(kind: str) -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        stop()

    @pipeline.route("GET /handler")
    async def handler(request: Request) -> Response:
        stop()

    @pipeline.route("GET /body")
    async def body(request: Request) -> Response:
        return Response.stream(pieces())

    @pipeline.route("GET /upload")
    async def upload(request: Request, ctx: Context) -> Response:
        await ctx.client.post("http://app/sink", body=pieces())
        return Response()

    @pipeline.route("POST /sink", stream=True)
    async def sink(request: StreamRequest) -> Response:
        return Response(200, b"".join([piece async for piece in request]))

    with pytest.raises(Stop), Simulation(pipeline) as app:
        app.get(f"/{kind}")
    assert kind not in [task.name for task in app.server._tasks]


# --- threads -----------------------------------------------------------------------------------


def test_a_thread_may_ask_whoever_answers_without_time_passing() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("quick")
    async def quick(event: Event, ctx: Context) -> int:
        return int(await ctx.request("quicker")) + 1

    @pipeline.respond("quicker")
    async def quicker(event: Event) -> int:
        return 1

    @pipeline.respond("thread", thread=True)
    def thread(event: Event, ctx: ThreadContext) -> object:
        return ctx.request("quick")

    @pipeline.respond("other")
    async def other(event: Event) -> str:
        return "me too"

    with Simulation(pipeline) as app:
        now = app.world.now
        calls = [app.engine.request(topic, None, now) for topic in ("thread", "other")]
        app.server.pump()
        app.settle()
        # The other ran while the thread waited, and once only.
        assert [call.value for call in calls] == [2, "me too"]


def test_a_thread_publishes_at_once() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("thread", thread=True)
    def thread(event: Event, ctx: ThreadContext) -> str:
        return ctx.publish_nowait("note").type

    with Simulation(pipeline) as app:
        assert app.bus_request("thread") == "note"


def test_a_thread_cannot_wait_for_time() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(1)

    @pipeline.route("GET /", thread=True)
    def root(request: Request, ctx: ThreadContext) -> Response:
        ctx.request("slow")
        return Response()

    with (
        pytest.raises(NeedsRuntime, match="a thread handler waits"),
        Simulation(pipeline) as app,
    ):
        app.get("/")
    assert app.engine.bus.counts.outcomes["cancelled"] == 1


# --- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_what_was_called_off_before_it_ran_never_runs(mode: str) -> None:
    pipeline: Pipeline[None] = Pipeline()
    ran: list[str] = []

    @pipeline.respond("inline")
    def inline(event: Event) -> None:
        ran.append("inline")

    @pipeline.respond("thread", thread=True)
    def thread(event: Event) -> None:
        ran.append("thread")

    with Simulation(pipeline) as app:
        call = app.engine.request(mode, None, app.world.now)
        app.engine.abandon(call, app.world.now)
        app.server.pump()
        app.settle()
    assert ran == []


def test_who_gave_up_before_it_was_woken_is_not() -> None:
    pipeline: Pipeline[None] = Pipeline()
    with Simulation(pipeline) as app:
        engine = app.engine
        call = engine.sleep(1.0, app.world.now)
        task = app.server.spawn("sleeper", app.server._wait(call), lambda *_: None)
        app.settle()
        engine.handle_timeout(app.world.now + 1.0)  # says Wake
        engine.abandon(call, app.world.now)
        app.server.pump()
        assert not app.server.run()
        app.server.cancel(task)
        app.server.cancel(task)
        app.settle()
        assert task.finished


class Plain:
    """A body that is no generator: it has no `aclose`."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def __aiter__(self) -> "Plain":
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


class Closable(Plain):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("inline", [False, True])
def test_a_body_is_closed_once_read_or_not(*, inline: bool) -> None:
    pipeline: Pipeline[None] = Pipeline()
    bodies: list[Closable] = []

    def make() -> Response:
        bodies.append(Closable(b"a", b"b"))
        return Response.stream(bodies[-1])

    if inline:

        @pipeline.route("GET /")
        def root(request: Request) -> Response:
            return make()

    else:

        @pipeline.route("GET /")
        async def task(request: Request) -> Response:
            return make()

    @pipeline.route("GET /plain")
    async def plain(request: Request) -> Response:
        return Response.stream(Plain(b"p", b"q"))

    with Simulation(pipeline) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
        app.network.resume(end)
        assert app.get("/").body == b"ab"
        assert app.request("HEAD", "/").body == b""
        assert [body.closed for body in bodies] == [1, 1]
        assert app.get("/plain").body == b"pq"


def test_who_sends_a_body_waits_for_its_reader() -> None:
    pipeline: Pipeline[None] = Pipeline()
    made: list[int] = []

    async def pieces(ctx: Context) -> AsyncIterator[bytes]:
        for number in range(20):
            await ctx.sleep(0.01)
            made.append(number)
            yield bytes(30_000)

    @pipeline.route("GET /down")
    async def down(request: Request, ctx: Context) -> Response:
        return Response.stream(pieces(ctx))

    @pipeline.route("GET /up/{where}")
    async def up(request: Request, ctx: Context) -> Response:
        url = f"http://app/{request.path_params['where']}"
        response = await ctx.client.post(url, body=pieces(ctx))
        return Response(response.status, response.body)

    @pipeline.route("POST /sink", stream=True)
    async def sink(request: StreamRequest) -> Response:
        return Response.text(str(sum([len(piece) async for piece in request])))

    @pipeline.route("POST /refuse", stream=True)
    async def refuse(request: StreamRequest) -> Response:
        return Response(403)

    with Simulation(pipeline) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        app.advance(5.0)
        assert 0 < len(made) < 10
        app.network.resume(end)
        app.advance(5.0)
        assert end.received.endswith(b"0\r\n\r\n")
        assert app.get("/up/sink").text() == "600000"
        made.clear()
        assert app.get("/up/refuse").status == 403
        assert len(made) < 20
        assert app.server.tasks == 0


def test_an_upload_that_fails_fails_its_call() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        with pytest.raises(CallCancelled) as failed:
            await ctx.client.post("http://app/sink", body=broken())
        return Response.text(type(failed.value.__cause__).__name__)

    @pipeline.route("POST /sink", stream=True)
    async def sink(request: StreamRequest) -> Response:
        return Response(200, b"".join([piece async for piece in request]))

    with Simulation(pipeline) as app:
        assert app.get("/").text() == "ZeroDivisionError"


def test_tasks_that_wake_each_other_for_ever_do_not_hang_the_test() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("again")
    async def again(event: Event, ctx: Context) -> None:
        while True:
            await ctx.request("answer")

    @pipeline.respond("answer")
    async def answer(event: Event) -> None: ...

    app = Simulation(pipeline, check=False)
    app.world._patience = 200
    with pytest.raises(RuntimeError, match="does not come to rest"), app:
        app.bus_request("again")


def test_a_failed_test_leaves_nothing_for_the_next_one_to_trip_over() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ends: list[str] = []

    @pipeline.route("GET /stream")
    async def stream(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await ctx.sleep(100.0)

        return Response.stream(pieces())

    @pipeline.route("GET /tidy")
    async def tidy(request: Request, ctx: Context) -> Response:
        try:
            await ctx.sleep(100.0)
        finally:
            ends.append("tidy")
            await ctx.sleep(1.0)  # it cannot: nobody steps it any more
        return Response()

    @pipeline.respond("unstarted")
    async def unstarted(event: Event) -> None: ...

    with pytest.raises(RequestTimeout), Simulation(pipeline) as app:
        app.start("GET", "/stream")
        app.start("GET", "/tidy")
        app.engine.request("unstarted", None, app.world.now)
        app.server.pump()
        assert app.server.tasks == 3
        raise RequestTimeout
    assert app.server.tasks == 0
    assert ends == ["tidy"]
    gc.collect()  # any complaint would fail this test
