"""What of a trace is passed on, and what is recorded."""

import pytest

from pipebus.telemetry.trace import (
    Attributes,
    Span,
    SpanKind,
    TraceContext,
    Tracing,
    context_of,
    received,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
NOT_SAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], None),
        ([(b"x", b"y")], None),
        ([(b"traceparent", PARENT.encode())], TraceContext(PARENT)),
        (
            [(b"tracestate", b"a=1"), (b"traceparent", PARENT.encode()), (b"tracestate", b"b=2")],
            TraceContext(PARENT, "a=1,b=2"),
        ),
        ([(b"tracestate", b"a=1")], None),
        ([(b"traceparent", b"bad"), (b"tracestate", b"a=1")], None),
        ([(b"traceparent", PARENT.encode())] * 2, None),
        ([(b"traceparent", f"cc{PARENT[2:]}-more".encode())], TraceContext(PARENT)),
        ([(b"traceparent", f"{PARENT}-more".encode())], None),
        ([(b"baggage", b"user=7"), (b"baggage", b"k=v")], TraceContext(baggage="user=7,k=v")),
        (
            [(b"traceparent", PARENT.encode()), (b"baggage", b"x" * 8_193)],
            TraceContext(PARENT),
        ),
        ([(b"baggage", b"x" * 8_193)], None),
        ([(b"baggage", "käse=1".encode("latin-1"))], None),
        ([(b"traceparent", PARENT.encode()), (b"tracestate", b"a=\xff")], TraceContext(PARENT)),
        (
            [(b"traceparent", PARENT.encode()), (b"tracestate", b"x" * 4_097)],
            TraceContext(PARENT),
        ),
    ],
)  # fmt: skip
def test_what_comes_is_passed_on_as_far_as_it_is_well_formed(
    fields: list[tuple[bytes, bytes]], found: TraceContext | None
) -> None:
    assert context_of(fields) == found


def test_a_context_tells_its_parts_and_its_fields() -> None:
    context = TraceContext(PARENT, "a=1", "user=7")
    assert (context.trace_id, context.span_id, context.sampled) == (
        TRACE, "b7ad6b7169203331", True,
    )  # fmt: skip
    assert context_of(context.fields()) == context
    nothing = TraceContext(baggage="user=7")
    assert (nothing.trace_id, nothing.span_id, nothing.sampled) == ("", "", False)
    assert nothing.fields() == [(b"baggage", b"user=7")]
    assert not TraceContext(NOT_SAMPLED).sampled


class _Nothing:
    context = TraceContext()

    def stage(self, name: str, start: float, end: float) -> None: ...

    def end(self, now: float, attributes: Attributes, error: str) -> None: ...


class Recorder:
    def __init__(self) -> None:
        self.started: list[str] = []

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> Span:  # fmt: skip
        self.started.append(name)
        return _Nothing()


@pytest.mark.parametrize(
    ("parent", "drawn", "recorded"),
    [
        (None, 0.09, True),
        (None, 0.1, False),
        (TraceContext(PARENT), 0.99, True),
        (TraceContext(NOT_SAMPLED), 0.0, False),
        (TraceContext(baggage="user=7"), 0.0, True),
        (TraceContext(baggage="user=7"), 0.5, False),
    ],
)
def test_the_parent_decides_what_is_recorded_and_chance_where_there_is_none(
    parent: TraceContext | None, drawn: float, recorded: bool
) -> None:
    recorder = Recorder()
    tracing = Tracing(recorder, 0.1, lambda: drawn)
    span = tracing.start("server", "GET /", parent, 1.0, {})
    assert (span is not None) is recorded
    assert recorder.started == ["GET /"][: int(recorded)]


def test_what_came_over_the_bus_cannot_smuggle_a_field() -> None:
    evil = "a=1\r\nx-evil: 1"
    assert received(PARENT, evil, evil) == TraceContext(PARENT)
    assert received(PARENT + "\r\nx-evil: 1", "", "") is None
