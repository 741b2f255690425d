"""What becomes of an HTTP request, by what its handler does."""

from collections.abc import AsyncIterator

import pytest

from pipebus.bus.event import Event
from pipebus.errors import HTTPError, LocalProtocolError, NoResponder, RequestTimeout
from pipebus.http.events import HttpResponded
from pipebus.http.message import Request, RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.http.session import BodyStream
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, InlineContext, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


def run(pipeline: Pipeline[None], **options: object) -> Simulation:
    return Simulation(pipeline, **options)  # type: ignore[arg-type]  # options of the test's own


def test_each_kind_of_handler_answers() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /inline")
    def inline(request: Request, ctx: InlineContext) -> Response:
        return Response.text(f"{ctx.mode} {ctx.id == request.id} {ctx.draining} {ctx.state}")

    @pipeline.route("GET /task")
    async def task(request: Request, ctx: Context) -> Response:
        await ctx.sleep(1)
        return Response.text(f"{ctx.mode} {ctx.id == request.id} {ctx.draining} {ctx.state}")

    @pipeline.route("GET /thread", thread=True)
    def thread(request: Request, ctx: ThreadContext) -> Response:
        return Response.text(f"{ctx.mode} {ctx.id == request.id} {ctx.draining} {ctx.state}")

    with run(pipeline) as app:
        for mode in ("inline", "task", "thread"):
            assert app.get(f"/{mode}").text() == f"{mode} True False None"
    assert not any(left_behind(app.engine).values())


def test_a_handler_learns_its_deadline_and_the_answer_comes_at_it() -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[float | None] = []

    @pipeline.route("GET /slow", timeout=5)
    async def slow(request: Request, ctx: Context) -> Response:
        seen.append(ctx.deadline)
        await ctx.sleep(60)
        return Response()

    with run(pipeline) as app:
        started = app.world.now
        call = app.start("GET", "/slow")
        app.advance(4.99)
        assert not call.done
        app.advance(0.02)
        assert call.response.status == 504
        assert seen == [started + 5]
        assert app.engine.running == 0
        assert app.server.tasks == 0


@pytest.mark.parametrize("kind", ["inline", "task", "thread"])
def test_an_exception_is_500_reported_and_never_shown(kind: str) -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /inline")
    def inline(request: Request) -> Response:
        raise KeyError("secret")

    @pipeline.route("GET /task")
    async def task(request: Request) -> Response:
        raise KeyError("secret")

    @pipeline.route("GET /thread", thread=True)
    def thread(request: Request) -> Response:
        raise KeyError("secret")

    with run(pipeline) as app:
        response = app.get(f"/{kind}")
        assert response.status == 500
        assert "secret" not in response.text()
        (report,) = app.server.reports
        assert isinstance(report.error, KeyError)
        assert kind in report.message
        (event,) = app.of("net.http.response")
        assert isinstance(event.data, HttpResponded)
        assert (event.data.status, event.data.outcome) == (500, "failed")


def test_what_is_no_response_is_500() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return "text"  # type: ignore[return-value]  # the mistake under test

    with run(pipeline) as app:
        assert app.get("/").status == 500
        assert "returned str" in str(app.server.reports[0].error)


def test_http_error_and_error_handlers() -> None:
    pipeline: Pipeline[None] = Pipeline()

    class Broke(Exception):
        pass

    @pipeline.route("GET /teapot")
    def teapot(request: Request) -> Response:
        raise HTTPError(418, "short and stout")

    @pipeline.route("GET /broke")
    async def broke(request: Request) -> Response:
        raise Broke

    @pipeline.route("GET /worse")
    def worse(request: Request) -> Response:
        raise ZeroDivisionError

    @pipeline.on_error(Broke)
    def poor(error: Broke, request: RequestInfo) -> Response:
        return Response.text(f"no money for {request.target}", status=402)

    @pipeline.on_error(ZeroDivisionError)
    async def worst(error: ZeroDivisionError, request: RequestInfo) -> Response:
        raise RuntimeError("the error handler fails as well") from error

    with run(pipeline) as app:
        assert app.get("/teapot").status == 418
        assert not app.server.reports
        response = app.get("/broke")
        assert (response.status, response.text()) == (402, "no money for /broke")
        assert not app.server.reports
        assert app.get("/worse").status == 500
        assert isinstance(app.server.reports[0].error, RuntimeError)
    assert not any(left_behind(app.engine).values())


def test_errors_of_the_bus_and_their_statuses() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /nobody")
    async def nobody(request: Request, ctx: Context) -> Response:
        await ctx.request("no.such.topic")
        return Response()

    @pipeline.route("GET /late")
    async def late(request: Request, ctx: Context) -> Response:
        await ctx.request("slow", timeout=1)
        return Response()

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(100)

    with run(pipeline) as app:
        response = app.get("/nobody")
        assert (response.status, response.headers.get("retry-after")) == (503, "1")
        assert app.get("/late").status == 504
        with pytest.raises(NoResponder):
            app.bus_request("no.such.topic")
        with pytest.raises(RequestTimeout):
            app.bus_request("slow", timeout=1)
    assert not any(left_behind(app.engine).values())


def test_a_nested_request_ends_with_its_parent() -> None:
    pipeline: Pipeline[None] = Pipeline()
    deadlines: list[float | None] = []

    @pipeline.route("GET /", timeout=2)
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.request("slow", timeout=50)
        return Response()

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        deadlines.append(ctx.deadline)
        await ctx.sleep(100)

    with run(pipeline) as app:
        started = app.world.now
        assert app.get("/").status == 504
        assert deadlines == [started + 2]
        assert app.engine.running == 0


def test_a_responder_has_a_timeout_of_its_own() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("slow", timeout=3)
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(100)

    with run(pipeline) as app:
        started = app.world.now
        with pytest.raises(RequestTimeout):
            app.bus_request("slow", timeout=50)
        assert app.world.now == started + 3


def test_a_streamed_request_is_read_as_it_comes() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pieces: list[bytes] = []

    @pipeline.route("POST /up", stream=True)
    async def up(request: StreamRequest) -> Response:
        async for piece in request:
            pieces.append(piece)
        with pytest.raises(LocalProtocolError):
            request.__aiter__()
        return Response.text(str(sum(map(len, pieces))))

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
        assert pieces == [b"ab"]
        app.advance(5)
        app.send(end, b"cd")
        app.send(end, b"ef")
        assert end.received.endswith(b"\r\n\r\n6")
        assert pieces == [b"ab", b"cd", b"ef"]
    assert not any(left_behind(app.engine).values())


def test_a_streamed_request_cut_short_is_an_error_in_the_handler() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ends: list[str] = []

    @pipeline.route("POST /up", stream=True)
    async def up(request: StreamRequest) -> Response:
        try:
            async for _ in request:
                pass
        except BaseException as error:
            ends.append(type(error).__name__)
            raise
        return Response()

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
        app.network.reset(end)
        app.settle()
        assert ends in (["StepCancelled"], ["StreamInterrupted"])
        assert app.engine.running == 0
        (event,) = app.of("net.http.error")
        assert event.data.reason == "disconnect"


async def count(ctx: Context, times: int) -> AsyncIterator[bytes]:
    for number in range(times):
        await ctx.sleep(1)
        yield b"%d\n" % number


def test_a_streamed_response_is_sent_as_it_is_made() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /down")
    async def down(request: Request, ctx: Context) -> Response:
        return Response.stream(count(ctx, 3))

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        app.advance(1.5)
        assert end.received.endswith(b"\r\n\r\n2\r\n0\n\r\n")
        app.advance(2)
        assert end.received.endswith(b"2\r\n2\n\r\n0\r\n\r\n")
        (event,) = app.of("net.http.response")
        assert event.data.outcome == "replied"
        assert event.data.stages.total == pytest.approx(3)
    assert not any(left_behind(app.engine).values())


def test_a_streamed_response_of_a_def_is_sent_too() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    @pipeline.route("GET /down")
    def down(request: Request) -> Response:
        return Response.stream(pieces(), content_length=6)

    with run(pipeline) as app:
        response = app.get("/down")
        assert response.body == b"onetwo"
        assert response.headers["content-length"] == "6"
        assert app.request("HEAD", "/down").body == b""
    assert not any(left_behind(app.engine).values())


def test_nobody_reads_a_streamed_response_any_more() -> None:
    pipeline: Pipeline[None] = Pipeline()
    closed: list[bool] = []

    async def endless(ctx: Context) -> AsyncIterator[bytes]:
        try:
            while True:
                await ctx.sleep(1)
                yield b"x"
        finally:
            closed.append(True)

    @pipeline.route("GET /down")
    async def down(request: Request, ctx: Context) -> Response:
        return Response.stream(endless(ctx))

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        app.advance(3.5)
        app.network.reset(end)
        app.settle()
        assert closed == [True]
        assert app.engine.running == 0
    assert not any(left_behind(app.engine).values())


@pytest.mark.parametrize("piece", ["text", None])
def test_a_piece_that_is_no_bytes_cuts_the_response(piece: object) -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def wrong() -> AsyncIterator[bytes]:
        yield b"good"
        yield piece  # type: ignore[misc]  # the mistake under test

    @pipeline.route("GET /down")
    def down(request: Request) -> Response:
        return Response.stream(wrong())

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        assert end.received.endswith(b"4\r\ngood\r\n")
        assert end.eof or end.lost
        assert isinstance(app.server.reports[0].error, TypeError)
        (event,) = app.of("net.http.error")
        assert event.data.status == 200


def test_a_slow_reader_stops_a_streamed_response() -> None:
    pipeline: Pipeline[None] = Pipeline()
    made: list[int] = []

    async def much() -> AsyncIterator[bytes]:
        for number in range(100):
            made.append(number)
            yield bytes(50_000)

    @pipeline.route("GET /down")
    async def down(request: Request) -> Response:
        return Response.stream(much(), content_length=5_000_000)

    with run(pipeline, limits=Limits(write_timeout=5)) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(made) < 10
        app.network.resume(end)
        app.settle()
        assert len(made) == 100
        assert len(end.received) > 5_000_000
    assert not any(left_behind(app.engine).values())


def test_a_piece_whose_reader_has_gone_is_read_by_the_next() -> None:
    """A cancellation may overtake the wake-up of a reader that has its piece already."""
    pipeline: Pipeline[None] = Pipeline()
    bodies: list[object] = []

    @pipeline.route("POST /up", stream=True)
    async def up(request: StreamRequest, ctx: Context) -> Response:
        bodies.append(request.body_state)
        await ctx.sleep(1)
        return Response.text(b"".join([piece async for piece in request]).decode())

    with run(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
        (body,) = bodies
        assert isinstance(body, BodyStream)
        read = app.engine.read(body, app.world.now)
        assert read.done
        app.engine.abandon(read, app.world.now)
        waiting = app.engine.read(body, app.world.now)
        app.engine.abandon(waiting, app.world.now)
        app.engine.abandon(app.engine.read(body, app.world.now), app.world.now)
        app.send(end, b"cdef")
        app.advance(2)
        assert end.received.endswith(b"\r\n\r\nabcdef")
    assert not any(left_behind(app.engine).values())
