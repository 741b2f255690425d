"""One outgoing call, and what the client asks of a binding for it."""

from typing import Final

import msgspec

from pipebus.errors import ClientError
from pipebus.http.client_message import ClientRequest, ClientResponse, Timings
from pipebus.http.message import Address
from pipebus.http.wire import ResponseHead
from pipebus.timers import Timed

WAITING: Final = "waiting"
"""For a connection slot."""
RESOLVING: Final = "resolving"
CONNECTING: Final = "connecting"
SENDING: Final = "sending"
"""Some of the request has still to be handed over."""
READING_HEAD: Final = "reading head"
READING_BODY: Final = "reading body"
DONE: Final = "done"
"""It has its one end: a response, a body taken to its end, or an error."""


class Resolve(msgspec.Struct, frozen=True):
    """Resolve `host`; answer with `resolved(id, addresses)` or `resolve_failed(id, error)`."""

    id: str
    host: str
    port: int


class Connect(msgspec.Struct, frozen=True):
    """Connect to `address`, with a TLS handshake for `host` if `tls`.

    Answer with `connected(attempt_id)` once both stand, or with `connect_failed`.
    """

    attempt_id: str
    address: Address
    """(IP address, port), or the path of a UNIX socket."""
    host: str
    """For SNI and the certificate check."""
    tls: bool


class AbandonConnect(msgspec.Struct, frozen=True):
    """Give that attempt up, whatever its state; it needs no answer."""

    attempt_id: str


class ClientCall(Timed):
    """One call. Outputs are attributes; `HttpClient.next_output` names the call at every change.

    `head` is set with the response's head. Buffered: `done` comes with `response` or `error`.
    `stream=True`: `HttpClient.take_body` until `body_done`; `done` and `error` may come at any time.
    """

    __slots__ = (
        "body_done",
        "done",
        "error",
        "head",
        "id",
        "owner",
        "request",
        "response",
        "reused",
        "state",
        "stream",
        "timings",
        "upload_done",
        "upload_paused",
    )

    id: str
    request: ClientRequest
    stream: bool
    owner: object
    state: str
    head: ResponseHead | None
    response: ClientResponse | None
    error: ClientError | None
    """Why it failed; `CallCancelled` after `cancel` and `close`."""
    done: bool
    body_done: bool
    """The last piece was taken, or the buffered response is whole."""
    upload_paused: bool
    """Send no chunk now: no connection yet, or above `write_high_water`; news says when."""
    upload_done: bool
    """No more chunks are wanted: `end_body` was called, or the server answered early."""
    reused: bool
    """It went out on a connection that had served before."""
    timings: Timings
    """True once `done`."""
