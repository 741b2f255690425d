"""Publish, request and subscribe, from handlers and from the program around them."""

import pytest

from pipebus.bus.event import Event
from pipebus.engine.calls import Call
from pipebus.errors import (
    NeedsRuntime,
    PublishTimeout,
    Rejected,
    RequestCancelled,
    ResponderFailed,
    WouldBlock,
    WouldDeadlock,
)
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import INFINITY, Limits
from pipebus.pipeline.context import Context, InlineContext, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


def test_publish_waits_for_a_lossless_subscriber() -> None:
    pipeline: Pipeline[None] = Pipeline()
    told: list[int] = []

    @pipeline.subscribe("tick", queue=1)
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)
        told.append(event.data)

    @pipeline.respond("burst")
    async def burst(event: Event, ctx: Context) -> int:
        for number in range(event.data):
            await ctx.publish("tick", number)
        return int(ctx.id == event.id)

    with Simulation(pipeline) as app:
        started = app.world.now
        assert app.bus_request("burst", 4) == 1
        # One is handled, one is queued, so the fourth has waited for the second to be taken.
        assert app.world.now == started + 20
        app.advance(100)
        assert told == [0, 1, 2, 3]
        (tick, *_) = app.of("tick")
        (request,) = app.of("burst")
        assert tick.causation_id == request.id
        assert tick.correlation_id == request.correlation_id
    assert not any(left_behind(app.engine).values())


def test_publish_times_out_and_is_withdrawn() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("tick", queue=1)
    async def stuck(event: Event, ctx: Context) -> None:
        await ctx.sleep(1_000)

    with Simulation(pipeline, limits=Limits(publish_timeout=3, grace=1)) as app:
        app.publish("tick", 1)
        app.publish("tick", 2)
        started = app.world.now
        with pytest.raises(PublishTimeout):
            app.publish("tick", 3)
        assert app.world.now == started + 3
        with pytest.raises(WouldBlock):
            app.engine.publish_nowait("tick", 4, app.world.now)
        assert app.engine.bus.counts.dropped["publish_timeout"] == 1
    assert app.engine.bus.counts.dropped["shutdown"] == 1
    assert not any(left_behind(app.engine).values())


def test_publish_nowait_from_each_kind_of_handler() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("inline")
    def inline(event: Event, ctx: InlineContext) -> str:
        return ctx.publish_nowait("note", 1, subject="s", metadata={"k": "v"}).source

    @pipeline.respond("task")
    async def task(event: Event, ctx: Context) -> str:
        return ctx.publish_nowait("note", 2).source

    @pipeline.respond("thread", thread=True)
    def thread(event: Event, ctx: ThreadContext) -> str:
        ctx.publish("note", 3)
        assert ctx.request("inline").endswith("inline")
        return ctx.publish_nowait("note", 4).source

    with Simulation(pipeline) as app:
        for kind in ("inline", "task", "thread"):
            assert app.bus_request(kind).endswith(kind)
        first, *_ = app.of("note")
        assert (first.subject, dict(first.metadata)) == ("s", {"k": "v"})
        assert len(app.of("note")) == 5


def test_a_publish_that_would_wait_for_itself_is_refused() -> None:
    pipeline: Pipeline[None] = Pipeline()
    errors: list[WouldDeadlock] = []

    @pipeline.subscribe("loop", queue=1)
    async def loop(event: Event, ctx: Context) -> None:
        try:
            for number in range(3 if event.data == 0 else 0):
                await ctx.publish("loop", number + 1)
        except WouldDeadlock as error:
            errors.append(error)

    with Simulation(pipeline) as app:
        app.publish("loop", 0)
        app.advance(5)
        assert errors
        assert errors[0].path[0] == errors[0].path[-1]
    assert not any(left_behind(app.engine).values())


def test_a_request_that_would_wait_for_itself_is_refused() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("again", concurrency=1, queue=1)
    async def again(event: Event, ctx: Context) -> object:
        return await ctx.request("again")

    with Simulation(pipeline) as app:
        with pytest.raises(ResponderFailed) as failed:
            app.bus_request("again")
        assert isinstance(failed.value.__cause__, WouldDeadlock)
    assert not any(left_behind(app.engine).values())


def test_a_busy_responder_rejects() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("one", concurrency=1, queue=1)
    async def one(event: Event, ctx: Context) -> None:
        await ctx.sleep(5)

    with Simulation(pipeline) as app:
        now = app.world.now
        calls = [app.engine.request("one", None, now) for _ in range(3)]
        app.server.pump()
        app.settle()
        assert isinstance(calls[2].error, Rejected)
        app.advance(10)
        assert [call.error for call in calls[:2]] == [None, None]


def test_a_request_waits_for_room_for_its_own_event() -> None:
    """A caller in a loop must not outrun a lossless auditor of its requests."""
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("ask")
    def ask(event: Event) -> object:
        return event.data

    @pipeline.subscribe("ask", queue=1)
    async def auditor(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)

    with Simulation(pipeline, limits=Limits(publish_timeout=4, grace=1)) as app:
        started = app.world.now
        assert [app.bus_request("ask", n) for n in range(3)] == [0, 1, 2]
        assert app.world.now == started + 4  # the third waited, then its event was given up
        assert app.engine.bus.counts.dropped["publish_timeout"] == 1


def test_two_waits_of_one_handler_do_not_get_in_each_others_way() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("tick", queue=1)
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)

    @pipeline.respond("burst")
    async def burst(event: Event, ctx: Context) -> None:
        await ctx.sleep(1)

    with Simulation(pipeline) as app:
        request = app.engine.request("burst", None, app.world.now)
        app.server.pump()
        (invocation,) = app.engine._handlers.running
        calls = [app.engine.publish("tick", n, app.world.now, origin=invocation) for n in range(4)]
        app.server.pump()
        assert [call.done for call in calls] == [True, True, False, False]
        assert calls[2].publisher is not calls[3].publisher
        app.engine.abandon(calls[2], app.world.now)
        app.advance(25)
        assert calls[3].done
        assert calls[3].error is None
        assert app.engine.bus.counts.dropped["cancelled"] == 1
        assert request.done


def test_an_abandoned_request_cancels_its_responder() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(100)

    with Simulation(pipeline) as app:
        call = app.engine.request("slow", None, app.world.now)
        app.server.pump()
        app.settle()
        assert app.server.tasks == 1
        app.engine.abandon(call, app.world.now)
        app.settle()
        assert app.server.tasks == 0
        assert app.engine.bus.counts.outcomes["cancelled"] == 1


def test_the_program_reads_its_own_subscription() -> None:
    pipeline: Pipeline[None] = Pipeline()
    with Simulation(pipeline) as app:
        engine, now = app.engine, app.world.now
        subscription = engine.subscribe("a.*", now, maxsize=2, overflow="drop_oldest")
        waiting = engine.next_event(subscription, now)
        assert not waiting.done
        with pytest.raises(RuntimeError, match="already"):
            engine.next_event(subscription, now)
        app.publish("a.b", 1)
        assert waiting.result().data == 1
        app.publish("a.b", 2)
        assert engine.next_event(subscription, now).result().data == 2
        given_up = engine.next_event(subscription, now)
        engine.abandon(given_up, now)
        app.publish("a.b", 3)
        assert engine.next_event(subscription, now).result().data == 3
        last = engine.next_event(subscription, now)
        engine.unsubscribe(subscription, now)
        for call in (last, engine.next_event(subscription, now)):
            with pytest.raises(StopAsyncIteration):
                call.result()
        engine.unsubscribe(engine.subscribe("b", now), now)


def test_a_thread_that_must_wait_needs_a_runtime() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("nap", thread=True)
    def nap(event: Event, ctx: ThreadContext) -> None:
        ctx.sleep(1)

    with Simulation(pipeline) as app, pytest.raises(NeedsRuntime, match="thread"):
        app.bus_request("nap")


def test_shutdown_ends_who_waits_for_an_event() -> None:
    app = Simulation(Pipeline("empty"), limits=Limits(grace=1))
    with app:
        subscription = app.engine.subscribe(">", app.world.now)
        waiting = app.engine.next_event(subscription, app.world.now)
        idle = app.engine.subscribe("x", app.world.now)
        app.engine.close(app.world.now)
    with pytest.raises(StopAsyncIteration):
        waiting.result()
    assert idle.closed or not idle.queued


def test_requests_that_are_open_at_shutdown_are_cancelled() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(100)

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response()

    with Simulation(pipeline, limits=Limits(grace=2)) as app:
        call: Call = app.engine.request("slow", None, app.world.now, timeout=90)
        app.server.pump()
        app.settle()
    assert isinstance(call.error, RequestCancelled)
    assert call.error.reason == "shutdown"
    late = app.engine.request("slow", None, app.world.now)
    assert isinstance(late.error, Rejected)
    assert "draining" in str(late.error)
    assert not any(left_behind(app.engine).values())


def test_subscribers_and_taps_that_fail_are_counted_published_and_reported() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("a")
    def subscriber(event: Event) -> None:
        raise ValueError("one")

    @pipeline.tap("a")
    async def tap(event: Event) -> None:
        raise ValueError("two")

    with Simulation(pipeline) as app:
        app.publish("a")
        app.publish("a")
        app.settle()
        assert len(app.server.reports) == 4
        assert app.engine.bus.counts.handler_errors == 4
        assert len(app.of("pipebus.handler.error")) == 4


def test_taps_are_rationed_and_never_lost_below_their_queue() -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[int] = []

    @pipeline.tap("a", queue=1_000)
    def tap(event: Event) -> None:
        seen.append(event.data)

    with Simulation(pipeline, limits=Limits(taps_per_sweep=4), record=False) as app:
        engine, now = app.engine, app.world.now
        for number in range(10):
            engine.publish("a", number, now)
        app.server.pump()
        assert len(seen) == 4
        assert engine.next_deadline() == now
        assert engine.deadline_reason == "taps"
        app.settle()
        assert seen == list(range(10))
        assert engine.deadline_reason == ""


def test_who_only_watches_a_request_is_not_bound_by_its_deadline() -> None:
    pipeline: Pipeline[None] = Pipeline()
    answers: list[object] = []

    @pipeline.respond("ask")
    def ask(event: Event) -> None: ...

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> str:
        await ctx.sleep(10)
        return "late but wanted"

    @pipeline.subscribe("ask")
    async def auditor(event: Event, ctx: Context) -> None:
        assert ctx.deadline is None
        answers.append(await ctx.request("slow"))

    with Simulation(pipeline) as app:
        app.bus_request("ask", timeout=2)
        app.advance(11)
        assert answers == ["late but wanted"]


def test_calls_that_share_a_publisher_all_end_when_it_resumes() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.subscribe("tick", queue=1)
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(10)

    @pipeline.respond("wait")
    async def wait(event: Event, ctx: Context) -> None:
        await ctx.sleep(1)

    @pipeline.respond("both")
    async def both(event: Event, ctx: Context) -> None:
        await ctx.sleep(50)

    with Simulation(pipeline) as app:
        engine = app.engine
        engine.request("both", None, app.world.now)
        app.settle()
        (invocation,) = engine._handlers.running
        for number in range(2):
            engine.publish("tick", number, app.world.now)
        asked = engine.request("wait", None, app.world.now, origin=invocation)
        parked = engine.publish("tick", 2, app.world.now, origin=invocation)
        assert asked.publisher is parked.publisher
        app.advance(2)
        assert (asked.done, parked.done) == (False, False)  # answered, but its publisher is paused
        app.advance(9)
        assert (asked.done, parked.done) == (True, True)


def test_an_early_timeout_of_a_call_does_nothing() -> None:
    call = Call()
    call.deadline = 5.0
    call.handle_timeout(4.9)
    assert call.deadline == 5.0
    call.handle_timeout(5.0)
    assert call.deadline == INFINITY
