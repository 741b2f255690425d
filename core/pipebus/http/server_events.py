"""What a server connection tells its owner, and how it wants to end."""

from enum import Enum
from typing import Final

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


class HeadReceived:
    """A request's head: answer with `read_body`, or at once with `send_response`."""

    __slots__ = ("head",)

    def __init__(self, head: RequestHead) -> None:
        self.head: RequestHead = head


class BodyReceived:
    """A piece of a body that is read with `collect=False`; never empty."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data


class BodyComplete:
    """The request is read to its end; `body` is all of it with `collect=True`, else empty."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body: bytes = body


class Bad:
    """The peer broke the protocol, a limit or the clock.

    `status` is what to answer with `send_response` (the connection then lingers and closes);
    `head` is None where it never became one. While a response is under way it cannot be answered
    any more: finish or `abort`.
    """

    __slots__ = ("detail", "head", "status")

    def __init__(self, status: int, detail: str, head: RequestHead | None) -> None:
        self.status: int = status
        self.detail: str = detail
        self.head: RequestHead | None = head


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
