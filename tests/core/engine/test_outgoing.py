"""Outgoing HTTP: from a handler over the bus to another server, and stand-ins for that server."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from pipebus.bus.event import Event
from pipebus.engine.calls import HttpCall
from pipebus.engine.host import Start
from pipebus.engine.http_calls import ThreadClient
from pipebus.errors import (
    ClientError,
    ConnectError,
    ResponderFailed,
    TotalTimeout,
    UpstreamProtocolError,
)
from pipebus.http.client import ClientRequest, ClientResponse
from pipebus.http.client_events import CLIENT_REQUEST, ClientResponded
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Timeouts
from pipebus.pipeline.context import Context, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


def upstream() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("upstream")

    @pipeline.route("/echo")
    def echo(request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        return Response(200, request.body, {"x-method": request.method, "x-type": kind})

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(50)
        return Response()

    @pipeline.route("GET /count")
    async def count(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(5):
                await ctx.sleep(1)
                yield b"%d" % number

        return Response.stream(pieces())

    @pipeline.route("POST /refuse", stream=True)
    async def refuse(request: StreamRequest) -> Response:
        return Response(403)

    @pipeline.route("POST /sum", stream=True)
    async def total(request: StreamRequest) -> Response:
        return Response.text(str(sum([len(piece) async for piece in request])))

    return pipeline


def gateway(pipeline: Pipeline[None]) -> Simulation:
    app = Simulation(pipeline)
    app.serve(upstream(), "up")
    return app


def nothing_left(app: Simulation) -> None:
    for node in (app.server, app.client, *app._upstreams):
        assert not any(left_behind(node.engine).values()), node.name
        assert node.tasks == 0


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_a_handler_calls_another_service_and_a_tap_sees_it() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("POST /")
    async def root(request: Request, ctx: Context) -> Response:
        client = ctx.client
        assert client is ctx.client
        response = await client.post("http://up/echo", body=request.body)
        return Response(response.status, response.body)

    with gateway(pipeline) as app:
        assert app.post("/", b"hello").body == b"hello"
        (asked,) = app.of("net.http.client.request")
        (answered,) = app.of("net.http.client.response")
        (came,) = app.of("net.http.request")
        assert asked.causation_id == came.id
        assert answered.correlation_id == asked.correlation_id == came.correlation_id
        assert isinstance(answered.data, ClientResponded)
        assert (answered.data.status, answered.data.outcome) == (200, "replied")
        assert app.post("/", b"again").body == b"again"
        assert [event.data.reused for event in app.of("net.http.client.response")] == [False, True]
    nothing_left(app)


def test_every_verb_and_json() -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[tuple[str, bytes, str]] = []

    def note(response: ClientResponse) -> None:
        headers = response.headers
        seen.append((headers["x-method"], response.body, headers.get("x-type", "")))

    @pipeline.route("GET /task")
    async def task(request: Request, ctx: Context) -> Response:
        http, url = ctx.client, "http://up/echo"
        note(await http.get(url))
        note(await http.head(url))
        note(await http.options(url))
        note(await http.delete(url))
        note(await http.post(url, json={"a": 1}))
        note(await http.put(url, json=[], headers={"content-type": "x/y"}))
        note(await http.patch(url, body=chunks(b"a", b"b")))
        with pytest.raises(ValueError, match="not both"):
            await http.post(url, body=b"x", json=1)
        with pytest.raises(TypeError, match="encode text"):
            await http.post(url, body="text")  # type: ignore[arg-type]  # the mistake under test
        with pytest.raises(ValueError, match="ftp"):
            await http.get("ftp://up/")
        return Response()

    with gateway(pipeline) as app:
        assert app.get("/task").status == 200
        assert seen == [
            ("GET", b"", ""),
            ("HEAD", b"", ""),
            ("OPTIONS", b"", ""),
            ("DELETE", b"", ""),
            ("POST", b'{"a":1}', "application/json"),
            ("PUT", b"[]", "x/y"),
            ("PATCH", b"ab", ""),
        ]
    nothing_left(app)


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


def test_client_errors_are_raised_as_they_are() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /refused")
    async def refused(request: Request, ctx: Context) -> Response:
        await ctx.client.get("http://nowhere/")
        return Response()

    @pipeline.route("GET /late")
    async def late(request: Request, ctx: Context) -> Response:
        with pytest.raises(TotalTimeout):
            await ctx.client.get("http://up/slow", timeouts=Timeouts(total=3))
        await ctx.client.get("http://up/slow", timeouts=Timeouts(read=2))
        return Response()

    @pipeline.route("GET /stream")
    async def stream(request: Request, ctx: Context) -> Response:
        with pytest.raises(TotalTimeout):
            async with ctx.client.stream(
                "GET", "http://up/count", timeouts=Timeouts(total=2.5)
            ) as response:
                async for _ in response:
                    pass
        return Response()

    with gateway(pipeline) as app:
        assert app.get("/refused").status == 502
        assert app.get("/late").status == 504
        assert app.get("/stream").status == 200
        errors = [event.data.error for event in app.of("net.http.client.error")]
        assert errors[0] == ConnectError.__name__
        assert len(errors) == 4
    nothing_left(app)


def test_the_callers_deadline_caps_the_call() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /", timeout=4)
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.client.get("http://up/slow")
        return Response()

    with gateway(pipeline) as app:
        started = app.world.now
        assert app.get("/").status == 504
        assert app.world.now == started + 4
    nothing_left(app)


def test_a_request_on_the_topic_is_a_call_as_well() -> None:
    pipeline: Pipeline[None] = Pipeline()
    with gateway(pipeline) as app:
        response = app.bus_request(CLIENT_REQUEST, ClientRequest("GET", "http://up/echo"))
        assert response.status == 200
        with pytest.raises(ResponderFailed, match="TypeError"):
            app.bus_request(CLIENT_REQUEST, "http://up/echo")
        with pytest.raises(ResponderFailed) as failed:
            app.bus_request(CLIENT_REQUEST, ClientRequest("GET", "http://nowhere/"))
        assert isinstance(failed.value.__cause__, ConnectError)
    nothing_left(app)


def test_a_responder_of_the_program_stands_in_for_the_network() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond(CLIENT_REQUEST)
    def stand_in(event: Event) -> Response:
        request: ClientRequest = event.data
        return Response(203, request.url.encode() + request.body)

    @pipeline.route("GET /whole")
    async def whole(request: Request, ctx: Context) -> Response:
        response = await ctx.client.post("http://any/where", body=b"!")
        return Response(response.status, response.body)

    @pipeline.route("GET /stream")
    async def stream(request: Request, ctx: Context) -> Response:
        body = chunks(b"never", b"asked")
        async with ctx.client.stream("PUT", "http://any/", body=body) as response:
            return Response(response.status, b"".join([piece async for piece in response]))

    with Simulation(pipeline) as app:
        response = app.get("/whole")
        assert (response.status, response.body) == (203, b"http://any/where!")
        response = app.get("/stream")
        assert (response.status, response.body) == (203, b"http://any/")
    nothing_left(app)


def test_a_client_without_a_bus() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        engine, now = app.client.engine, app.world.now
        good = engine.http(ClientRequest("GET", "http://up/echo"), now, on_bus=False)
        bad = engine.http(ClientRequest("GET", "http://nowhere/"), now, on_bus=False)
        gone = engine.http(ClientRequest("GET", "http://up/slow"), now, on_bus=False)
        app.settle()
        assert good.result().status == 200
        assert isinstance(bad.error, ConnectError)
        engine.abandon(gone, app.world.now)
        app.settle()
        assert engine.bus.counts.published == 0
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


def test_a_thread_uses_the_client_where_nothing_has_to_wait() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond(CLIENT_REQUEST)
    def stand_in(event: Event) -> Response:
        return Response(200, event.data.method.encode())

    def never() -> Iterator[bytes]:
        yield b"not asked for"

    def broken() -> Iterator[bytes]:
        yield from map(bytes, [1 // len(b"")])

    @pipeline.route("GET /", thread=True)
    def root(request: Request, ctx: ThreadContext) -> Response:
        http = ctx.client
        assert http is ctx.client
        assert http.get("http://a/").body == b"GET"
        assert http.request("PUT", "http://a/", body=never()).body == b"PUT"
        with pytest.raises(ZeroDivisionError):
            http.post("http://a/", body=broken())
        with http.stream("GET", "http://a/") as response:
            assert list(response) == [b"GET"]
        return Response()

    with Simulation(pipeline) as app:
        assert app.get("/").status == 200
    nothing_left(app)


def test_an_auditor_of_calls_makes_their_callers_wait() -> None:
    """What a call publishes at its end is charged to who awaits it, however it ends."""
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("net.http.client.response", queue=1)
    async def auditor(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)

    @pipeline.route("GET /", timeout=100)
    async def root(request: Request, ctx: Context) -> Response:
        for _ in range(3):
            async with ctx.client.stream("GET", "http://up/echo") as response:
                async for _ in response:
                    pass
        for _ in range(2):
            await ctx.client.get("http://up/echo")
        return Response()

    with gateway(pipeline) as app:
        started = app.world.now
        assert app.request("GET", "/", within=100).status == 200
        assert app.world.now == started + 30
    nothing_left(app)


def test_an_auditor_that_makes_calls_cannot_wait_for_itself() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("net.http.client.response", queue=1)
    async def auditor(event: Event, ctx: Context) -> None:
        if event.data.url.endswith("?first"):
            for _ in range(3):
                await ctx.client.get("http://up/echo")

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.client.get("http://up/echo?first")
        return Response()

    with gateway(pipeline) as app:
        assert app.get("/").status == 200
        app.advance(1)
        assert [report.message for report in app.server.reports] == [
            "net.http.client.response was not published"
        ] * 2
    nothing_left(app)


def test_names_that_do_not_resolve_and_connections_that_come_too_late() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        app.network.name("void")
        engine = app.client.engine
        call = engine.http(ClientRequest("GET", "http://void/"), app.world.now, on_bus=False)
        app.settle()
        assert isinstance(call.error, ConnectError)
        assert engine.connected("no such attempt", None, app.world.now) is None
    nothing_left(app)


def test_a_thread_that_streams_from_who_stands_in() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond(CLIENT_REQUEST)
    def stand_in(event: Event) -> Response:
        if event.data.url.endswith("/bad"):
            raise ValueError
        return Response(200, b"whole")

    @pipeline.route("GET /", thread=True)
    def root(request: Request, ctx: ThreadContext) -> Response:
        with ctx.client.stream("GET", "http://a/") as response:
            assert list(response) == [b"whole"]
            assert list(response) == []
        with pytest.raises(ResponderFailed), ctx.client.stream("GET", "http://a/bad"):
            pytest.fail("it has no response")
        return Response()

    with Simulation(pipeline) as app:
        assert app.get("/").status == 200
    nothing_left(app)


class Patient:
    """A host for a thread that has all the time of a simulated world."""

    def __init__(self, app: Simulation) -> None:
        self.app = app

    def now(self) -> float:
        return self.app.world.now

    def pump(self) -> None:
        self.app.client.pump()

    def call(self, start: Start) -> Any:
        raise NotImplementedError

    def call_from_thread(self, start: Start) -> Any:
        call = start(self.now())
        self.app.run_until(lambda: call.done, 600.0)
        return call.result()

    def run_in_loop(self, action: Callable[[float], Any]) -> Any:
        result = action(self.now())
        self.app.settle()
        return result


def test_a_thread_that_waits_uploads_and_streams() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        http = ThreadClient(app.client.engine, Patient(app), on_bus=False)
        assert http.post("http://up/sum", body=iter([b"abc", b"d"])).text() == "4"
        refused = http.post("http://up/refuse", body=itertools.repeat(bytes(100_000)))
        assert refused.status == 403
        with http.stream("GET", "http://up/count") as response:
            assert response.status == 200
            assert list(response) == [b"0", b"1", b"2", b"3", b"4"]
    nothing_left(app)


def test_a_bus_request_for_a_call_that_is_given_up() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        request = ClientRequest("GET", "http://up/slow")
        call = app.engine.request(CLIENT_REQUEST, request, app.world.now)
        app.advance(1)
        assert app.engine.client.stats.opened == 1
        app.engine.abandon(call, app.world.now)
        app.settle()
        (event,) = app.of("net.http.client.error")
        assert (event.data.outcome, event.data.status) == ("cancelled", 0)
        assert sum(app.engine.bus.counts.replies_discarded.values()) == 0
    nothing_left(app)


def test_nobody_listens_to_how_calls_end() -> None:
    app = Simulation(Pipeline("empty"), record=False)
    app.serve(upstream(), "up")
    with app:
        assert app.bus_request(CLIENT_REQUEST, ClientRequest("GET", "http://up/echo")).status == 200
        assert app.events == []
    nothing_left(app)


def test_what_an_abandoned_call_leaves_parked_is_dropped() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("net.http.client.error", queue=1)
    async def auditor(event: Event, ctx: Context) -> None:
        await ctx.sleep(20)

    with gateway(pipeline) as app:
        for path, stream in (("slow", False), ("slow", False), ("slow", False), ("count", True)):
            request = ClientRequest("GET", f"http://up/{path}")
            call = app.engine.http(request, app.world.now, stream=stream)
            app.settle()
            assert call.done is stream
            app.engine.abandon(call, app.world.now)
            app.settle()
        assert app.engine.bus.counts.dropped == {"cancelled": 2}
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
