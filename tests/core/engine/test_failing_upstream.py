"""A server that handlers call fails and heals: what clients get, and what the events tell."""

from collections.abc import AsyncIterator

import pytest

from pipebus import BreakerPolicy, Limits, Pipeline, RetryPolicy, Timeouts
from pipebus.engine.engine import Engine
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.wire_h11 import H11Codec
from pipebus.pipeline.context import Context
from pipebus.testing import Simulation

BREAKER = BreakerPolicy(window=10.0, min_calls=4, open_time=5.0, jitter=0.0)


class Upstream:
    """A server whose health is an attribute; it counts what reaches it."""

    def __init__(self) -> None:
        self.status = 200
        self.calls = 0
        self.pipeline: Pipeline[None] = Pipeline("upstream")
        self.pipeline.route("GET /")(self.answer)
        self.pipeline.route("GET /hang")(self.hang)

    def answer(self, request: Request) -> Response:
        self.calls += 1
        return Response.text("from upstream", status=self.status)

    async def hang(self, request: Request, ctx: Context) -> Response:
        self.calls += 1
        await ctx.sleep(1_000)
        return Response()


def front(timeouts: Timeouts | None = None) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("front")

    @pipeline.route("GET /")
    async def passes_on(request: Request, ctx: Context) -> Response:
        answer = await ctx.client.get("http://up/")
        return Response.text(answer.text(), status=answer.status)

    @pipeline.route("GET /hang")
    async def hangs(request: Request, ctx: Context) -> Response:
        await ctx.client.get("http://up/hang", timeouts=timeouts)
        return Response()

    return pipeline


def topics(app: Simulation) -> list[str]:
    return [event.type.removeprefix("pipebus.breaker.") for event in app.of("pipebus.breaker.>")]


def test_it_opens_answers_at_once_and_closes_when_the_server_has_healed() -> None:
    upstream = Upstream()
    with Simulation(front(), breaker=BREAKER) as app:
        app.serve(upstream.pipeline, "up")
        upstream.status = 500
        assert [app.get("/").status for _ in range(4)] == [500] * 4
        assert topics(app) == ["open"]
        refused = app.get("/")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert refused.headers["content-type"] == "application/problem+json"
        app.advance(3.5)
        assert app.get("/").headers["retry-after"] == "2"
        assert upstream.calls == 4
        upstream.status = 200
        app.advance(1.5)
        assert [app.get("/").status for _ in range(3)] == [200] * 3
        assert topics(app) == ["open", "half_open", "closed"]
        opened, half, closed = (event.data for event in app.of("pipebus.breaker.>"))
        assert (opened.name, opened.old, opened.new) == ("http://up:80", "closed", "open")
        assert (opened.failures, opened.calls, opened.retry_after) == (4, 4, 5.0)
        assert (half.old, half.new, half.retry_after) == ("open", "half_open", 0.0)
        assert (closed.old, closed.new) == ("half_open", "closed")
        errors = [event.data for event in app.of("net.http.client.error")]
        assert [(data.error, data.status) for data in errors] == [("BreakerOpen", 0)] * 2
        assert app.engine.client.stats.breaker_rejected == 2


def test_where_nobody_listens_nothing_is_told() -> None:
    upstream = Upstream()
    upstream.status = 500
    with Simulation(front(), breaker=BREAKER, record=False) as app:
        app.serve(upstream.pipeline, "up")
        assert [app.get("/").status for _ in range(5)] == [500] * 4 + [503]


def test_a_server_that_hangs_is_one_that_fails_whosever_deadline_it_was() -> None:
    upstream = Upstream()
    limits = Limits(request_timeout=2.0)
    with Simulation(front(Timeouts(total=1.0)), breaker=BREAKER, limits=limits) as app:
        app.serve(upstream.pipeline, "up")
        assert [app.get("/hang").status for _ in range(4)] == [504] * 4
        assert topics(app) == ["open"]
        assert app.get("/hang").status == 503
    with Simulation(front(Timeouts()), breaker=BREAKER, limits=limits) as app:
        app.serve(upstream.pipeline, "up")  # the request's own deadline is what runs out
        assert [app.get("/hang").status for _ in range(4)] == [504] * 4
        assert topics(app) == ["open"]


def test_callers_that_go_away_say_nothing_of_the_server() -> None:
    upstream = Upstream()
    with Simulation(front(), breaker=BREAKER) as app:
        app.serve(upstream.pipeline, "up")
        for _ in range(8):
            app.start("GET", "/hang").cancel()
        assert topics(app) == []
        assert [breaker.state for breaker in app.engine.client.breakers] == ["closed"]


def test_a_call_that_is_made_again_is_one_exchange() -> None:
    upstream = Upstream()
    policy = RetryPolicy(base=1.0, attempts=3)
    with Simulation(front(), retry=policy, random=lambda: 0.5) as app:
        app.serve(upstream.pipeline, "up")
        upstream.status = 503
        call = app.start("GET", "/")
        assert upstream.calls == 1
        upstream.status = 200
        app.advance(0.5)
        assert call.response.status == 200
        assert upstream.calls == 2
        [said] = [event.data for event in app.of("net.http.client.response")]
        assert (said.status, said.timings.retries) == (200, 0.5)
        assert len(app.of("net.http.client.request")) == 1
        assert app.engine.client.stats.backoff_retries == 1


@pytest.mark.parametrize("ends", ["cancel", "drain"])
def test_what_ends_a_call_between_two_attempts(ends: str) -> None:
    upstream = Upstream()
    upstream.status = 503
    policy = RetryPolicy(base=50.0, cap=50.0)
    limits = Limits(request_timeout=30.0, grace=5.0)
    with Simulation(front(), retry=policy, limits=limits, random=lambda: 0.5) as app:
        app.serve(upstream.pipeline, "up")
        call = app.start("GET", "/")
        [outgoing] = app.engine.client.calls
        assert outgoing.state == "backoff"
        if ends == "cancel":
            call.cancel()
        else:
            app.drain()
            assert call.response.status == 503  # what there was
        assert outgoing.done
        assert upstream.calls == 1
    assert app.engine.client.unfinished == 0


def test_an_upload_waits_for_the_server_to_come_up() -> None:
    pipeline: Pipeline[None] = Pipeline("front")
    sent: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two"):
            sent.append(piece.decode())
            yield piece

    @pipeline.route("POST /")
    async def passes_on(request: Request, ctx: Context) -> Response:
        answer = await ctx.client.post("http://late/", body=pieces())
        return Response.text(answer.text())

    late: Pipeline[None] = Pipeline("late")

    @late.route("POST /")
    def echo(request: Request) -> Response:
        return Response.text(request.text())

    policy = RetryPolicy(base=1.0, attempts=3)
    with Simulation(pipeline, retry=policy, random=lambda: 0.5) as app:
        call = app.start("POST", "/")
        app.advance(0.6)  # refused for the second time
        assert sent == []
        app.serve(late, "late")
        app.advance(1.0)
        assert call.response.text() == "one two"
        assert app.engine.client.stats.backoff_retries == 2
        assert app.engine.uploads == 0


def test_no_attempt_that_would_end_after_the_requests_deadline() -> None:
    upstream = Upstream()
    upstream.status = 503
    policy = RetryPolicy(base=50.0, cap=50.0)
    limits = Limits(request_timeout=20.0)
    with Simulation(front(), retry=policy, limits=limits, random=lambda: 0.5) as app:
        app.serve(upstream.pipeline, "up")
        assert app.start("GET", "/").response.status == 503


def test_policies_need_randomness_in_an_engine_too() -> None:
    with pytest.raises(ValueError, match="random"):
        Engine(front(), wire=H11Codec(), id_prefix="x", now=0.0, breaker=BREAKER)
