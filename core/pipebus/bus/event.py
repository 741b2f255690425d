"""The event: what travels on the bus."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from pipebus.telemetry.trace import TraceContext

NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


class Event(msgspec.Struct, frozen=True):
    """Something that happened. Attribute names are CloudEvents 1.0's.

    Users never build one: they `publish(topic, data)` or `request(topic, data)` and receive it.
    In-process `data` is the object itself, never a copy.
    """

    id: str
    """Unique within the process: prefix and counter."""
    source: str
    """Who published it: a connection, a handler or the program."""
    type: str
    """The topic, dot-separated tokens."""
    time: float
    """Seconds since the epoch (UTC)."""
    data: Any
    subject: str = ""
    correlation_id: str = ""
    """The id of the request that this belongs to (an exchange's id; its own for the first)."""
    causation_id: str = ""
    """The id of the event whose handler published this one."""
    trace: TraceContext | None = None
    """What it is part of, as it came with a request or from a span; passed on by all that follows."""
    deadline: float | None = None
    """Absolute, on the monotonic clock; only within the process."""
    metadata: Mapping[str, str] = NO_METADATA

    @property
    def traceparent(self) -> str:
        """The W3C trace context; empty where there is none."""
        return "" if self.trace is None else self.trace.traceparent

    @property
    def tracestate(self) -> str:
        """What vendors added to it; empty where there is nothing."""
        return "" if self.trace is None else self.trace.tracestate

    @property
    def baggage(self) -> str:
        """The W3C baggage; empty where there is none."""
        return "" if self.trace is None else self.trace.baggage
