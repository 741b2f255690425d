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


BREAKER_TOPICS: Final = {
    "open": "pipebus.breaker.open",
    "half_open": "pipebus.breaker.half_open",
    "closed": "pipebus.breaker.closed",
}
"""By the new state. Data: `BreakerChanged`."""


class BreakerChanged(msgspec.Struct, frozen=True):
    """A circuit breaker went from one state to another."""

    name: str
    """The origin of the client's (`https://example.org:443`), a route's or responder's pattern."""
    old: str
    new: str
    """`closed`, `open` or `half_open`."""
    failures: int
    """Of so many `calls` in the window, where they made it open; else 0 of 0."""
    calls: int
    retry_after: float
    """Seconds until a call tries how it is, where `new` is `open`."""


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
