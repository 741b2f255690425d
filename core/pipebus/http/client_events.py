"""What the HTTP client publishes, beside `net.http.client.request` (data: a `ClientRequest`)."""

from typing import Final

import msgspec

from pipebus.http.client_response import ClientResponse, Timings

CLIENT_REQUEST: Final = "net.http.client.request"
"""Data: a `ClientRequest`; the pool answers it, or a responder that the program declares."""
CLIENT_RESPONSE: Final = "net.http.client.response"
"""Data: `ClientResponded`."""
CLIENT_ERROR: Final = "net.http.client.error"
"""Data: `ClientResponded` with `error` set."""


class ClientResponded(msgspec.Struct, frozen=True):
    """An outgoing call that has ended; published at its last byte."""

    method: str
    url: str
    status: int
    """Of the head that came; 0 if none did."""
    outcome: str
    """The exchange's: `replied`, `failed`, `timed_out` or `cancelled`."""
    reused: bool
    """It went out on a connection that had served before."""
    timings: Timings
    """Seconds."""
    error: str = ""
    """The class of the `ClientError` it failed with."""
    response: ClientResponse | None = None
    """The response, where it was not streamed."""
