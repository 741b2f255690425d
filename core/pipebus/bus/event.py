"""The event: what travels on the bus."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

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
    traceparent: str = ""
    """W3C trace context, passed through."""
    deadline: float | None = None
    """Absolute, on the monotonic clock; only within the process."""
    metadata: Mapping[str, str] = NO_METADATA
