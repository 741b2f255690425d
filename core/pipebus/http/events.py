"""What the HTTP server publishes, beside `net.http.request` whose data is the request itself."""

from typing import Final

import msgspec

from pipebus.http.message import Address
from pipebus.http.response import Response
from pipebus.telemetry.stages import Stages

HTTP_REQUEST: Final = "net.http.request"
"""Data: a `Request` or a `StreamRequest`."""
HTTP_RESPONSE: Final = "net.http.response"
"""Data: `HttpResponded`."""
HTTP_ERROR: Final = "net.http.error"
"""Data: `HttpFailed`."""
CONNECTION_OPEN: Final = "net.connection.open"
"""Data: `ConnectionInfo`."""
CONNECTION_CLOSE: Final = "net.connection.close"
"""Data: `ConnectionInfo`."""


class HttpResponded(msgspec.Struct, frozen=True):
    """A request got its whole answer; published at its last byte."""

    method: str
    """Empty where a bad head did not tell."""
    target: str
    route: str
    """The template that matched; empty for a request refused before dispatch."""
    status: int
    outcome: str
    """The exchange's; empty for a request refused before dispatch."""
    client: Address
    bytes_in: int
    """Of the request, head included, as they came from the wire."""
    bytes_out: int
    """Of the answer, head included, as they went to the wire."""
    stages: Stages
    """How long each stage took, in seconds."""
    response: Response | None = None
    """The handler's own, where there is one; its body is not to be changed."""
    reason: str = ""
    """Why there is none: a situation (`rate_limited`, `not_found`, ...), or what was raised."""


class HttpFailed(msgspec.Struct, frozen=True):
    """A request got no answer, or one that was cut; published in place of `HttpResponded`."""

    method: str
    target: str
    route: str
    status: int
    """Of the head that went out before it failed; 0 if none did."""
    outcome: str
    client: Address
    bytes_in: int
    bytes_out: int
    stages: Stages
    reason: str
    """`disconnect`, `shutdown`, `handler`, `stream_idle`, ...: why."""


class ConnectionInfo(msgspec.Struct, frozen=True):
    """A server connection, when it opens and when it has closed."""

    id: str
    client: Address
    tls: bool
    requests: int = 0
    """Answered on it."""
    bytes_in: int = 0
    bytes_out: int = 0
    reason: str = ""
    """Why it closed."""
