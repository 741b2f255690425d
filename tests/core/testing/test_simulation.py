"""`Simulation`, as its users meet it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipebus.bus.event import Event
from pipebus.errors import CallCancelled, NeedsRuntime, NoResponder, RegistrationError
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, InlineContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.tasks import StepCancelled


def slow(seconds: float = 5.0) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("/slow")
    async def wait(request: Request, ctx: Context) -> Response:
        await ctx.sleep(seconds)
        return Response(200, request.body, [("x-said", request.headers.get("x-say", ""))])

    @pipeline.respond("slow")
    async def answer(event: Event, ctx: Context) -> object:
        await ctx.sleep(seconds)
        return event.data

    return pipeline


def test_time_passes_only_when_it_is_told_to() -> None:
    with Simulation(slow()) as app:
        started = app.world.now
        call = app.start("GET", "/slow")
        assert (call.done, call.error) == (False, None)
        with pytest.raises(RuntimeError, match="no answer yet"):
            _ = call.response
        app.advance(4.99)
        assert not call.done
        app.advance(0.02)
        assert call.response.status == 200
        assert app.world.now == pytest.approx(started + 5.01)


def test_a_request_waits_no_longer_than_it_is_told_to() -> None:
    with Simulation(slow()) as app:
        with pytest.raises(RuntimeError, match="no answer yet"):
            app.request("GET", "/slow", within=1.0)
        response = app.post("/slow", b"body", headers=[("x-say", "hi")])
        assert (response.body, response.headers["x-said"]) == (b"body", "hi")
        assert app.get("/slow").body == b""
        assert app.get("http://app/slow").status == 200


def test_a_client_goes_away() -> None:
    with Simulation(slow()) as app:
        call = app.start("GET", "/slow")
        app.advance(1.0)
        call.cancel()
        call.cancel()
        with pytest.raises(CallCancelled):
            _ = call.response
        assert app.engine.running == 0
        assert app.topics("net.http.*") == ["net.http.request", "net.http.error"]
        done = app.start("GET", "/slow")
        app.advance(6.0)
        done.cancel()
        assert done.response.status == 200


def test_the_bus_from_outside() -> None:
    with Simulation(slow()) as app:
        started = app.world.now
        assert app.bus_request("slow", 7) == 7
        assert app.world.now == started + 5.0
        with pytest.raises(NoResponder):
            app.bus_request("nobody")
        event = app.publish("note", 1, metadata={"a": "b"})
        assert event.metadata == {"a": "b"}
        app.settle()
        assert app.of("note") == [event]
        assert app.topics("*") == ["slow", "nobody", "note"]
        with pytest.raises(RegistrationError):
            app.of("a..b")


def test_a_wait_that_is_too_long_is_called_off() -> None:
    with Simulation(slow(100.0)) as app:
        with pytest.raises(TimeoutError, match="not done after 3 s"):
            app.wait(lambda now: app.engine.request("slow", None, now), within=3.0)
        app.settle()
        assert app.engine.running == 0


def test_events_need_not_be_kept() -> None:
    with Simulation(slow(), record=False) as app:
        assert app.get("/slow").status == 200
        assert app.events == []


def test_the_wall_clock_is_virtual() -> None:
    with Simulation(slow(), wall=0.0) as app:
        assert app.get("/slow").headers["date"] == "Thu, 01 Jan 1970 00:00:05 GMT"


# --- its end -----------------------------------------------------------------------------------


def stubborn() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        while True:
            try:
                await ctx.sleep(1_000.0)
            except StepCancelled:  # the mistake that is to be found
                continue

    return pipeline


def test_leaving_finds_what_is_left_behind() -> None:
    with (
        pytest.raises(AssertionError, match=r"left behind: .*'invocations': 1.*root"),
        Simulation(stubborn()) as app,
    ):
        app.start("GET", "/")


def test_that_check_can_be_turned_off() -> None:
    with Simulation(stubborn(), check=False) as app:
        app.start("GET", "/")
    assert app.engine.running == 1


def test_a_failing_test_is_not_hidden_by_that_check() -> None:
    with pytest.raises(ZeroDivisionError), Simulation(stubborn()) as app:
        app.start("GET", "/")
        raise ZeroDivisionError


def test_peers_that_never_close_do_not_outlive_it() -> None:
    with Simulation(slow(), limits=Limits(grace=1.0)) as app:
        end = app.dial()
        app.network.pause(end)
        app.send(end, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    assert end.peer.lost
    assert app.engine.admission.connections == 0


def test_draining_twice_is_draining_once() -> None:
    with Simulation(slow()) as app:
        app.drain()
        now = app.world.now
        app.drain()
        assert app.world.now == now


# --- the lifespan ------------------------------------------------------------------------------


def with_lifespan(seconds: float, log: list[str]) -> Pipeline[str]:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        log.append("in")
        if seconds < 0:
            raise ZeroDivisionError
        yield "state"
        log.append("out")

    pipeline: Pipeline[str] = Pipeline(lifespan=lifespan)

    @pipeline.route("GET /")
    def root(request: Request, ctx: InlineContext[str]) -> Response:
        return Response.text(ctx.state)

    return pipeline


def test_the_lifespan_is_entered_and_left() -> None:
    log: list[str] = []
    with Simulation(with_lifespan(0.0, log)) as app:
        assert app.get("/").text() == "state"
    assert log == ["in", "out"]


def test_a_state_given_takes_its_place() -> None:
    log: list[str] = []
    with Simulation(with_lifespan(0.0, log), state="mine") as app:
        assert app.get("/").text() == "mine"
    assert log == []


def test_a_lifespan_that_fails_fails_the_test() -> None:
    log: list[str] = []
    with pytest.raises(ZeroDivisionError), Simulation(with_lifespan(-1.0, log)):
        pass
    assert log == ["in"]


def test_a_lifespan_that_does_not_end_is_an_error() -> None:
    app: Simulation

    class Manager:
        async def __aenter__(self) -> None:
            await app.server.call(lambda now: app.engine.sleep(1_000.0, now))

        async def __aexit__(self, *error: object) -> None: ...

    app = Simulation(Pipeline(lifespan=Manager))
    with pytest.raises(NeedsRuntime, match="lifespan does not end"), app:
        pass
