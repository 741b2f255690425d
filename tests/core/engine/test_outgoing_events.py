"""Events of outgoing HTTP: who waits for them, and what becomes of those nobody takes."""

from pipebus.bus.event import Event
from pipebus.http.client import ClientRequest
from pipebus.http.client_events import CLIENT_REQUEST
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from tests.core.engine.upstreams import gateway, nothing_left, upstream


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
