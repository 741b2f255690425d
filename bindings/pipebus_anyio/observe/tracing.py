"""Spans by OpenTelemetry (the extra `tracing`); nothing else of pipebus imports that."""

import logging
import time
from collections.abc import Callable
from typing import Final, Literal

from pipebus import __version__
from pipebus.telemetry.trace import Attributes, Span, SpanKind, TraceContext

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace as otel
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
except ImportError as _missing:
    _msg = "tracing needs opentelemetry-api: pip install 'pipebus[tracing]'"
    raise ImportError(_msg, name=_missing.name) from _missing

StageRecords = Literal["spans", "events", "off"]

REFRESH: Final = 60.0
"""Seconds between two looks at how far the wall clock is from the monotonic one."""

logger: logging.Logger = logging.getLogger("pipebus")

_KINDS: Final[dict[SpanKind, otel.SpanKind]] = {
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
    "consumer": otel.SpanKind.CONSUMER,
}
_BAGGAGE: Final = W3CBaggagePropagator()
_FAILED: Final = "the tracer raised; spans are missing (this is said once)"


def has_provider() -> bool:
    """Return whether the program has set up OpenTelemetry's global tracer provider."""
    kinds = (otel.ProxyTracerProvider, otel.NoOpTracerProvider)
    return not isinstance(otel.get_tracer_provider(), kinds)


class OpenTelemetryTracer:
    """A `Tracer` that has its spans made by OpenTelemetry: the `tracer` of `serve` and `Client`.

    `tracer_provider`: the global one by default. `stages` says what becomes of the time that a
    request spent in each stage (read, queue, handler, write): child spans, events of its span, or
    nothing. What a sampler, processor or exporter raises is logged once and harms no request.
    """

    __slots__ = (
        "_clock", "_offset", "_provider", "_refresh_at", "_tracer", "_troubled", "_wall", "stages",
    )  # fmt: skip

    def __init__(
        self,
        tracer_provider: otel.TracerProvider | None = None,
        *,
        stages: StageRecords = "spans",
    ) -> None:
        if stages not in ("spans", "events", "off"):
            msg = f"stages must be one of spans, events, off, not {stages!r}"
            raise ValueError(msg)
        self.stages: StageRecords = stages
        self._provider = tracer_provider
        self._tracer = otel.get_tracer("pipebus", __version__, tracer_provider)
        self._clock: Callable[[], float] = time.monotonic
        self._wall: Callable[[], float] = time.time
        self._offset = 0
        """Nanoseconds from the clock's zero to that of the wall clock."""
        self._refresh_at = self._look_at_clocks()
        self._troubled = False

    def with_clock(
        self, clock: Callable[[], float], wall: Callable[[], float]
    ) -> "OpenTelemetryTracer":
        """Return one that is told times of another monotonic clock: each runtime has its own."""
        other = OpenTelemetryTracer(self._provider, stages=self.stages)
        other._clock, other._wall = clock, wall
        other._refresh_at = other._look_at_clocks()
        return other

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> Span:  # fmt: skip
        """Begin a span at `now` on the monotonic clock."""
        parent = parent or TraceContext()
        try:
            if now >= self._refresh_at:
                self._refresh_at = self._look_at_clocks()
            span = self._tracer.start_span(
                name,
                _parent(parent, remote=kind == "server"),
                _KINDS[kind],
                attributes,
                start_time=self._offset + round(now * 1e9),
            )
            return OpenTelemetrySpan(self, span, kind, parent, self._offset)
        except Exception as error:  # noqa: BLE001 (a request is worth more than its span)
            self.trouble(error)
            return _NoSpan(parent)

    def start_stage(self, span: otel.Span, name: str, start: int) -> otel.Span:
        """Begin a child span at `start`, in nanoseconds since the epoch."""
        return self._tracer.start_span(
            name, otel.set_span_in_context(span, otel_context.Context()), start_time=start
        )

    def trouble(self, error: Exception) -> None:
        """Log, the first time, that something of OpenTelemetry raised."""
        if not self._troubled:
            self._troubled = True
            logger.error(_FAILED, exc_info=error)

    def _look_at_clocks(self) -> float:
        now = self._clock()
        self._offset = round((self._wall() - now) * 1e9)
        return now + REFRESH


class OpenTelemetrySpan:
    """A `Span` that OpenTelemetry records. Nothing of it raises."""

    __slots__ = ("_kind", "_offset", "_span", "_tracer", "context")

    def __init__(
        self,
        tracer: OpenTelemetryTracer,
        span: otel.Span,
        kind: SpanKind,
        parent: TraceContext,
        offset: int,
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._kind = kind
        self._offset = offset
        """Its own for all its times: a wall clock that is set must not make it end before it began."""
        self.context: TraceContext = _context(span.get_span_context(), parent)
        """What work within it is part of."""

    def stage(self, name: str, start: float, end: float) -> None:
        """Note a stage within it, in seconds on the monotonic clock."""
        tracer = self._tracer
        begin = self._offset + round(start * 1e9)
        try:
            if tracer.stages == "spans":
                child = tracer.start_stage(self._span, name, begin)
                child.end(self._offset + round(end * 1e9))
            elif tracer.stages == "events":
                self._span.add_event(name, {"pipebus.duration": end - start}, begin)
        except Exception as error:  # noqa: BLE001 (as in `start`)
            tracer.trouble(error)

    def end(self, now: float, attributes: Attributes, error: str) -> None:
        """End it; `error` is its `error.type`, empty for none."""
        span = self._span
        try:
            span.set_attributes(attributes)
            if error:
                span.set_attribute("error.type", error)
                if self._kind != "server" or _is_the_servers(error, attributes):
                    span.set_status(otel.StatusCode.ERROR)
            span.end(self._offset + round(now * 1e9))
        except Exception as failure:  # noqa: BLE001 (as in `start`)
            self._tracer.trouble(failure)

    def activate(self) -> None:
        """Make it OpenTelemetry's current one in the running context, with the baggage.

        What else is instrumented there then makes spans within it. Nobody takes it back: the
        context variables of a handler's call end with it.
        """
        try:
            context = otel.set_span_in_context(self._span)
            if self.context.baggage:
                context = _BAGGAGE.extract({"baggage": self.context.baggage}, context)
            otel_context.attach(context)
        except Exception as error:  # noqa: BLE001 (as in `start`)
            self._tracer.trouble(error)


class _NoSpan:
    """A `Span` in place of one that could not be made."""

    __slots__ = ("context",)

    def __init__(self, context: TraceContext) -> None:
        self.context: TraceContext = context

    def stage(self, name: str, start: float, end: float) -> None:
        """Do nothing."""

    def end(self, now: float, attributes: Attributes, error: str) -> None:
        """Do nothing."""


def _is_the_servers(error: str, attributes: Attributes) -> bool:
    """Whether an error that ended a request is the server's; what the client did is none.

    Semantic conventions for HTTP: a status of 4xx leaves a server's span unset.
    """
    status = attributes.get("http.response.status_code", 0)
    return error != "disconnect" and not 400 <= int(status) < 500


def _parent(parent: TraceContext, *, remote: bool) -> otel_context.Context:
    """Return a context with the parent in it, or an empty one: never that of whoever runs."""
    context = otel_context.Context()
    if not parent.traceparent:
        return context
    span = otel.SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=remote,
        trace_flags=otel.TraceFlags(int(parent.traceparent[53:55], 16)),
        trace_state=otel.TraceState.from_header([parent.tracestate]),
    )
    return otel.set_span_in_context(otel.NonRecordingSpan(span), context)


def _context(span: otel.SpanContext, parent: TraceContext) -> TraceContext:
    if not span.is_valid:  # no SDK is set up
        return parent
    return TraceContext(
        f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}",
        span.trace_state.to_header(),
        parent.baggage,
    )
