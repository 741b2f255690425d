"""Responses of the HTTP client, as users see them."""

from typing import Any, Final, TypeVar, overload

import msgspec

from pipebus.http.headers import Headers

T = TypeVar("T")


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Where a call's time went, in seconds; the parts add up to `total`."""

    pool: float
    """Waiting for a connection slot."""
    connect: float
    """Name resolution, TCP and TLS; 0 on a reused connection."""
    head: float
    """From the request's first byte to the response's head."""
    body: float
    """From the head to the last byte of the body."""
    retries: float = 0.0
    """Attempts before the last one and the waits between them; what is above is of the last."""

    @property
    def total(self) -> float:
        """The whole call."""
        return self.pool + self.connect + self.head + self.body + self.retries


NO_TIME: Final = Timings(0.0, 0.0, 0.0, 0.0)


class ClientResponse(msgspec.Struct, eq=False):
    """A response with its whole body, decoded. `headers` are as received."""

    status: int
    headers: Headers
    body: bytes
    reason: str = ""
    http_version: str = "1.1"
    method: str = ""
    """The request's, as is `url`."""
    url: str = ""
    timings: Timings = NO_TIME

    def text(self) -> str:
        """Return the body as text, by the charset of Content-Type (UTF-8).

        Raises `UnicodeDecodeError` for bad bytes, `LookupError` for an unknown charset.
        """
        return self.body.decode(_charset(self.headers.get("content-type", "")))

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:  # noqa: A002 (msgspec's name for it)
        """Return the body decoded from JSON, checked against `type` if one is given.

        Raises `msgspec.DecodeError`.
        """
        return msgspec.json.decode(self.body, type=type)

    def __repr__(self) -> str:
        return f"<ClientResponse {self.status} {self.method} {self.url}>"


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"')
    return "utf-8"
