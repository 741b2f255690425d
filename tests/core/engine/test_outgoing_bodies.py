"""Bodies of outgoing HTTP: streamed both ways, left early and broken off."""

from collections.abc import AsyncIterator

import pytest

from pipebus.engine.calls import HttpCall
from pipebus.errors import ClientError, UpstreamProtocolError
from pipebus.http.client import ClientRequest
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from tests.core.engine.upstreams import chunks, gateway, nothing_left


def test_a_streamed_response_read_to_its_end_and_left_early() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /all")
    async def everything(request: Request, ctx: Context) -> Response:
        async with ctx.client.stream("GET", "http://up/count") as response:
            assert (response.status, response.http_version) == (200, "1.1")
            assert "date" in response.headers
            return Response(200, b"".join([piece async for piece in response]))

    @pipeline.route("GET /one")
    async def one(request: Request, ctx: Context) -> Response:
        async with ctx.client.stream("GET", "http://up/count") as response:
            return Response(200, await anext(aiter(response)))

    with gateway(pipeline) as app:
        assert app.get("/all").body == b"01234"
        assert app.get("/one").body == b"0"
        app.advance(10)
        outcomes = [event.data.outcome for event in app.of("net.http.client.*")[1::2]]
        assert outcomes == ["replied", "cancelled"]
    nothing_left(app)


def test_uploads_are_sent_as_they_come_and_stopped_when_refused() -> None:
    pipeline: Pipeline[None] = Pipeline()
    closed: list[int] = []

    async def endless(ctx: Context) -> AsyncIterator[bytes]:
        sent = 0
        try:
            while True:
                await ctx.sleep(1)
                sent += 1
                yield bytes(1_000)
        finally:
            closed.append(sent)

    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ZeroDivisionError

    @pipeline.route("GET /sum")
    async def total(request: Request, ctx: Context) -> Response:
        body = chunks(b"abc", bytes(200_000), b"d")
        response = await ctx.client.post("http://up/sum", body=body)
        return Response(200, response.body)

    @pipeline.route("GET /refused")
    async def refused(request: Request, ctx: Context) -> Response:
        response = await ctx.client.post("http://up/refuse", body=endless(ctx))
        return Response(response.status)

    @pipeline.route("GET /broken")
    async def broke(request: Request, ctx: Context) -> Response:
        with pytest.raises(ClientError) as failed:
            await ctx.client.post("http://up/sum", body=broken())
        return Response.text(type(failed.value.__cause__).__name__)

    with gateway(pipeline) as app:
        assert app.get("/sum").body == b"200004"
        assert app.get("/refused").status == 403
        app.advance(3)
        assert closed
        assert app.get("/broken").text() == "ZeroDivisionError"
    nothing_left(app)


def test_an_upload_by_hand_and_its_calls_given_up() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        engine, now = app.client.engine, app.world.now
        request = ClientRequest("POST", "http://up/sum", streams=True)
        call: HttpCall = engine.http(request, now, stream=True, on_bus=False)
        early = engine.upload_ready(call, now)
        assert not early.done
        engine.abandon(early, now)
        app.settle()
        assert engine.upload_ready(call, now).result() is True
        engine.upload_chunk(call, b"abc", now)
        reading = engine.read(call, now)
        with pytest.raises(RuntimeError, match="already"):
            engine.read(call, now)
        engine.abandon(reading, now)
        engine.upload_end(call, now)
        app.settle()
        assert engine.upload_ready(call, now).result() is False
        engine.upload_chunk(call, b"late", now)
        engine.upload_end(call, now)
        engine.upload_failed(call, ValueError(), now)
        assert engine.read(call, now).result() == b"3"
        with pytest.raises(StopAsyncIteration):
            engine.read(call, now).result()
        engine.close_http(call, now)
    nothing_left(app)


def test_an_upload_by_hand_that_fails() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        engine, now = app.client.engine, app.world.now
        request = ClientRequest("POST", "http://up/sum", streams=True)
        call = engine.http(request, now, on_bus=False)
        app.settle()
        engine.upload_failed(call, ValueError("mine"), now)
        app.settle()
        assert isinstance(call.error, ClientError)
        assert isinstance(call.error.__cause__, ValueError)
    nothing_left(app)


def test_a_server_that_breaks_off_in_the_body() -> None:
    pipeline: Pipeline[None] = Pipeline()
    broken: Pipeline[None] = Pipeline("broken")

    async def pieces(ctx: Context) -> AsyncIterator[bytes]:
        yield b"some"
        await ctx.sleep(1)
        raise ZeroDivisionError

    @broken.route("GET /")
    async def bad(request: Request, ctx: Context) -> Response:
        return Response.stream(pieces(ctx))

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        got: list[bytes] = []
        with pytest.raises(UpstreamProtocolError):
            async with ctx.client.stream("GET", "http://broken/") as response:
                async for piece in response:
                    got.append(piece)
        assert got == [b"some"]
        await ctx.client.get("http://broken/")
        return Response()

    with Simulation(pipeline) as app:
        app.serve(broken, "broken")
        assert app.get("/").status == 502
    nothing_left(app)


def test_an_answer_that_begins_while_the_upload_is_stopped() -> None:
    deaf: Pipeline[None] = Pipeline("deaf")

    @deaf.route("POST /", stream=True)
    async def root(request: StreamRequest, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"early"
            await ctx.sleep(5)

        await ctx.sleep(1)
        return Response.stream(pieces())

    app = Simulation(Pipeline("empty"))
    app.serve(deaf, "deaf")
    with app:
        engine, now = app.client.engine, app.world.now
        request = ClientRequest("POST", "http://deaf/", streams=True)
        call = engine.http(request, now, stream=True, on_bus=False)
        app.settle()
        engine.upload_chunk(call, bytes(900_000), now)
        room = engine.upload_ready(call, now)
        app.advance(2)
        assert call.done
        assert not room.done
        assert engine.read(call, now).result() == b"early"
        app.advance(6)
        assert room.result() is False
    nothing_left(app)


def test_a_piece_of_a_response_whose_reader_has_gone_is_read_by_the_next() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        engine = app.client.engine
        request = ClientRequest("GET", "http://up/count")
        call = engine.http(request, app.world.now, stream=True, on_bus=False)
        app.advance(1.5)
        first = engine.read(call, app.world.now)
        assert first.result() == b"0"
        engine.abandon(first, app.world.now)
        assert engine.read(call, app.world.now).result() == b"0"
        waiting = engine.read(call, app.world.now)
        assert not waiting.done
        engine.abandon(waiting, app.world.now)
        app.advance(1)
        assert engine.read(call, app.world.now).result() == b"1"
        engine.close_http(call, app.world.now)
    nothing_left(app)
