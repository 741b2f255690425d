"""Spans of handlers: a route's is its request's, a responder or subscriber has one of its own."""

from pipebus.engine.invocation import Invocation
from pipebus.http.session import Session
from pipebus.pipeline.declarations import ResponderDecl, SubscriberDecl
from pipebus.telemetry.trace import Tracing


def start_span(tracing: Tracing, invocation: Invocation, now: float) -> None:
    """Give an invocation its span, if it is recorded.

    Names and attributes are those of OpenTelemetry's conventions for messaging; a topic may hold
    ids, so the name has the pattern that was declared.
    """
    kind = invocation.kind
    if kind == "route" or kind == "error":
        exchange = invocation.exchange
        assert exchange is not None
        assert isinstance(exchange.owner, Session), "only a connection asks for a route"
        invocation.span = exchange.owner.span
        return
    if invocation.subscription is not None:
        declared = invocation.subscription.owner
    else:
        declared = None if invocation.responder is None else invocation.responder.handler
    if isinstance(declared, ResponderDecl):
        pattern = declared.topic
    elif isinstance(declared, SubscriberDecl) and kind != "tap":
        pattern = declared.pattern
    else:
        return  # a tap, or a health check
    event = invocation.cause
    invocation.span = tracing.start(
        "consumer",
        f"process {pattern}",
        event.trace,
        now,
        {
            "messaging.system": "pipebus",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": event.type,
            "messaging.destination.template": pattern,
            "messaging.message.id": event.id,
            "messaging.message.conversation_id": event.correlation_id,
        },
    )


def end_span(invocation: Invocation, now: float) -> None:
    """End the span of a handler that is gone; a route's ends with its request."""
    span = invocation.span
    if span is not None and invocation.kind in ("respond", "subscriber"):
        span.end(now, {}, "cancelled" if invocation.cancelled else invocation.failed)
