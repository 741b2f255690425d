"""Requests and responses of the HTTP client, as users see them."""

from typing import Any, Final, TypeVar, overload

import msgspec

from pipebus.http.headers import Headers, HeadersInput

T = TypeVar("T")

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: sending one twice is sending it once."""


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Where a call's time went, in seconds; the four parts add up to `total`."""

    pool: float
    """Waiting for a connection slot."""
    connect: float
    """Name resolution, TCP and TLS; 0 on a reused connection."""
    head: float
    """From the request's first byte to the response's head."""
    body: float
    """From the head to the last byte of the body."""

    @property
    def total(self) -> float:
        """The whole call."""
        return self.pool + self.connect + self.head + self.body


_NO_TIME: Final = Timings(0.0, 0.0, 0.0, 0.0)


class ClientRequest:
    """A request to send, checked: what it accepts is well-formed HTTP/1.1.

    `url` is http, https or http+unix (`http+unix://%2Frun%2Fapp.sock/path`). `body` is sent whole;
    with `streams=True` it comes by `HttpClient.send_body`, chunked, or with a Content-Length if
    `content_length` is given. Host, User-Agent and `Accept-Encoding: gzip, deflate` are added
    where missing. `decode` says whether a gzip or deflate response is decoded; by default it is if
    Accept-Encoding was added. Raises `ValueError` for a URL, method or field that is not right, and
    for the fields that are the connection's to write (Content-Length, Transfer-Encoding, ...).
    """

    __slots__ = (
        "body",
        "content_length",
        "decode",
        "head",
        "headers",
        "method",
        "streams",
        "target",
        "url",
    )

    def __init__(
        self,
        method: str,
        url: str,
        headers: HeadersInput | Headers = (),
        body: bytes = b"",
        *,
        streams: bool = False,
        content_length: int | None = None,
        decode: bool | None = None,
    ) -> None:
        raise NotImplementedError


class ClientResponse:
    """A response with its whole body, decoded. `headers` are as received."""

    __slots__ = ("body", "headers", "http_version", "method", "reason", "status", "timings", "url")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes,
        *,
        reason: str = "",
        http_version: str = "1.1",
        method: str = "",
        url: str = "",
        timings: Timings = _NO_TIME,
    ) -> None:
        raise NotImplementedError

    def text(self) -> str:
        """Return the body as text, by the charset of Content-Type (UTF-8).

        Raises `UnicodeDecodeError` for bad bytes, `LookupError` for an unknown charset.
        """
        raise NotImplementedError

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:  # noqa: A002
        """Return the body decoded from JSON, checked against `type` if one is given.

        Raises `msgspec.DecodeError`.
        """
        raise NotImplementedError
