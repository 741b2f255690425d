"""Where one machine's word is another's input: nothing may wait for an input that never comes."""

import gc
from collections.abc import AsyncIterator

import pytest

from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.engine.actions import Flush, Run
from pipebus.engine.calls import HttpCall, RequestCall
from pipebus.engine.invocation import Invocation
from pipebus.errors import CallCancelled, LocalProtocolError, TotalTimeout
from pipebus.http.client import ClientCall, ClientRequest
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits, Timeouts
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


@pytest.mark.parametrize("kind", ["subscriber", "tap"])
def test_a_body_is_let_in_when_the_event_that_held_the_room_is_taken(kind: str) -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[int] = []

    @pipeline.route("POST /")
    async def root(request: Request) -> Response:
        seen.append(len(request.body))
        return Response()

    listen = pipeline.subscribe if kind == "subscriber" else pipeline.tap

    @listen("net.http.request")
    async def listener(event: Event, ctx: Context) -> None:
        await ctx.sleep(60)

    limits = Limits(max_buffered=100, buffered_wait=70, grace=1_000)
    with Simulation(pipeline, limits=limits, record=False, check=False) as app:
        for size in (1, 60, 60):  # the listener's hands, its queue, and one that waits for room
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            app.send(app.dial(), head + bytes(size))
        assert seen == [1, 60]
        app.advance(60)
        assert seen == [1, 60, 60]


def test_who_asks_for_an_event_after_the_end_is_told_so() -> None:
    with Simulation(Pipeline("empty")) as app:
        engine = app.engine
        subscription = engine.subscribe("topic", app.world.now)
        app.publish("topic", 1)
        assert engine.next_event(subscription, app.world.now).result().data == 1
        app.drain()  # while the program works on that event
        with pytest.raises(StopAsyncIteration):
            engine.next_event(subscription, app.world.now).result()


def test_a_second_end_of_an_invocation_is_none() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("topic")
    async def listener(event: Event) -> None:
        """Do nothing."""

    with Simulation(pipeline, record=False) as app:
        engine, now = app.engine, app.world.now
        ran: list[Invocation] = []

        def pull() -> None:
            while (action := engine.next_action()) is not None:
                if isinstance(action, Run) and action.invocation.kind == "subscriber":
                    ran.append(action.invocation)

        for number in range(3):
            engine.publish("topic", number, now)
        pull()
        first = ran[0]
        assert engine.begin(first, now)
        engine.complete(first, None, now)
        for _ in range(2):
            engine.ended(first, now)
            pull()
        assert [invocation.cause.data for invocation in ran] == [0, 1]
        for number in (1, 2):
            engine.ended(ran[number], now)
            pull()


def test_a_body_has_one_reader_at_a_time() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("POST /", stream=True)
    async def root(request: StreamRequest, ctx: Context) -> Response:
        await ctx.sleep(5)
        return Response()

    with Simulation(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        engine, now = app.engine, app.world.now
        (session,) = engine.dispatch.sessions.values()
        body = session.stream
        assert body is not None
        first = engine.read(body, now)
        with pytest.raises(RuntimeError, match="reads this body already"):
            engine.read(body, now)
        app.send(end, b"a")
        assert first.done
        second = engine.read(body, now)
        engine.abandon(first, now)  # its reader is cancelled before it has heard of the piece
        app.send(end, b"b")
        assert second.result() == b"a"
        assert engine.read(body, now).result() == b"b"


def test_after_a_cancelled_wait_a_body_is_read_on() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("POST /", stream=True)
    async def root(request: StreamRequest, ctx: Context) -> Response:
        await ctx.sleep(5)
        return Response()

    with Simulation(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        engine, now = app.engine, app.world.now
        (session,) = engine.dispatch.sessions.values()
        body = session.stream
        assert body is not None
        engine.abandon(engine.read(body, now), now)
        second = engine.read(body, now)
        app.send(end, b"a")
        assert second.result() == b"a"


def test_a_streamed_response_has_one_reader_at_a_time() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"a", b"b"):
                await ctx.sleep(1)
                yield piece

        return Response.stream(pieces())

    with Simulation(pipeline) as app:
        engine = app.client.engine
        call = engine.http(
            ClientRequest("GET", "http://app/"), app.world.now, stream=True, on_bus=False
        )
        app.client.pump()
        app.settle()
        first = engine.read(call, app.world.now)
        app.advance(1)
        assert first.done
        second = engine.read(call, app.world.now)
        engine.abandon(first, app.world.now)
        app.advance(1)
        assert second.result() == b"a"
        assert engine.read(call, app.world.now).result() == b"b"
        engine.close_http(call, app.world.now)


def test_a_slow_reader_that_has_shut_its_side_gets_all_of_a_stream() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def much() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(100_000)

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        return Response.stream(much())

    with Simulation(pipeline, limits=Limits(half_close_grace=1.0)) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        app.network.send_eof(end)
        app.advance(10)
        app.network.resume(end)
        app.settle()
        assert end.received.endswith(b"0\r\n\r\n")
        (event,) = app.of("net.http.response")
        assert event.data.outcome == "replied"
    assert not any(left_behind(app.engine).values())


def test_an_outgoing_call_ends_as_one_where_none_is_made_any_more() -> None:
    with Simulation(Pipeline("empty")) as app:
        request = ClientRequest("GET", "http://nowhere/")
        late = app.engine.http(request, app.world.now, timeouts=Timeouts(total=1e-300))
        assert isinstance(late.error, TotalTimeout)
        app.engine.close(app.world.now)
        assert isinstance(app.engine.http(request, app.world.now).error, CallCancelled)


@pytest.mark.parametrize("how", ["end", "chunk"])
def test_what_an_upload_of_the_wrong_length_costs_is_done_at_once(how: str) -> None:
    upstream: Pipeline[None] = Pipeline("upstream")

    @upstream.route("POST /")
    async def root(request: Request) -> Response:
        raise AssertionError("the request is never whole")

    with Simulation(Pipeline("empty")) as app:
        app.serve(upstream, "up")
        engine, now = app.engine, app.world.now
        request = ClientRequest("POST", "http://up/", streams=True, content_length=5)
        call = engine.http(request, now, stream=True)
        app.server.pump()
        app.settle()
        with pytest.raises(LocalProtocolError):
            if how == "end":
                engine.upload_end(call, now)
            else:
                engine.upload_chunk(call, b"too many", now)
        assert isinstance(call.error, CallCancelled)
        assert isinstance(engine.next_action(), Flush)
        app.server.pump()


def test_an_outgoing_call_under_way_is_cancelled_by_the_end() -> None:
    upstream: Pipeline[None] = Pipeline("upstream")

    @upstream.route("GET /")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(50)
        return Response()

    with Simulation(Pipeline("empty")) as app:
        app.serve(upstream, "up")
        call = app.engine.http(ClientRequest("GET", "http://up/"), app.world.now)
        app.server.pump()
        app.settle()
        assert not call.done
        app.engine.close(app.world.now)
        assert isinstance(call.error, CallCancelled)


def test_what_is_over_is_let_go_of_without_the_garbage_collector() -> None:
    """A body must not stay in memory until the collector comes: nobody counts it any more."""
    pipeline: Pipeline[None] = Pipeline()
    upstream: Pipeline[None] = Pipeline("upstream")

    @upstream.route("POST /")
    @pipeline.route("POST /")
    def root(request: Request) -> Response:
        return Response(200, request.body)

    @pipeline.respond("ask")
    def ask(event: Event) -> str:
        return "answer"

    kinds = (ClientCall, Event, Exchange, HttpCall, Invocation, Request, RequestCall)
    gc.collect()
    # Other tests may still hold some: a coroutine that awaits while it is thrown away takes two
    # collections, and a failed test's traceback stays to the end of the run.
    before = {id(held): held for held in gc.get_objects() if isinstance(held, kinds)}
    gc.disable()
    try:
        with Simulation(pipeline, record=False) as app:
            app.serve(upstream, "up")
            request = ClientRequest("POST", "http://up/", body=b"hello")
            for _ in range(3):
                assert app.post("/", b"hello").body == b"hello"
                assert app.bus_request("ask") == "answer"
                assert app.wait(lambda now: app.engine.http(request, now)).body == b"hello"
            left = [
                held
                for held in gc.get_objects()
                if isinstance(held, kinds) and id(held) not in before
            ]
            assert not left
    finally:
        gc.enable()
