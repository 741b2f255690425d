"""What a client connection tells its owner."""

from typing import Final

from pipebus.errors import ClientError, RemoteProtocolError, ResponseTooLarge, UpstreamProtocolError
from pipebus.http.wire import ResponseHead


class Complete:
    """The response is read to its end; the connection can say whether it is `reusable`."""

    __slots__ = ()


COMPLETE: Final = Complete()

ConnectionEvent = ResponseHead | bytes | Complete | ClientError
"""A final head, a piece of the body (never empty), the end, or why there will be none."""


def as_client_error(error: RemoteProtocolError) -> ClientError:
    """Say as a client's error what the shared readers found wrong with a response."""
    if isinstance(error, ClientError):
        return error
    if error.status_hint == 431:
        return ResponseTooLarge(f"the response's head is too large: {error}")
    return UpstreamProtocolError(f"the server broke HTTP: {error}")
