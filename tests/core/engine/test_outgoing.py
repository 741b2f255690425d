"""Outgoing HTTP: from a handler over the bus to another server, and stand-ins for that server."""

import pytest

from pipebus.bus.event import Event
from pipebus.engine.engine import Engine
from pipebus.errors import ConnectError, ResponderFailed, TotalTimeout
from pipebus.http.client import ClientRequest, ClientResponse, Connect
from pipebus.http.client_events import CLIENT_REQUEST, ClientResponded
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Timeouts
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from tests.core.engine.upstreams import chunks, gateway, nothing_left


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


def test_a_head_that_comes_after_the_deadline_and_before_its_timer_is_late() -> None:
    engine = Engine(Pipeline("p"), wire=H11Codec(), id_prefix="x", now=0.0)
    request = ClientRequest("GET", "http://127.0.0.1/")
    call = engine.http(request, 0.0, stream=True, timeouts=Timeouts(total=5.0))
    connect = engine.next_action()
    assert isinstance(connect, Connect)
    conn = engine.connected(connect.attempt_id, None, 0.0)
    assert conn is not None
    engine.data_sent(conn, len(conn.data_to_send()), 0.0)
    engine.receive_data(conn, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 6.0)
    assert call.client_call is not None
    assert isinstance(call.client_call.error, TotalTimeout)
    assert engine.bus.counts.outcomes["timed_out"] == 1
