"""Whose work is going on: what log lines, and spans of a handler's own libraries, belong to."""

from contextvars import ContextVar
from typing import Final

from pipebus.engine.invocation import Invocation
from pipebus.telemetry.trace import Span

current_invocation: Final[ContextVar[Invocation | None]] = ContextVar(
    "pipebus_invocation", default=None
)
"""The call of a handler that the running code is part of; None outside of all."""


def enter(invocation: Invocation) -> None:
    """Note whose work is done from here on, in context variables that are that work's own.

    Nobody takes it back: they end with the work.
    """
    current_invocation.set(invocation)
    if invocation.span is not None:
        activate(invocation.span)


def activate(span: Span) -> None:
    """Make a span the current one of the library that records it, where that has such a thing."""
    make_current = getattr(span, "activate", None)  # a binding's: the core knows no current span
    if make_current is not None:
        make_current()


def ids(invocation: Invocation | None) -> dict[str, str]:
    """Return what log lines about this work have: `request_id` and `trace_id`, or empty strings.

    The request is the one that the work belongs to; where there is none it is the event's own id.
    """
    if invocation is None:
        return {"request_id": "", "trace_id": ""}
    cause, trace = invocation.cause, invocation.trace
    return {
        "request_id": cause.correlation_id or cause.id,
        "trace_id": "" if trace is None else trace.trace_id,
    }
