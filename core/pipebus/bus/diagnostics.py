"""Data of the events in which a bus tells what went wrong on it: `pipebus.*`."""

import msgspec


class ReplyDiscarded(msgspec.Struct, frozen=True):
    """Data of `pipebus.reply.late`, `.duplicate` and `.unknown`."""

    exchange_id: str
    topic: str
    """The request's; empty for an unknown exchange."""
    outcome: str
    """How the exchange had ended or that it is `streaming`; empty for an unknown one."""


class HandlerError(msgspec.Struct, frozen=True):
    """Data of `pipebus.handler.error`. Text only: the exception would pin its frames."""

    handler: str
    topic: str
    event_id: str
    error: str
    """The exception's type."""
    message: str


class EventsDropped(msgspec.Struct, frozen=True):
    """Data of `pipebus.events.dropped`: a publisher's parked events were given up."""

    publisher: str
    reason: str
    """`publish_timeout`, `shutdown`, `cancelled`, ..."""
    count: int
