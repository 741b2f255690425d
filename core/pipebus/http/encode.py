"""Writes heads and chunks."""

import re
from http import HTTPStatus
from typing import Final

from pipebus.http.framing import Framing
from pipebus.http.wire import RawHeaders

RESPONSE_OWN: Final = frozenset(
    {
        b"connection", b"content-length", b"date", b"keep-alive", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Fields that a response's connection writes itself, or never."""

REQUEST_OWN: Final = frozenset(
    {
        b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
"""Fields that a request's connection writes itself (Host from the URL), or never."""

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_COMMON: Final = frozenset(
    {
        b"accept", b"accept-encoding", b"cache-control", b"content-encoding", b"content-type",
        b"etag", b"last-modified", b"location", b"set-cookie", b"user-agent", b"vary",
    }
)  # fmt: skip
"""Names that need no look at their letters; none of them is in the two sets above."""

_STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_token: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_control: Final = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search


def check_fields(fields: RawHeaders, own: frozenset[bytes] = RESPONSE_OWN) -> None:
    """Raise `ValueError` for a field that must not be written.

    That is a name that is no token or is in `own`, and a value with a CR, LF, NUL or other control
    character.
    """
    for name, value in fields:
        if name not in _COMMON:
            if _token(name) is None:
                msg = f"{name!r} is no field name (RFC 9110 section 5.1)"
                raise ValueError(msg)
            if name.lower() in own:
                msg = f"{name!r} is the connection's to write"
                raise ValueError(msg)
        if _control(value) is not None:
            msg = f"the value of {name!r} has a control character"
            raise ValueError(msg)


def status_line(status: int) -> bytes:
    """Return the status line; the reason is empty for a status without a registered one."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def response_head(
    status: int,
    fields: RawHeaders,
    *,
    date: bytes,
    framing: Framing,
    connection: bytes,
    added: bytes = b"",
) -> bytes:
    """Write a response's head, always as HTTP/1.1 (RFC 9112 section 2.3).

    `added` are field lines of the server's own, each with its CRLF. `framing` `length` and `chunked` write their field, other kinds none; `connection`: b"close",
    b"keep-alive" or b"" for none. Does not check `fields`: see `check_fields`.
    """
    return b"%b%b%bdate: %b\r\n%b%b" % (
        status_line(status),
        _field_lines(fields),
        added,
        date,
        _framing_line(framing),
        b"connection: %b\r\n\r\n" % connection if connection else b"\r\n",
    )


def whole_response(
    status: int, fields: RawHeaders, added: bytes, date: bytes, body: bytes
) -> bytes:
    """Write a response with its body, framed by its length, on a connection that persists."""
    return b"%b%b%bdate: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        status_line(status), _field_lines(fields), added, date, len(body), body,
    )  # fmt: skip


def request_head(
    method: bytes, target: bytes, host: bytes, lines: bytes, framing: Framing
) -> bytes:
    """Write an HTTP/1.1 request's head, Host first; `lines` are its fields, each with its CRLF.

    `framing` as in `response_head`. An empty POST wants `Framing("length", 0)` (RFC 9110 section
    8.6).
    """
    if framing.kind == "length":
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            method, target, host, lines, framing.length,
        )  # fmt: skip
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
        method, target, host, lines, _framing_line(framing),
    )  # fmt: skip


def _field_lines(fields: RawHeaders) -> bytes:
    lines = b""  # few and short: quicker than a list to join
    for field in fields:
        lines += b"%b: %b\r\n" % field
    return lines


def _framing_line(framing: Framing) -> bytes:
    if framing.kind == "length":
        return b"content-length: %d\r\n" % framing.length
    return b"transfer-encoding: chunked\r\n" if framing.kind == "chunked" else b""


def chunk(data: bytes) -> bytes:
    """Write one chunk; `data` must not be empty (that would be the last chunk)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
