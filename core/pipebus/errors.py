"""Every error that pipebus raises, in one tree.

Two questions sort them: whose fault, and what to answer. `LocalProtocolError` is misuse by the
program and is raised; `RemoteProtocolError` is the peer's and carries the status to answer with.
"""

from collections.abc import Iterable, Mapping


class PipebusError(Exception):
    """The root: `except PipebusError` catches everything below and nothing else."""


def text_of(error: BaseException) -> str:
    """Return `str(error)`, or a remark where that itself raises: it may be a program's own code."""
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001 (whatever it is, nobody else can deal with it)
        return f"<its text cannot be had: {type(worse).__name__}>"


class RegistrationError(PipebusError):
    """A handler, route or pattern cannot be what it was declared to be."""


class LocalProtocolError(PipebusError):
    """A machine was used in a way its state does not allow: a bug in the caller."""


class RemoteProtocolError(PipebusError):
    """The peer broke the protocol.

    `status_hint` is the HTTP status a server answers with (default 400).
    """

    def __init__(self, message: str, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint: int = status_hint


class CodecError(PipebusError):
    """Bytes that do not decode, an object that does not encode, or input over the bound."""


# --- the bus ---------------------------------------------------------------------------------


class WouldBlock(PipebusError):
    """`publish_nowait` met a full lossless queue; nothing was delivered to anyone."""


class WouldDeadlock(PipebusError):
    """Waiting here would wait for itself; `path` names the chain, first and last the same."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__("would wait for itself: " + " -> ".join(path))
        self.path: tuple[str, ...] = path


class PublishTimeout(PipebusError):
    """A publish waited `publish_timeout` seconds for room in a lossless queue."""


class RequestError(PipebusError):
    """A bus request that ended in anything but a reply."""


class NoResponder(RequestError):
    """Nobody answers this topic; known at once."""


class Rejected(RequestError):
    """Every responder was busy and the group's queue was full, or the bus is draining."""


class RequestTimeout(RequestError):
    """No reply before the deadline."""


class ResponderFailed(RequestError):
    """The responder raised; its exception is `__cause__`."""


class RequestCancelled(RequestError):
    """The request was cancelled; `reason` is `disconnect`, `caller` or `shutdown`."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason: str = reason


# --- streams and the HTTP client -------------------------------------------------------------


class StreamInterrupted(PipebusError):
    """A body being read or written ended before its end (peer gone, timeout, shutdown)."""


class ClientError(PipebusError):
    """An outgoing HTTP call that did not get its response."""


class ConnectError(ClientError):
    """Name resolution, TCP, UNIX socket or TLS connection failed at every address."""


class ClientTimeout(ClientError):
    """One of the call's timeouts ran out; the subclass says which."""


class ConnectTimeout(ClientTimeout):
    """No connection within `Timeouts.connect` seconds."""


class PoolTimeout(ClientTimeout):
    """No free connection slot within `Timeouts.pool` seconds."""


class WriteTimeout(ClientTimeout):
    """The peer took no byte of the request for `Timeouts.write` seconds."""


class ReadTimeout(ClientTimeout):
    """The peer sent no byte for `Timeouts.read` seconds."""


class TotalTimeout(ClientTimeout):
    """The whole call took longer than `Timeouts.total` seconds."""


class UpstreamProtocolError(ClientError, RemoteProtocolError):
    """The server on the other side of an outgoing call broke HTTP (or closed too early)."""

    def __init__(self, message: str) -> None:
        RemoteProtocolError.__init__(self, message, 502)


class ResponseTooLarge(ClientError):
    """A response head or a buffered (decoded) body exceeded its limit."""


class BreakerOpen(ClientError):
    """The server of an outgoing call keeps failing: nothing was sent, to leave it alone.

    `retry_after` is the seconds until it is tried again, 0 while that is going on.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after: float = retry_after


class CallCancelled(ClientError):
    """An outgoing call ended by its owner, by its failing request body or by the client's close."""


class NeedsRuntime(PipebusError):
    """A handler awaited something other than its context while stepped in virtual time."""


# --- what a handler answers with -------------------------------------------------------------


class HTTPError(PipebusError):
    """Raised in a handler of a route to answer `status` as `application/problem+json`.

    `status` 400-599 (RFC 9110 sections 15.5 and 15.6; anything else raises `ValueError`),
    `detail` text for the client (none by default), `headers` more fields, such as
    `[("www-authenticate", "Basic")]`.
    """

    # For a subclass that does not call `super().__init__`: then it is an internal error.
    status: int = 500
    detail: str | None = None
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        if type(status) is not int or not 400 <= status <= 599:
            msg = f"HTTPError's status must be an int from 400 to 599, not {status!r}"
            raise ValueError(msg)
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def __str__(self) -> str:
        return str(self.status) if self.detail is None else f"{self.status}: {self.detail}"


class BadRequestBody(HTTPError):
    """The request's body is not what `Request.text()` or `Request.json()` was asked for: 400.

    The decoder's own exception is `__cause__`; its text does not go to the client.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)
