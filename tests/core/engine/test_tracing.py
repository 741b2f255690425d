"""What is recorded of a request, and how what it asks of others belongs to it."""

import itertools
from dataclasses import dataclass, field

import pytest

from pipebus.bus.event import Event
from pipebus.engine.engine import Engine
from pipebus.http.message import Request, RequestInfo
from pipebus.http.response import Response
from pipebus.http.wire_h11 import H11Codec
from pipebus.pipeline.context import Context, InlineContext
from pipebus.pipeline.declare import Pipeline
from pipebus.telemetry.trace import Attributes, SpanKind, TraceContext, Tracing, received
from pipebus.testing import Simulation

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@dataclass
class Recorded:
    """A span, as a test reads it."""

    kind: SpanKind
    name: str
    parent: TraceContext | None
    started: float
    context: TraceContext
    attributes: dict[str, object]
    stages: list[tuple[str, float]] = field(default_factory=list)
    ended: float | None = None
    error: str = ""

    def stage(self, name: str, start: float, end: float) -> None:
        self.stages.append((name, end - start))

    def end(self, now: float, attributes: Attributes, error: str) -> None:
        assert self.ended is None, "a span ends once"
        self.ended = now
        self.attributes |= attributes
        self.error = error


class Recorder:
    """A tracer that keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []
        self._ids = itertools.count(1)

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> Recorded:  # fmt: skip
        trace = (parent.trace_id if parent else "") or "f" * 32
        context = TraceContext(
            f"00-{trace}-{next(self._ids):016x}-01",
            parent.tracestate if parent else "",
            parent.baggage if parent else "",
        )
        span = Recorded(kind, name, parent, now, context, dict(attributes))
        self.spans.append(span)
        return span

    def tree(self) -> list[tuple[str, str]]:
        """Return each span with its parent's name (or span id, of one that is not ours)."""
        names = {span.context.span_id: span.name for span in self.spans}
        return [
            (span.name, names.get(span.parent.span_id, span.parent.span_id) if span.parent else "")
            for span in self.spans
        ]

    def named(self, name: str) -> Recorded:
        [found] = [span for span in self.spans if span.name == name]
        return found


def recording(ratio: float = 1.0, drawn: float = 0.5) -> tuple[Recorder, Tracing]:
    recorder = Recorder()
    return recorder, Tracing(recorder, ratio, lambda: drawn)


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("POST /orders/{id}")
    async def order(request: Request, ctx: Context) -> Response:
        price = await ctx.request("orders.price", request.path_params["id"])
        await ctx.publish("orders.created.7", price)
        return Response.text(f"{price}")

    @pipeline.respond("orders.price")
    async def price(event: Event, ctx: Context) -> int:
        await ctx.sleep(0.25)
        answer = await ctx.client.get("http://stock/level?item=tea")
        return int(answer.text())

    @pipeline.subscribe("orders.created.*")
    def ship(event: Event) -> None: ...

    @pipeline.tap(">")
    def watch(event: Event) -> None: ...

    return pipeline


def new_stock(seen: list[Request]) -> Pipeline[None]:
    stock: Pipeline[None] = Pipeline()

    @stock.route("GET /level")
    def level(request: Request) -> Response:
        seen.append(request)
        return Response.text("42")

    return stock


def test_one_tree_from_a_request_over_the_bus_to_an_outgoing_call() -> None:
    recorder, tracing = recording()
    seen: list[Request] = []
    with Simulation(new_pipeline(), tracing=tracing) as app:
        app.serve(new_stock(seen), "stock")
        fields = {"traceparent": PARENT, "tracestate": "v=1", "baggage": "user=7"}
        assert app.post("/orders/9", headers=fields).text() == "42"
        events = {event.type: event for event in app.of("orders.>")}
    assert recorder.tree() == [
        ("POST /orders/{id}", "b7ad6b7169203331"),
        ("process orders.price", "POST /orders/{id}"),
        ("GET", "process orders.price"),
        ("process orders.created.*", "POST /orders/{id}"),
    ]
    server, price, outgoing, ship = recorder.spans
    assert [span.kind for span in recorder.spans] == ["server", "consumer", "client", "consumer"]
    assert all(span.ended is not None and span.error == "" for span in recorder.spans)
    assert seen[0].headers["traceparent"] == outgoing.context.traceparent
    assert (seen[0].headers["tracestate"], seen[0].headers["baggage"]) == ("v=1", "user=7")
    assert events["orders.created.7"].traceparent == server.context.traceparent
    assert server.attributes == {
        "http.request.method": "POST", "url.scheme": "http", "url.path": "/orders/9",
        "http.route": "/orders/{id}", "http.response.status_code": 200,
        "client.address": server.attributes["client.address"],
        "client.port": server.attributes["client.port"],
        "network.peer.address": server.attributes["client.address"],
        "network.peer.port": server.attributes["client.port"],
    }  # fmt: skip
    assert sum(seconds for _, seconds in server.stages) == pytest.approx(
        (server.ended or 0.0) - server.started
    )
    assert ("handler", pytest.approx(0.25)) in [(n, pytest.approx(s)) for n, s in server.stages]
    assert outgoing.attributes == {
        "http.request.method": "GET", "url.full": "http://stock/level?item=tea",
        "server.address": "stock", "server.port": 80, "http.response.status_code": 200,
    }  # fmt: skip
    assert price.attributes["messaging.destination.name"] == "orders.price"
    assert ship.attributes["messaging.destination.template"] == "orders.created.*"


def test_without_a_tracer_what_came_is_passed_on() -> None:
    seen: list[Request] = []
    with Simulation(new_pipeline()) as app:
        app.serve(new_stock(seen), "stock")
        app.post("/orders/9", headers={"traceparent": PARENT, "baggage": "user=7"})
        app.post("/orders/9")
        assert {event.traceparent for event in app.of("orders.>")} == {PARENT, ""}
    assert [request.headers.get("traceparent") for request in seen] == [PARENT, None]
    assert seen[0].headers["baggage"] == "user=7"


def test_what_is_not_sampled_is_passed_on_and_not_recorded() -> None:
    recorder, tracing = recording(ratio=0.1)
    seen: list[Request] = []
    not_sampled = f"{PARENT[:-2]}00"
    with Simulation(new_pipeline(), tracing=tracing) as app:
        app.serve(new_stock(seen), "stock")
        app.post("/orders/9", headers={"traceparent": not_sampled})
        app.post("/orders/9")
        app.post("/orders/9", headers={"baggage": "user=7"})
    assert recorder.spans == []
    given, *begun = [request.headers["traceparent"] for request in seen]
    assert given == not_sampled
    assert all(received(one, "", "") == TraceContext(one) for one in begun)
    assert all(one.endswith("-00") for one in begun)
    assert seen[-1].headers["baggage"] == "user=7"


def test_what_is_not_recorded_is_not_recorded_in_part() -> None:
    recorder = Recorder()
    drawn = itertools.chain([0.5], itertools.repeat(0.0))
    with Simulation(new_pipeline(), tracing=Tracing(recorder, 0.1, lambda: next(drawn))) as app:
        app.serve(new_stock([]), "stock")
        app.post("/orders/9")
        assert recorder.spans == []
        app.post("/orders/9")
        assert len(recorder.tree()) == 4


def test_of_an_absolute_target_the_path_is_recorded() -> None:
    recorder, tracing = recording()
    with Simulation(new_pipeline(), tracing=tracing) as app:
        end = app.dial()
        app.send(end, b"POST http://x/orders/9?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
    attributes = recorder.spans[0].attributes
    assert (attributes["url.path"], attributes["url.query"]) == ("/orders/9", "a=b")


def test_a_field_of_the_callers_own_goes_first() -> None:
    pipeline: Pipeline[None] = Pipeline()
    seen: list[Request] = []

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        own = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
        return Response.text((await ctx.client.get("http://stock/level", headers=own)).text())

    with Simulation(pipeline) as app:
        app.serve(new_stock(seen), "stock")
        app.get("/", headers={"traceparent": PARENT, "tracestate": "v=1", "baggage": "user=7"})
    assert seen[0].headers.get_list("traceparent") == [f"00-{'1' * 32}-{'2' * 16}-01"]
    assert "tracestate" not in seen[0].headers
    assert seen[0].headers["baggage"] == "user=7"


def test_failures_are_named() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /500")
    def fails(request: Request) -> Response:
        raise RuntimeError("x")

    @pipeline.route("GET /mapped")
    def mapped(request: Request) -> Response:
        raise LookupError("x")

    @pipeline.on_error(LookupError)
    def on_error(error: LookupError, request: RequestInfo) -> Response:
        return Response(418)

    @pipeline.route("GET /upstream")
    async def upstream(request: Request, ctx: Context) -> Response:
        await ctx.client.get("http://nowhere/")
        return Response()

    @pipeline.route("GET /asks")
    async def asks(request: Request, ctx: Context) -> Response:
        await ctx.request("fails")
        return Response()

    @pipeline.respond("fails")
    async def responder(event: Event, ctx: Context) -> None:
        raise ValueError("x")

    @pipeline.respond("slow")
    async def slow(event: Event, ctx: Context) -> None:
        await ctx.sleep(60)

    recorder, tracing = recording()
    with Simulation(pipeline, tracing=tracing) as app:
        for path in ("/500", "/mapped", "/upstream", "/asks"):
            app.get(path)
        with pytest.raises(Exception, match="in time"):
            app.bus_request("slow", timeout=1.0)
    found = {(span.name, span.error) for span in recorder.spans}
    assert found == {
        ("GET /500", "500"), ("GET /mapped", ""), ("GET /upstream", "502"), ("GET", "ConnectError"),
        ("GET /asks", "500"), ("process fails", "ValueError"), ("process slow", "cancelled"),
    }  # fmt: skip


def test_an_unknown_method_is_no_label() -> None:
    recorder, tracing = recording()
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("/any")
    def anything(request: Request, ctx: InlineContext) -> Response:
        return Response()

    @pipeline.route("GET /out")
    async def out(request: Request, ctx: Context) -> Response:
        await ctx.client.request("FROBNICATE", "http://app/any?x=1")
        return Response()

    with Simulation(pipeline, tracing=tracing) as app:
        app.get("/out")
    server = recorder.named("HTTP /any")
    assert server.attributes["http.request.method"] == "_OTHER"
    assert server.attributes["http.request.method_original"] == "FROBNICATE"
    assert server.attributes["url.query"] == "x=1"
    assert recorder.named("HTTP").attributes["http.request.method_original"] == "FROBNICATE"


def test_a_disconnect_is_why_a_request_has_no_answer() -> None:
    recorder, tracing = recording()
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(60)
        return Response()

    with Simulation(pipeline, tracing=tracing) as app:
        app.start("GET", "/slow").cancel()
    [span] = recorder.spans
    assert (span.error, "http.response.status_code" in span.attributes) == ("disconnect", False)


@pytest.mark.parametrize(("client", "named"), [("/run/app.sock", "/run/app.sock"), ("", None)])
def test_a_peer_of_a_unix_socket_is_named_by_its_path(client: str, named: str | None) -> None:
    recorder, tracing = recording()
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response()

    engine = Engine(pipeline, wire=H11Codec(), id_prefix="x", now=0.0, tracing=tracing)
    link = engine.accepted(client=client, tls=False, token=None, now=0.0)
    engine.receive_data(link, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0.0)
    [span] = recorder.spans
    assert span.attributes.get("client.address") == named
    assert "client.port" not in span.attributes
