"""What a driver asks and says beside the bytes: when to wake, and that an end of file is ahead."""

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import INFINITY, Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def pipeline(seconds: float) -> Pipeline[None]:
    made: Pipeline[None] = Pipeline()

    @made.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        await ctx.sleep(seconds)
        return Response()

    return made


def test_nothing_to_wake_for() -> None:
    with Simulation(Pipeline("empty")) as app:
        assert app.engine.next_wake() == INFINITY
        assert app.engine.next_deadline() is None


def test_a_wake_may_come_for_nothing_but_never_late() -> None:
    with Simulation(Pipeline("empty")) as app:
        engine, start = app.engine, app.world.now
        first, second = engine.sleep(5.0, start), engine.sleep(9.0, start)
        assert engine.next_wake() == start + 5.0
        engine.abandon(first, start)
        app.server.pump()
        assert engine.next_wake() == start + 5.0
        engine.handle_timeout(start + 5.0)
        assert engine.next_wake() == engine.next_deadline() == start + 9.0
        done = [second.done]
        engine.handle_timeout(start + 9.0)
        assert [*done, second.done] == [False, True]
        assert engine.next_wake() == INFINITY
        app.server.pump()


def test_taps_that_wait_are_to_be_woken_for_now() -> None:
    made: Pipeline[None] = Pipeline()
    seen: list[object] = []

    @made.tap("topic")
    def tap(event: Event) -> None:
        seen.append(event.data)

    with Simulation(made, limits=Limits(taps_per_sweep=1), record=False) as app:
        engine, now = app.engine, app.world.now
        for number in range(2):
            engine.publish("topic", number, now)
        app.server.pump()
        assert seen == [0]
        assert engine.next_wake() == engine.next_deadline() == now
        assert engine.deadline_reason == "taps"
        app.settle()
        assert seen == [0, 1]
        assert engine.next_wake() == INFINITY


def test_an_end_of_file_ahead_bounds_a_handler_that_runs_on() -> None:
    with Simulation(pipeline(50.0), limits=Limits(half_close_grace=1.0)) as app:
        end = app.dial()
        app.send(end, GET)
        (session,) = app.engine.dispatch.sessions.values()
        app.engine.eof_ahead(session, app.world.now)
        app.server.pump()
        assert app.engine.deadline_reason == "half_close_grace"
        app.advance(1.0)
        (event,) = app.of("net.http.error")
        assert event.data.reason == "disconnect"


def test_an_end_of_file_ahead_says_nothing_new_of_a_client_s_connection() -> None:
    with Simulation(pipeline(1.0)) as app:
        call = app.start("GET", "/")
        engine = app.client.engine
        (link,) = engine.client._connections
        engine.eof_ahead(link, app.world.now)
        assert engine.next_action() is None
        app.advance(1.0)
        assert call.response.status == 200
