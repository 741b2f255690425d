"""What a client connection tells its owner."""

import re
from typing import Final

from pipebus.errors import ClientError, RemoteProtocolError, ResponseTooLarge, UpstreamProtocolError
from pipebus.http.wire import ResponseHead


class Complete:
    """The response is read to its end; the connection can say whether it is `reusable`."""

    __slots__ = ()


COMPLETE: Final = Complete()

ConnectionEvent = ResponseHead | bytes | Complete | ClientError
"""A final head, a piece of the body (never empty), the end, or why there will be none."""


_TOO_LARGE: Final = frozenset({413, 431})
# Looking behind keeps it linear: each blank of a long row would be tried as the first else.
_folds: Final = re.compile(rb"(?<![ \t])[ \t]*+(?:\r\n[ \t]++)++")


def unfold(head: bytes) -> bytes:
    """Replace line foldings of a response's head by a space (RFC 9112 section 5.2).

    A user agent must; a server refuses it in a request. White space under the status line folds
    nothing and stays, to be refused (section 2.2).
    """
    line, _, fields = head.partition(b"\r\n")
    if fields.startswith((b" ", b"\t")):
        return head
    return line + b"\r\n" + _folds.sub(b" ", fields)


def as_client_error(error: RemoteProtocolError) -> ClientError:
    """Say as a client's error what the shared readers found wrong with a response."""
    if isinstance(error, ClientError):
        return error
    if error.status_hint in _TOO_LARGE:
        return ResponseTooLarge(f"the response is too large: {error}")
    return UpstreamProtocolError(f"the server broke HTTP: {error}")
