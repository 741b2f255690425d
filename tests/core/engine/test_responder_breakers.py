"""A route or responder that fails is not asked for a while."""

from collections.abc import AsyncIterator, Callable

import pytest

from pipebus.bus.event import Event
from pipebus.engine.engine import Engine
from pipebus.errors import HTTPError, RegistrationError, Rejected, RequestTimeout, ResponderFailed
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.wire_h11 import H11Codec
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.policies import BreakerPolicy
from pipebus.testing import Simulation

POLICY = BreakerPolicy(min_calls=3, open_time=5.0, jitter=0.0)


class Program:
    """Handlers that do what they are told."""

    def __init__(self) -> None:
        self.act: Callable[[], Response] = Response
        self.sleeps = 0.0
        self.asked = 0
        self.pipeline: Pipeline[None] = Pipeline()

        @self.pipeline.route("GET /work", breaker=POLICY, concurrency=1, queue=1, timeout=30.0)
        async def work(request: Request, ctx: Context) -> Response:
            self.asked += 1
            await ctx.sleep(self.sleeps)
            return self.act()

        @self.pipeline.respond("work", breaker=POLICY, timeout=1.0)
        async def responder(event: Event, ctx: Context) -> str:
            self.asked += 1
            await ctx.sleep(self.sleeps)
            return self.act().body.decode()


def fails() -> Response:
    raise RuntimeError("no")


def refuses() -> Response:
    raise HTTPError(404)


def changes(app: Simulation) -> list[tuple[str, str, str]]:
    return [(e.type, e.data.name, e.data.new) for e in app.of("pipebus.breaker.>")]


@pytest.mark.parametrize(("act", "status"), [(fails, 500), (lambda: Response(502), 502)])
def test_it_opens_answers_503_at_once_tries_one_and_closes(
    act: Callable[[], Response], status: int
) -> None:
    program = Program()
    with Simulation(program.pipeline) as app:
        program.act = act
        assert [app.get("/work").status for _ in range(5)] == [status] * 3 + [503] * 2
        assert app.get("/work").headers["retry-after"] == "5"
        assert program.asked == 3
        app.advance(3.5)
        assert app.get("/work").headers["retry-after"] == "2"
        app.advance(1.5)
        program.sleeps, program.act = 2.0, Response
        probe = app.start("GET", "/work")
        assert app.get("/work").status == 503  # one probe at a time
        app.advance(2.0)
        assert probe.response.status == 200
        program.sleeps = 0.0
        assert [app.get("/work").status for _ in range(3)] == [200] * 3
        assert changes(app) == [
            ("pipebus.breaker.open", "GET /work", "open"),
            ("pipebus.breaker.half_open", "GET /work", "half_open"),
            ("pipebus.breaker.closed", "GET /work", "closed"),
        ]
        outcomes = app.engine.bus.counts.outcomes
        assert (outcomes["rejected"], outcomes["cancelled"]) == (5, 0)
        assert [report.message for report in app.server.reports if report.error is None] == [
            "breaker of GET /work is open for 5 s: 3 of 3 calls failed",
            "breaker of GET /work lets one call through",
            "breaker of GET /work is closed",
        ]


@pytest.mark.parametrize("act", [refuses, lambda: Response(404), Response])
def test_what_is_no_fault_of_its_own_does_not_count(act: Callable[[], Response]) -> None:
    program = Program()
    program.act = act
    with Simulation(program.pipeline) as app:
        for _ in range(10):
            app.get("/work")
        assert program.asked == 10
        assert changes(app) == []


def test_a_client_that_goes_away_counts_neither_way() -> None:
    program = Program()
    program.sleeps = 10.0
    with Simulation(program.pipeline) as app:
        for _ in range(5):
            app.start("GET", "/work").cancel()
        assert changes(app) == []
        [breaker, _] = app.engine.breakers.all
        assert (breaker.calls, breaker.failures) == (0, 0)


def test_a_full_queue_is_no_failure_and_gives_the_probe_back() -> None:
    program = Program()
    with Simulation(program.pipeline) as app:
        program.act = fails
        for _ in range(3):
            app.get("/work")
        program.act = Response
        app.advance(5.0)
        assert app.get("/work").status == 200
        program.sleeps = 10.0
        busy = [app.start("GET", "/work") for _ in range(2)]
        refused = app.get("/work")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        [breaker, _] = app.engine.breakers.all
        assert breaker.state == "closed"
        app.advance(25.0)
        assert [call.response.status for call in busy] == [200, 200]


@pytest.mark.parametrize(("status", "state"), [(200, "closed"), (503, "open")])
def test_a_stream_is_judged_by_its_head(status: int, state: str) -> None:
    program = Program()
    pipeline = program.pipeline

    @pipeline.route("GET /feed", breaker=POLICY)
    async def feed(request: Request, ctx: Context) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"one"
            await ctx.sleep(3_600)

        return Response.stream(events(), status=status) if program.asked else fails()

    with Simulation(pipeline) as app:
        for _ in range(3):
            app.get("/feed")
        app.advance(5.0)
        program.asked = 1
        probe = app.start("GET", "/feed")
        assert not probe.done
        [breaker] = [one for one in app.engine.breakers.all if one.name == "GET /feed"]
        assert breaker.state == state  # long before the stream's end
        probe.cancel()
        assert (breaker.state, breaker.failures) == (state, 0)


def test_a_topics_responder() -> None:
    program = Program()
    with Simulation(program.pipeline) as app:
        program.act = fails
        for _ in range(2):
            with pytest.raises(ResponderFailed):
                app.bus_request("work")
        program.act, program.sleeps = Response, 2.0
        with pytest.raises(RequestTimeout):
            app.bus_request("work")
        with pytest.raises(Rejected, match=r"fails: it is not asked for 5 s"):
            app.bus_request("work")
        assert changes(app) == [("pipebus.breaker.open", "work", "open")]


def test_declarations_that_do_not_go_together() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.respond("a", breaker=POLICY)(lambda event: None)
    with pytest.raises(RegistrationError, match="breaker, and do not agree on its policy"):
        pipeline.respond("a")(lambda event: None)
    with pytest.raises(ValueError, match="a breaker needs the engine's `random`"):
        Engine(pipeline, wire=H11Codec(), id_prefix="x", now=0.0)


def test_what_is_no_policy_is_refused_where_it_is_declared() -> None:
    pipeline: Pipeline[None] = Pipeline()
    with pytest.raises(
        RegistrationError, match="'GET /': breaker must be a BreakerPolicy, not True"
    ):
        pipeline.route("GET /", breaker=True)(lambda request: Response())  # type: ignore[call-overload]
    with pytest.raises(RegistrationError, match="'GET /': rate_limit must be a RateLimit, not 5"):
        pipeline.route("GET /", rate_limit=5)(lambda request: Response())  # type: ignore[call-overload]
    with pytest.raises(RegistrationError, match="'a': breaker must be a BreakerPolicy, not True"):
        pipeline.respond("a", breaker=True)(lambda event: None)  # type: ignore[call-overload]


def test_a_probe_that_fails_is_said_to_have() -> None:
    program = Program()
    program.act = fails
    with Simulation(program.pipeline) as app:
        for _ in range(3):
            app.get("/work")
        app.advance(5.0)
        app.get("/work")
        warnings = [report.message for report in app.server.reports if report.error is None]
        assert warnings[-1] == "breaker of GET /work is open for 5 s: it fails still"
