"""Where a message's body ends: RFC 9112 section 6.3, once, for both roles."""

from typing import Final, Literal

from pipebus.http.wire import RawHeaders, RequestHead, ResponseHead

FramingKind = Literal["none", "length", "chunked", "until_close"]


class Framing:
    """How a body ends; `length` (bytes) counts for kind `length` only and is then above 0."""

    __slots__ = ("kind", "length")

    def __init__(self, kind: FramingKind, length: int = 0) -> None:
        self.kind: Final = kind
        self.length: Final = length

    def __repr__(self) -> str:
        return f"Framing({self.kind!r}, {self.length})"


NO_BODY: Final = Framing("none")
CHUNKED: Final = Framing("chunked")
UNTIL_CLOSE: Final = Framing("until_close")


def request_framing(head: RequestHead) -> Framing:
    """Find how a request's body ends; raises `RemoteProtocolError` (400, 501)."""
    raise NotImplementedError


def response_framing(head: ResponseHead, request_method: str) -> Framing:
    """Find how a response's body ends; raises `RemoteProtocolError`."""
    raise NotImplementedError


def has_no_body(status: int, request_method: str) -> bool:
    """Tell whether a response ends with its head whatever its fields say (HEAD, 1xx, 204, 304)."""
    raise NotImplementedError


def keep_alive(http_version: bytes, headers: RawHeaders) -> bool:
    """Tell whether this message's sender lets the connection persist (RFC 9112 section 9.3)."""
    raise NotImplementedError


def expects_continue(head: RequestHead) -> bool:
    """Tell whether the client waits for 100 Continue (RFC 9110 section 10.1.1)."""
    raise NotImplementedError
