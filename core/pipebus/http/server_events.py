"""What a server connection tells its owner, and how it wants to end."""

from enum import Enum
from typing import Final

import msgspec

from pipebus.http.wire import RequestHead


class Close(Enum):
    """How a connection wants to be closed by its driver."""

    NO = "no"
    """It stays open."""
    AFTER_FLUSH = "after-flush"
    """When everything in `data_to_send` is out."""
    LINGER = "linger"
    """After the flush shut the sending side, go on feeding input until this is AFTER_FLUSH."""
    RESET = "reset"
    """At once and so that the peer sees a reset (SO_LINGER 0)."""


NOT_CLOSING: Final = Close.NO
"""The same, for the hot path: a look into an Enum's class costs as much as a call."""


class HeadReceived(msgspec.Struct, gc=False):
    """A request's head: answer with `read_body`, or at once with `send_response`."""

    head: RequestHead


class BodyReceived(msgspec.Struct, gc=False):
    """A piece of a body that is read with `collect=False`; never empty."""

    data: bytes


class BodyComplete(msgspec.Struct, gc=False):
    """The request is read to its end; `body` is all of it with `collect=True`, else empty."""

    body: bytes


class Bad(msgspec.Struct, gc=False):
    """The peer broke the protocol, a limit or the clock.

    `status` is what to answer with `send_response` (the connection then lingers and closes);
    `head` is None where it never became one. While a response is under way it cannot be answered
    any more: finish or `abort`.
    """

    status: int
    detail: str
    head: RequestHead | None


class HalfClosed:
    """The peer shut its sending side after a complete request: it may still read the answer."""

    __slots__ = ()


class PeerGone:
    """The peer cannot be answered any more; comes once, and nothing is written after it."""

    __slots__ = ()


class Writable:
    """`send_body` returned False and there is room again."""

    __slots__ = ()


class Done:
    """The response is in the buffer and the request read, or the connection is ending."""

    __slots__ = ()


ServerEvent = (
    HeadReceived | BodyReceived | BodyComplete | Bad | HalfClosed | PeerGone | Writable | Done
)

HALF_CLOSED: Final = HalfClosed()
PEER_GONE: Final = PeerGone()
WRITABLE: Final = Writable()
DONE: Final = Done()
