"""How an engine starts, drains, and ends; and what is left of those who will not end."""

from collections.abc import AsyncIterator

import pytest

from pipebus.bus.event import Event
from pipebus.engine.actions import Action, Report, Run
from pipebus.engine.engine import Engine
from pipebus.errors import ConnectError, StreamInterrupted
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, InlineContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


def test_a_drain_finishes_what_is_in_flight() -> None:
    pipeline: Pipeline[None] = Pipeline()
    draining: list[bool] = []

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.sleep(5)
        draining.append(ctx.draining)
        return Response.text("done")

    with Simulation(pipeline) as app:
        call = app.start("GET", "/")
        started = app.world.now
        app.drain()
        assert call.response.text() == "done"
        assert call.response.headers["connection"] == "close"
        assert draining == [True]
        assert app.world.now == started + 5
    assert not any(left_behind(app.engine).values())


def test_a_drain_waits_for_subscribers_that_still_work() -> None:
    pipeline: Pipeline[None] = Pipeline()
    done: list[int] = []

    @pipeline.subscribe("work")
    async def worker(event: Event, ctx: Context) -> None:
        await ctx.sleep(5)
        done.append(event.data)

    with Simulation(pipeline) as app:
        app.publish("work", 1)
        app.publish("work", 2)
        app.drain()
        assert done == [1, 2]


def test_grace_ends_and_the_rest_is_cut() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ends: list[str] = []

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        try:
            await ctx.sleep(500)
        finally:
            ends.append("route")
        return Response()

    @pipeline.subscribe("work")
    async def worker(event: Event, ctx: Context) -> None:
        try:
            await ctx.sleep(500)
        finally:
            ends.append("subscriber")

    with Simulation(pipeline, limits=Limits(grace=3)) as app:
        call = app.start("GET", "/")
        app.publish("work", 1)
        app.publish("work", 2)
        started = app.world.now
        app.drain()
        assert started + 3 <= app.world.now <= started + 3 + app.engine.limits.linger_timeout
        assert call.response.status == 503
        assert sorted(ends) == ["route", "subscriber"]
        assert app.engine.bus.counts.dropped["shutdown"] == 1
    assert not any(left_behind(app.engine).values())


def test_a_tap_sees_how_a_request_ended_that_was_cut() -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[str] = []

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.sleep(500)
        return Response()

    @pipeline.tap("net.http.*")
    def audit(event: Event) -> None:
        seen.append(event.type)

    with Simulation(pipeline, limits=Limits(grace=3)) as app:
        app.start("GET", "/")
    assert seen == ["net.http.request", "net.http.response"]
    assert app.engine.bus.counts.dropped == {}


def test_closing_at_once_lets_nobody_wait() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.sleep(500)
        return Response()

    with Simulation(pipeline) as app:
        app.start("GET", "/")
        started = app.world.now
        app.engine.close(started)
        app.settle()
        assert app.server.drained
        assert app.world.now == started
        app.engine.drain(started)
        app.engine.close(started)
        app.settle()
        assert app.server.tasks == 0


def test_a_handler_that_will_not_die_keeps_its_slot_and_nothing_else() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /", concurrency=1, queue=1, timeout=1)
    async def stubborn(request: Request, ctx: Context) -> Response:
        while True:
            try:
                await ctx.sleep(20)
            except BaseException:  # noqa: BLE001 (what the test is about)
                continue
            return Response.text("too late")

    with Simulation(pipeline) as app:
        assert app.get("/").status == 504
        assert app.engine.running == 1
        assert app.get("/").status == 504  # it waits for the slot, its deadline running
        assert app.start("GET", "/").done is False
        app.advance(30)
        assert app.engine.running == 0
        assert app.engine.bus.counts.replies_discarded["late"] == 1


def test_a_task_cancelled_before_it_ran_never_runs() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ran: list[int] = []

    @pipeline.respond("work")
    async def work(event: Event) -> None:
        ran.append(1)

    with Simulation(pipeline) as app:
        call = app.engine.request("work", None, app.world.now)
        app.server.pump()  # spawns the task, does not step it
        app.engine.abandon(call, app.world.now)
        app.settle()
        assert ran == []
    assert not any(left_behind(app.engine).values())


def test_a_task_that_ends_without_a_word_is_a_failure() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.sleep(5)
        return Response()

    @pipeline.route("GET /stream")
    async def stream(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"some"
            await ctx.sleep(5)

        return Response.stream(pieces())

    with Simulation(pipeline) as app:
        call = app.start("GET", "/")
        (task,) = app.server._tasks
        app.server.cancel(task)  # as if somebody outside the engine cancelled it
        app.settle()
        assert call.response.status == 500
        end = app.dial()
        app.send(end, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        (task,) = app.server._tasks
        app.server.cancel(task)
        app.settle()
        assert end.received.endswith(b"4\r\nsome\r\n")
        assert end.eof or end.lost
    assert not any(left_behind(app.engine).values())


def test_results_that_come_after_the_end_are_ignored() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("work")
    async def work(event: Event, ctx: Context) -> None:
        await ctx.sleep(5)

    with Simulation(pipeline) as app:
        engine, now = app.engine, app.world.now
        engine.request("work", None, now)
        app.settle()
        (invocation,) = engine._handlers.running
        app.advance(6)
        assert invocation.state == "ended"
        assert not engine.begin(invocation, now)
        assert engine.complete(invocation, 1, now) is None
        engine.fail(invocation, ValueError(), now)
        engine.body_end(invocation, now)
        engine.body_failed(invocation, ValueError(), now)
        engine._handlers.cancel(invocation)
        engine._handlers.cancel(invocation)
        engine.ended(invocation, now)
        assert engine.bus.counts.outcomes["replied"] == 1
        assert "ended" in repr(invocation)


def test_a_thread_is_not_cancelled_and_its_slot_is_taken_until_it_ends() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("work", thread=True, concurrency=1, queue=1)
    def work(event: Event) -> str:
        return "done"

    app = Simulation(pipeline, record=False)
    engine, now = app.engine, app.world.now
    first = engine.request("work", None, now)
    second = engine.request("work", None, now)
    action = engine.next_action()
    assert isinstance(action, Run)
    assert engine.next_action() is None
    assert engine.begin(action.invocation, now)
    engine.abandon(first, now)
    assert engine.next_action() is None
    assert engine.complete(action.invocation, "late", now) is None
    engine.ended(action.invocation, now)
    action = engine.next_action()
    assert isinstance(action, Run)
    engine.begin(action.invocation, now)
    engine.complete(action.invocation, "done", now)
    assert second.result() == "done"
    engine.ended(action.invocation, now)
    assert engine.bus.counts.replies_discarded["late"] == 1


def test_a_body_that_gives_up_because_nobody_reads_is_no_failure_to_report() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def gone() -> AsyncIterator[bytes]:
        yield b"some"
        raise StreamInterrupted

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response.stream(gone())

    with Simulation(pipeline) as app:
        end = app.dial()
        app.send(end, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert end.eof or end.lost
        assert not app.server.reports


def test_pipelined_requests_wait_for_a_lossless_subscriber() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("net.http.request", queue=1)
    async def auditor(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response()

    with Simulation(pipeline) as app:
        end = app.dial()
        app.send(end, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        assert end.received.count(b"HTTP/1.1 200") == 3
        app.advance(10)
        assert end.received.count(b"HTTP/1.1 200") == 4
        app.advance(100)
        assert end.received.count(b"HTTP/1.1 200") == 5
    assert not any(left_behind(app.engine).values())


def test_several_responders_of_one_topic_share_the_work() -> None:
    pipeline: Pipeline[None] = Pipeline()
    answered: list[int] = []

    @pipeline.respond("a.*")
    def one(event: Event) -> None:
        answered.append(1)

    @pipeline.respond("a.*")
    def two(event: Event) -> None:
        answered.append(2)

    with Simulation(pipeline) as app:
        for _ in range(4):
            app.bus_request("a.b")
    assert answered == [1, 2, 1, 2]


def test_the_lifespans_value_is_the_state_of_every_context() -> None:
    entered: list[str] = []

    class Manager:
        async def __aenter__(self) -> str:
            entered.append("in")
            return "the state"

        async def __aexit__(self, *error: object) -> None:
            entered.append("out")

    pipeline: Pipeline[str] = Pipeline(lifespan=Manager)

    @pipeline.route("GET /")
    def root(request: Request, ctx: InlineContext[str]) -> Response:
        return Response.text(ctx.state)

    with Simulation(pipeline) as app:
        assert app.get("/").text() == "the state"
        assert entered == ["in"]
    assert entered == ["in", "out"]


def test_a_streamed_requests_deadline_moves_on_with_every_piece_of_it() -> None:
    pipeline: Pipeline[None] = Pipeline()
    deadlines: list[float | None] = []

    @pipeline.route("POST /", stream=True, timeout=3)
    async def root(request: StreamRequest, ctx: Context) -> Response:
        deadlines.append(ctx.deadline)
        pieces = aiter(request)
        assert aiter(pieces) is pieces
        async for _ in pieces:
            pass
        deadlines.append(ctx.deadline)
        return Response()

    with Simulation(pipeline) as app:
        end = app.dial()
        app.send(end, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        app.advance(2)
        app.send(end, b"a")
        app.advance(2)
        app.send(end, b"b")
        assert end.received.startswith(b"HTTP/1.1 200")
        assert deadlines == [app.world.now - 1, app.world.now + 3]


def test_who_streams_and_is_no_longer_read_learns_it_at_the_next_piece() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def much() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(200_000)

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        return Response.stream(much())

    with Simulation(pipeline) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        engine, now = app.engine, app.world.now
        (invocation,) = engine._handlers.running
        (room,) = engine._handlers._rooms.values()
        assert not room.done
        engine.abandon(room, now)
        app.network.resume(end)
        app.settle()
        app.network.reset(end)
        app.settle()
        with pytest.raises(StreamInterrupted):
            engine.body_chunk(invocation, b"x", now)
    assert not any(left_behind(app.engine).values())


def test_a_stream_whose_reader_goes_while_it_waits_for_room() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ends: list[str] = []

    async def much() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(200_000)
        finally:
            ends.append("closed")

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response.stream(much())

    with Simulation(pipeline) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        app.network.reset(end)
        app.settle()
        assert ends == ["closed"]
        assert not app.server.reports
    assert not any(left_behind(app.engine).values())


@pytest.mark.parametrize("kind", ["subscriber", "responder"])
def test_a_handler_that_is_stopped_by_nobody_we_know_is_reported(kind: str) -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def work(_: Event) -> None:
        """Stopped before it returns."""

    (pipeline.subscribe if kind == "subscriber" else pipeline.respond)("topic")(work)
    with Simulation(pipeline, record=False) as app:
        engine, now = app.engine, app.world.now
        call = (engine.publish if kind == "subscriber" else engine.request)("topic", None, now)
        actions = _actions(engine)
        (invocation,) = [action.invocation for action in actions if isinstance(action, Run)]
        assert engine.begin(invocation, now)
        engine.ended(invocation, now)
        (report,) = [action for action in _actions(engine) if isinstance(action, Report)]
        assert "cancelled from outside" in str(report.error)
        assert engine.bus.counts.handler_errors == (kind == "subscriber")
        assert (call.error is None) == (kind == "subscriber")


def test_a_handler_whose_peer_left_in_the_middle_of_its_body_did_nothing_wrong() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("POST /", stream=True)
    async def root(_: StreamRequest) -> Response:
        return Response()

    with Simulation(pipeline, record=False) as app:
        engine, now = app.engine, app.world.now
        session = engine.accepted(client="", tls=False, token=None, now=now)
        engine.receive_data(
            session, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", now
        )
        (invocation,) = [a.invocation for a in _actions(engine) if isinstance(a, Run)]
        assert engine.begin(invocation, now)
        engine.connection_lost(session, now)
        engine.fail(invocation, StreamInterrupted("the request has ended"), now)
        engine.ended(invocation, now)
        assert not [action for action in _actions(engine) if isinstance(action, Report)]


def _actions(engine: Engine) -> list[Action]:
    actions = []
    while (action := engine.next_action()) is not None:
        actions.append(action)
    return actions


def test_all_is_served_as_ever_until_the_drain_delay_is_over() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request, ctx: InlineContext) -> Response:
        return Response.text(str(ctx.draining))

    with Simulation(pipeline, limits=Limits(drain_delay=5.0)) as app:
        app.engine.leave(app.world.now)
        app.server.pump()
        app.advance(4.9)
        answer = app.request("GET", "/")
        assert (answer.text(), "connection" in answer.headers) == ("False", False)
        app.advance(0.1 + app.engine.limits.idle_grace)
        assert app.server.drained
        with pytest.raises(ConnectError):
            app.request("GET", "/")
