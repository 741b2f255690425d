"""The wire codec: two pure functions on one complete, checked head.

Everything around a head (cutting, checks, framing, bodies, encoding) is written once and shared;
a codec only takes a head apart, so two codecs cannot disagree about a body.
"""

from typing import Final, Protocol

import msgspec

RawHeaders = list[tuple[bytes, bytes]]
"""Header fields in the order of the wire; names in lower case, values stripped of OWS."""

HTTP_10: Final = b"1.0"
HTTP_11: Final = b"1.1"


class RequestHead(msgspec.Struct, gc=False):
    """A request's head as it stood on the wire."""

    method: str
    target: bytes
    http_version: bytes
    """`b"1.0"` or `b"1.1"`."""
    headers: RawHeaders


class ResponseHead(msgspec.Struct, gc=False):
    """A response's head as it stood on the wire."""

    status: int
    reason: bytes
    http_version: bytes
    headers: RawHeaders


class WireCodec(Protocol):
    """Takes heads apart. `data` ends with the blank line and has passed `head_check`.

    Raises `RemoteProtocolError` for what it does not accept.
    """

    name: str

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        """Parse one request head."""
        ...

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        """Parse one response head, final or 1xx."""
        ...
