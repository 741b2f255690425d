"""One trace from a client through a server, its bus and its own outgoing call to another server."""

import time
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import Context, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.observe.tracing import OpenTelemetryTracer
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer

pytestmark = pytest.mark.anyio

STAGES = {"read", "queue", "handler", "write"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
"""But for its last digit: 1 is sampled, 0 is not."""
SLACK = 50_000_000
"""Nanoseconds by which a wall clock may be put right while a test runs."""


class Kept:
    """A tracer whose spans are kept."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OpenTelemetryTracer(self.provider)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def forget(self) -> None:
        self._exporter.clear()

    @property
    def tree(self) -> list[str]:
        """Every span but the stages: its depth as an indent, children in the order of their start."""
        spans = [span for span in self.spans if span.name not in STAGES]
        lines: list[str] = []

        def add(parent: int | None, indent: str) -> None:
            inside = [s for s in spans if (s.parent.span_id if s.parent else None) == parent]
            for span in sorted(inside, key=lambda span: span.start_time or 0):
                lines.append(f"{indent}{span.kind.name} {span.name}")
                add(span.context.span_id, indent + "  ")

        add(None, "")
        return lines


def new_shop(kept: Kept, stock: str) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("shop")
    own = kept.provider.get_tracer("shop")

    @pipeline.route("POST /orders/{item}")
    async def order(request: Request, ctx: Context) -> Response:
        with own.start_as_current_span("think"):
            pass
        left = await ctx.request("stock.left", request.path_params["item"])
        await ctx.publish("orders.created", left)
        return Response.text(str(left))

    @pipeline.respond("stock.*", thread=True)
    def left(event: Event, ctx: ThreadContext) -> str:
        with own.start_as_current_span("look up"):
            pass
        return ctx.client.get(f"{stock}/{event.data}").text()

    @pipeline.subscribe("orders.>")
    def created(_: Event) -> None:
        with own.start_as_current_span("write down"):
            pass

    return pipeline


def new_stock() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("stock")

    @pipeline.route("GET /{item}")
    def left(request: Request) -> Response:
        return Response.text(f"{request.headers['baggage']} {request.headers['tracestate']}")

    return pipeline


async def test_one_tree(stack: Stack) -> None:
    kept = Kept()
    async with (
        stack.serve(new_stock(), tracer=kept.tracer) as stock,
        stack.serve(new_shop(kept, stock.url), tracer=kept.tracer) as shop,
        stack.client(tracer=kept.tracer) as client,
    ):
        kept.forget()  # how the fixture has proven what runs
        fields = {"baggage": "user=me", "tracestate": "vendor=1"}
        answer = await client.post(f"{shop.url}/orders/tea?x=1", headers=fields)
        assert answer.text() == "user=me vendor=1"
    assert kept.tree == [
        "CLIENT POST",
        "  SERVER POST /orders/{item}",
        "    INTERNAL think",
        "    CONSUMER process stock.*",
        "      INTERNAL look up",
        "      CLIENT GET",
        "        SERVER GET /{item}",
        "    CONSUMER process orders.>",
        "      INTERNAL write down",
    ]
    ids = {span.context.span_id: span for span in kept.spans}
    for name in STAGES:
        inside = [ids[s.parent.span_id] for s in kept.spans if s.name == name and s.parent]
        assert all(span.kind is SpanKind.SERVER for span in inside)
    order = next(span for span in kept.spans if span.name == "POST /orders/{item}")
    stages = [
        s
        for s in kept.spans
        if s.parent and s.parent.span_id == order.context.span_id and s.name in STAGES
    ]
    stages.sort(key=lambda span: span.start_time or 0)
    assert [span.name for span in stages][-2:] == ["handler", "write"]
    assert (stages[0].start_time, stages[-1].end_time) == (order.start_time, order.end_time)
    assert order.attributes is not None
    assert order.attributes["http.route"] == "/orders/{item}"
    assert order.attributes["http.response.status_code"] == 200


async def test_times_are_wall_times_on_either_clock(stack: Stack) -> None:
    kept = Kept()
    before = time.time_ns()
    async with stack.serve(new_stock(), tracer=kept.tracer) as stock, stack.client() as client:
        await client.get(f"{stock.url}/tea")
    assert SpanKind.SERVER in {span.kind for span in kept.spans}
    for span in kept.spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert before - SLACK < span.start_time <= span.end_time < time.time_ns() + SLACK


@pytest.mark.parametrize(
    ("ratio", "fields", "recorded"),
    [
        (0.0, (), False),
        (1.0, (), True),
        (1.0, (f"traceparent: {PARENT}0",), False),
        (0.0, (f"traceparent: {PARENT}1",), True),
    ],
)
async def test_what_is_recorded(
    stack: Stack, ratio: float, fields: tuple[str, ...], recorded: bool
) -> None:
    kept = Kept()
    pipeline: Pipeline[None] = Pipeline()
    seen: list[tuple[str, str]] = []

    @pipeline.route("GET /")
    async def root(_: Request) -> Response:
        current = trace.get_current_span().get_span_context()
        seen.append((f"{current.trace_id:032x}", f"{current.span_id:016x}"))
        return Response()

    async with stack.serve(pipeline, tracer=kept.tracer, trace_ratio=ratio) as server:
        kept.forget()
        async with peer(server.addresses[0]) as client:
            assert (await client.ask(get("/", *fields))).status == 200
    spans = [span for span in kept.spans if span.kind is SpanKind.SERVER]
    assert len(spans) == recorded
    if recorded:
        context = spans[0].context
        assert seen == [(f"{context.trace_id:032x}", f"{context.span_id:016x}")]
    else:
        assert seen == [("0" * 32, "0" * 16)]


class Broken(SpanProcessor):
    """Raises whatever it is told."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        raise LookupError

    def on_end(self, span: object) -> None:
        raise LookupError


async def test_a_tracer_that_raises_harms_no_request(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    tracer = OpenTelemetryTracer(provider)
    async with (
        stack.serve(new_stock(), tracer=tracer) as stock,
        stack.client(tracer=tracer) as client,
    ):
        fields = {"traceparent": f"{PARENT}1", "tracestate": "vendor=1", "baggage": "user=me"}
        for _ in range(2):
            answer = await client.get(f"{stock.url}/tea", headers=fields)
            assert answer.text() == "user=me vendor=1"
    said = [record for record in caplog.records if "tracer raised" in record.getMessage()]
    assert len(said) == 2  # one for the server, one for the client
