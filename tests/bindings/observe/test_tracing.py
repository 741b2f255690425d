"""Spans by OpenTelemetry: times, parents, attributes, and what becomes of its faults."""

import subprocess
import sys
from collections.abc import Sequence
from contextvars import copy_context

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import Attributes

from pipebus.telemetry.trace import SpanKind as Kind
from pipebus.telemetry.trace import TraceContext
from pipebus_anyio.observe.tracing import REFRESH, OpenTelemetryTracer, StageRecords

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = TraceContext(f"00-{TRACE}-b7ad6b7169203331-01", "vendor=1,other=2", "user=me")
EPOCH = 1_700_000_000
SECOND = 1_000_000_000


class Clocks:
    """A monotonic and a wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = 5.0
        self.wall = float(EPOCH + 5)


class Rig:
    """A tracer on the SDK, whose spans are kept."""

    def __init__(self, stages: StageRecords = "spans", *processors: SpanProcessor) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        for processor in processors or (SimpleSpanProcessor(self.exporter),):
            self.provider.add_span_processor(processor)
        self.clocks = Clocks()
        self.tracer = OpenTelemetryTracer(self.provider, stages=stages).with_clock(
            lambda: self.clocks.now, lambda: self.clocks.wall
        )

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()


def test_a_span_of_its_own() -> None:
    rig = Rig()
    span = rig.tracer.start("server", "GET /a", None, 6.25, {"http.route": "/a"})
    context = span.context
    assert (len(context.trace_id), len(context.span_id), context.sampled) == (32, 16, True)
    span.end(6.5, {"http.response.status_code": 200}, "")
    [found] = rig.spans
    assert (found.name, found.kind, found.parent) == ("GET /a", SpanKind.SERVER, None)
    assert found.attributes == {"http.route": "/a", "http.response.status_code": 200}
    assert found.start_time == EPOCH * SECOND + 6_250_000_000
    assert found.end_time == EPOCH * SECOND + 6_500_000_000
    assert found.status.status_code is StatusCode.UNSET
    assert f"{found.context.trace_id:032x}" == context.trace_id
    assert f"{found.context.span_id:016x}" == context.span_id


@pytest.mark.parametrize(
    ("kind", "found_kind", "remote"),
    [
        ("server", SpanKind.SERVER, True),
        ("consumer", SpanKind.CONSUMER, False),
        ("client", SpanKind.CLIENT, False),
    ],
)
def test_a_span_within_another(kind: Kind, found_kind: SpanKind, remote: bool) -> None:
    rig = Rig()
    span = rig.tracer.start(kind, "x", PARENT, 6.0, {})
    context = span.context
    assert context.trace_id == TRACE
    assert context.span_id != PARENT.span_id
    assert (context.tracestate, context.baggage) == ("vendor=1,other=2", "user=me")
    span.end(7.0, {}, "")
    [found] = rig.spans
    assert found.kind is found_kind
    assert found.parent is not None
    assert f"{found.parent.span_id:016x}" == PARENT.span_id
    assert found.parent.is_remote is remote


def test_whoever_runs_is_no_parent() -> None:
    rig = Rig()
    with rig.provider.get_tracer("other").start_as_current_span("around"):
        span = rig.tracer.start("server", "x", TraceContext(baggage="a=b"), 6.0, {})
        span.stage("read", 6.0, 7.0)
        span.end(7.0, {}, "")
    read, found, _ = rig.spans
    assert found.parent is None
    assert read.parent is not None
    assert read.parent.span_id == found.context.span_id
    assert span.context.baggage == "a=b"


def test_stages_as_spans() -> None:
    rig = Rig("spans")
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})
    span.stage("read", 6.0, 6.5)
    span.stage("handler", 6.5, 7.0)
    span.end(7.0, {}, "")
    read, handler, found = rig.spans
    assert [(one.name, one.kind) for one in (read, handler)] == [
        ("read", SpanKind.INTERNAL), ("handler", SpanKind.INTERNAL),
    ]  # fmt: skip
    for one in (read, handler):
        assert one.parent is not None
        assert one.parent.span_id == found.context.span_id
    assert read.start_time == found.start_time
    assert read.end_time == handler.start_time == EPOCH * SECOND + 6_500_000_000
    assert handler.end_time == found.end_time


def test_stages_as_events_and_off() -> None:
    rig = Rig("events")
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})
    span.stage("read", 6.0, 6.5)
    span.end(7.0, {}, "")
    [found] = rig.spans
    [event] = found.events
    assert (event.name, event.timestamp) == ("read", EPOCH * SECOND + 6_000_000_000)
    assert event.attributes == {"pipebus.duration": 0.5}
    rig = Rig("off")
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})
    span.stage("read", 6.0, 6.5)
    span.end(7.0, {}, "")
    [found] = rig.spans
    assert found.events == ()
    with pytest.raises(ValueError, match="stages must be one of spans, events, off, not 'all'"):
        OpenTelemetryTracer(stages="all")  # type: ignore[arg-type]  # what the type says, at run time


@pytest.mark.parametrize(
    ("kind", "status", "error", "wanted"),
    [
        ("server", 200, "", StatusCode.UNSET),
        ("server", 404, "", StatusCode.UNSET),
        ("server", 408, "head_timeout", StatusCode.UNSET),
        ("server", 500, "500", StatusCode.ERROR),
        ("server", 200, "handler", StatusCode.ERROR),  # the answer was cut, and not by the client
        ("server", 200, "disconnect", StatusCode.UNSET),
        ("server", 0, "shutdown", StatusCode.ERROR),
        ("client", 404, "404", StatusCode.ERROR),
        ("client", 0, "ConnectError", StatusCode.ERROR),
        ("client", 204, "", StatusCode.UNSET),
        ("consumer", 0, "LookupError", StatusCode.ERROR),
    ],
)
def test_when_a_span_is_an_error(kind: Kind, status: int, error: str, wanted: StatusCode) -> None:
    rig = Rig()
    span = rig.tracer.start(kind, "x", None, 6.0, {})
    span.end(7.0, {"http.response.status_code": status} if status else {}, error)
    [found] = rig.spans
    assert found.status.status_code is wanted
    assert found.attributes is not None
    assert found.attributes.get("error.type", "") == error


def test_the_wall_clock_is_looked_at_again_between_spans_only() -> None:
    rig = Rig()
    first = rig.tracer.start("server", "x", None, 6.0, {})
    rig.clocks.now += REFRESH
    rig.clocks.wall += REFRESH - 3_600  # it was an hour fast
    second = rig.tracer.start("server", "y", None, rig.clocks.now, {})
    first.end(rig.clocks.now, {}, "")
    second.end(rig.clocks.now + 1, {}, "")
    x, y = rig.spans
    assert x.start_time is not None
    assert x.end_time is not None
    assert x.end_time - x.start_time == round((REFRESH - 1) * SECOND)
    assert y.start_time == round(rig.clocks.wall) * SECOND
    assert y.end_time == (round(rig.clocks.wall) + 1) * SECOND


def test_a_handlers_own_instrumentation_nests() -> None:
    rig = Rig()
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})
    activate = span.activate  # type: ignore[attr-defined]  # the binding's, not the Protocol's

    def handler() -> None:
        activate()
        assert baggage.get_baggage("user") == "me"
        with rig.provider.get_tracer("app").start_as_current_span("query"):
            pass

    copy_context().run(handler)
    span.end(7.0, {}, "")
    query, found = rig.spans
    assert query.parent is not None
    assert query.parent.span_id == found.context.span_id
    assert not trace.get_current_span().get_span_context().is_valid


# --- what of OpenTelemetry goes wrong ------------------------------------------------------------


class Broken(SpanProcessor):
    def __init__(self, *, at_start: bool = False, at_end: bool = False) -> None:
        self.at_start = at_start
        self.at_end = at_end

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self.at_start:
            msg = "broken at the start"
            raise LookupError(msg)

    def on_end(self, span: object) -> None:
        if self.at_end:
            msg = "broken at the end"
            raise LookupError(msg)


def test_a_processor_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig("spans", Broken(at_end=True))
    for _ in range(2):
        span = rig.tracer.start("server", "x", PARENT, 6.0, {})
        span.stage("read", 6.0, 6.5)
        span.end(7.0, {}, "")
    [said] = caplog.records
    assert said.getMessage().startswith("the tracer raised")
    assert said.exc_info is not None
    assert isinstance(said.exc_info[1], LookupError)


def test_without_a_span_the_context_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig("spans", Broken(at_start=True))
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})
    assert span.context == PARENT
    span.stage("read", 6.0, 6.5)
    span.end(7.0, {}, "")
    assert rig.tracer.start("server", "x", None, 6.0, {}).context == TraceContext()
    assert len(caplog.records) == 1


def test_a_span_that_cannot_be_made_current(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    span = rig.tracer.start("server", "x", PARENT, 6.0, {})

    def fail(_: object) -> None:
        raise LookupError

    monkeypatch.setattr("opentelemetry.context.attach", fail)
    span.activate()  # type: ignore[attr-defined]  # as above
    span.end(7.0, {}, "")
    assert len(caplog.records) == len(rig.spans) == 1


class NoneOfIt(Sampler):
    def should_sample(
        self,
        parent_context: object,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: object = None,
        trace_state: object = None,
    ) -> SamplingResult:
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return "none"


def test_what_the_providers_sampler_drops_is_passed_on_as_not_sampled() -> None:
    rig = Rig()
    provider = TracerProvider(sampler=NoneOfIt(), shutdown_on_exit=False)
    span = OpenTelemetryTracer(provider).start("server", "x", PARENT, 6.0, {})
    assert span.context.trace_id == TRACE
    assert not span.context.sampled
    span.end(7.0, {}, "")
    assert rig.spans == ()


def test_without_an_sdk_the_context_is_passed_on() -> None:
    tracer = OpenTelemetryTracer(trace.NoOpTracerProvider())
    assert tracer.start("server", "x", PARENT, 6.0, {}).context == PARENT
    span = tracer.start("server", "x", TraceContext(baggage="a=b"), 6.0, {})
    assert span.context == TraceContext(baggage="a=b")


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import pipebus_asyncio, pipebus_anyio.observe.logs\n"
        "try:\n    import pipebus_anyio.observe.tracing\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (
        "tracing needs opentelemetry-api: pip install 'pipebus[tracing]'\n", "",
    )  # fmt: skip
