"""Writes heads and chunks."""

from typing import Final

from pipebus.http.framing import Framing
from pipebus.http.wire import RawHeaders

RESPONSE_OWN: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of a response that the connection writes itself, or never."""

REQUEST_OWN: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of a request that the connection writes itself (Host from the URL), or never."""

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def check_fields(fields: RawHeaders, own: frozenset[bytes] = RESPONSE_OWN) -> None:
    """Raise `ValueError` for a name that is no token, a CR, LF, NUL or other control character in
    a value, or a name in `own`.
    """
    raise NotImplementedError


def response_head(
    status: int, fields: RawHeaders, *, date: bytes, framing: Framing, connection: bytes
) -> bytes:
    """Write a response's head, always as HTTP/1.1.

    `framing`: `length` and `chunked` write their field; `none` writes Content-Length: 0 unless the
    status forbids it; `connection`: b"close", b"keep-alive" or b"" for none. Does not check
    `fields`: see `check_fields`.
    """
    raise NotImplementedError


def request_head(
    method: bytes,
    target: bytes,
    host: bytes,
    fields: RawHeaders,
    *,
    framing: Framing,
    connection: bytes = b"",
) -> bytes:
    """Write an HTTP/1.1 request's head, Host first; `framing` as in `response_head`, but `none`
    writes no Content-Length (pass `Framing("length", 0)` for an empty POST). Does not check.
    """
    raise NotImplementedError


def chunk(data: bytes) -> bytes:
    """Write one chunk; `data` must not be empty (that would be the last chunk)."""
    raise NotImplementedError
