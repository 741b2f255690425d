"""Where a message's body ends: RFC 9112 section 6.3, once, for both roles."""

import re
from typing import Final, Literal

from pipebus.errors import RemoteProtocolError
from pipebus.http.wire import HTTP_10, RawHeaders, RequestHead

FramingKind = Literal["none", "length", "chunked", "until_close"]


class Framing:
    """How a body ends; `length` (bytes) counts for kind `length` only."""

    __slots__ = ("kind", "length")

    def __init__(self, kind: FramingKind, length: int = 0) -> None:
        self.kind: Final[FramingKind] = kind
        self.length: Final = length

    def __repr__(self) -> str:
        return f"Framing({self.kind!r}, {self.length})"


NO_BODY: Final = Framing("none")
CHUNKED: Final = Framing("chunked")
UNTIL_CLOSE: Final = Framing("until_close")

_MAX_DIGITS: Final = 18
"""Of a Content-Length: it then fits a signed 64-bit integer wherever it goes next."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

ENDS_WITH_HEAD: Final = frozenset({204, 304})
"""Statuses whose response ends with its head, whatever its fields say (RFC 9112 section 6.3)."""
NO_CONTENT: Final = ENDS_WITH_HEAD | {205}
"""Statuses whose response may not be given content (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).

A 205 is framed like any other: its end is a length of 0.
"""


def has_no_body(status: int, request_method: str) -> bool:
    """Tell whether a response ends with its head whatever its fields say (HEAD, 1xx, 204, 304)."""
    return status in ENDS_WITH_HEAD or status < 200 or request_method == "HEAD"


def judge_request(http_version: bytes, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """Judge the values of Content-Length and Transfer-Encoding, stripped, in wire order."""
    if codings:
        _refuse_ambiguous(http_version, lengths)
        _check_codings(codings)
        return CHUNKED
    return _length(lengths) if lengths else NO_BODY


def judge_response(http_version: bytes, lengths: list[bytes], codings: list[bytes]) -> Framing:
    """Judge as `judge_request` does; with neither field the body lasts until the close."""
    if codings:
        _refuse_ambiguous(http_version, lengths)
        _check_codings(codings)
        return CHUNKED
    return _length(lengths) if lengths else UNTIL_CLOSE


def answer_framing(
    status: int, request_method: str, http_version: bytes, length: int | None
) -> tuple[Framing, Framing]:
    """Choose how a response is framed: what its head says, and what follows it.

    `length` is its body's in bytes, None for a stream of unknown length, which lasts until the
    close where the client does not know chunks (RFC 9112 section 6.1). HEAD is told the length
    that GET would have; 204 and 304 tell none; 205 has none (RFC 9110 section 15.3.6).
    """
    if status in ENDS_WITH_HEAD:
        return NO_BODY, NO_BODY
    if status == 205:
        return Framing("length", 0), NO_BODY
    if length is not None:
        told = Framing("length", length)
    else:
        told = UNTIL_CLOSE if http_version == HTTP_10 else CHUNKED
    if request_method == "HEAD":
        return (NO_BODY if length is None else told), NO_BODY
    return told, told


def keep_alive(http_version: bytes, headers: RawHeaders) -> bool:
    """Tell whether this message's sender lets the connection persist (RFC 9112 section 9.3)."""
    persists = http_version != HTTP_10
    for name, value in headers:
        if name == b"connection":
            options = [option.strip(b" \t") for option in value.lower().split(b",")]
            if b"close" in options:
                return False
            if b"keep-alive" in options:
                persists = True
    return persists


def expects_continue(head: RequestHead) -> bool:
    """Tell whether the client waits for 100 Continue.

    A 1.0 client's expectation is ignored (RFC 9110 section 10.1.1); so is any other expectation.
    """
    for name, value in head.headers:
        if name == b"expect":
            expectations = [each.strip(b" \t") for each in value.lower().split(b",")]
            if b"100-continue" in expectations:
                return head.http_version != HTTP_10
    return False


def _refuse_ambiguous(http_version: bytes, lengths: list[bytes]) -> None:
    """Refuse what two readers may frame in two ways (RFC 9112 sections 6.1 and 11.2)."""
    if http_version == HTTP_10:
        raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    if lengths:
        raise RemoteProtocolError("both Transfer-Encoding and Content-Length")


def _length(values: list[bytes]) -> Framing:
    # RFC 9110 section 8.6 lets a recipient reject repeated values even where they are equal.
    if len(values) > 1:
        raise RemoteProtocolError("more than one Content-Length")
    if not values[0].isdigit():
        raise RemoteProtocolError("malformed Content-Length")
    if len(values[0]) > _MAX_DIGITS:
        raise RemoteProtocolError("this Content-Length is beyond any limit", 413)
    length = int(values[0])
    return Framing("length", length) if length else NO_BODY


def _check_codings(values: list[bytes]) -> None:
    """Let only `chunked` pass.

    A final coding other than chunked leaves the end unknown: 400 (RFC 9112 section 6.3); a coding
    under a final chunked is merely one that is not implemented: 501 (section 6.1).
    """
    codings = [coding.strip(b" \t").lower() for value in values for coding in value.split(b",")]
    if codings == [b"chunked"]:
        return
    if not all(map(_TOKEN, codings)):
        raise RemoteProtocolError("malformed Transfer-Encoding")
    if codings[-1] != b"chunked" or b"chunked" in codings[:-1]:
        raise RemoteProtocolError("Transfer-Encoding must end in one chunked")
    raise RemoteProtocolError("this transfer coding is not implemented", 501)
