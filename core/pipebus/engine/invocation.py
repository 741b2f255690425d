"""An invocation: one call of one handler, from `Run` to `Engine.ended`."""

from typing import Any, Final, Literal

from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Responder
from pipebus.bus.subscription import Subscription
from pipebus.limits import INFINITY
from pipebus.pipeline.handlers import Handler, Mode
from pipebus.telemetry.trace import Span, TraceContext

Kind = Literal["route", "respond", "subscriber", "tap", "error", "check"]
State = Literal["created", "running", "streaming", "finished", "ended"]

OPEN: Final = frozenset({"created", "running", "streaming"})
"""States in which it still owes a result; `finished`: its task or thread is on its way out."""


class Invocation:
    """What a `Run` names. For the binding: `mode`, `name` and its own `task`."""

    __slots__ = (
        "_publisher", "arguments", "cancelled", "cause", "exchange", "failed", "handler", "id", "kind",
        "mode", "name", "responder", "span", "state", "subscription", "task",
    )  # fmt: skip

    def __init__(
        self,
        id: str,  # noqa: A002 (the attribute's name)
        kind: Kind,
        handler: Handler,
        arguments: tuple[Any, ...],
        cause: Event,
        exchange: Exchange | None = None,
        responder: Responder | None = None,
        subscription: Subscription | None = None,
    ) -> None:
        self.id: str = id
        self.kind: Kind = kind
        self.handler: Handler = handler
        self.mode: Mode = handler.mode
        self.name: str = handler.name
        self.arguments: tuple[Any, ...] = arguments
        """What it is called with, the context aside."""
        self.cause: Event = cause
        """The event that it handles, and the cause of all that it publishes."""
        self.exchange: Exchange | None = exchange
        self.responder: Responder | None = responder
        """The holder of its concurrency slot; None once that is free again."""
        self.subscription: Subscription | None = subscription
        self.state: State = "created"
        self.cancelled: bool = False
        self.failed: str = ""
        """The class of what it raised."""
        self.span: Span | None = None
        """What is recorded of this work, if anything is; of a route: of its request."""
        self.task: object = None
        """The binding's: the task that runs it."""
        self._publisher: Publisher | None = None

    @property
    def publisher(self) -> Publisher:
        """Who publishes for it, made at first use: an edge of the bus's wait graph."""
        if self._publisher is None:
            self._publisher = Publisher(self.name)
            if self.exchange is not None:
                self.exchange.answering = self._publisher
            if self.subscription is not None:
                self.subscription.runner = self._publisher
        return self._publisher

    @property
    def trace(self) -> TraceContext | None:
        """What this work is part of, and all that it asks of others."""
        return self.cause.trace if self.span is None else self.span.context

    @property
    def deadline(self) -> float | None:
        """When its answer must be there; None for one that answers nobody, or has no hurry."""
        if self.exchange is None or self.exchange.deadline == INFINITY:
            return None
        return self.exchange.deadline

    def __repr__(self) -> str:
        return f"<Invocation {self.id} {self.kind} {self.name} {self.state}>"
