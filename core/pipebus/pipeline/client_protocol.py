"""The HTTP client that handlers are given, as Protocols: awaited, and blocking for threads."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

import msgspec

from pipebus.http.client_response import ClientResponse
from pipebus.http.headers import Headers, HeadersInput
from pipebus.limits import Timeouts


class ResponseStream(Protocol):
    """The head of a response to an outgoing call, and its body, piece by piece.

    Iterate it once. A body cut short raises `UpstreamProtocolError`, a clock a `ClientTimeout`.
    """

    @property
    def status(self) -> int:
        """The status code, 200-599."""
        ...

    @property
    def headers(self) -> Headers:
        """The fields as received; the body is decoded all the same."""
        ...

    @property
    def http_version(self) -> str:
        """`"1.0"` or `"1.1"`."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class BlockingResponseStream(Protocol):
    """`ResponseStream` for a thread: iterated by a plain `for`."""

    @property
    def status(self) -> int:
        """The status code, 200-599."""
        ...

    @property
    def headers(self) -> Headers:
        """The fields as received; the body is decoded all the same."""
        ...

    @property
    def http_version(self) -> str:
        """`"1.0"` or `"1.1"`."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class HttpClientProtocol(Protocol):
    """Outgoing HTTP calls over the shared pool.

    `url` is `http`, `https` or `http+unix`. A body is `body` (bytes, or an async iterable that is
    sent as it comes) or `json` (anything msgspec encodes), never both. `timeouts` defaults to the
    program's; the handler's deadline caps them all. Raises the `ClientError` tree, and `ValueError`
    for a URL, method or field that cannot be sent. A 4xx or 5xx is a response, not an error.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a request and return the response with its whole body."""
        ...

    async def get(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a GET."""
        ...

    async def head(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a HEAD; the response has no body."""
        ...

    async def options(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send an OPTIONS."""
        ...

    async def delete(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a DELETE."""
        ...

    async def post(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a POST; it never goes out twice."""
        ...

    async def put(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a PUT."""
        ...

    async def patch(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a PATCH."""
        ...

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | AsyncIterable[bytes] = b"",
        content_length: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> AbstractAsyncContextManager[ResponseStream]:
        """Send a request and give its response at the head: `async with` it, `async for` its body.

        `content_length`, in bytes, declares the size of an iterable body; chunked without it.
        """
        ...


class BlockingHttpClientProtocol(Protocol):
    """`HttpClientProtocol` for a thread: every call blocks it; bodies are plain iterables."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a request and return the response with its whole body."""
        ...

    def get(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a GET."""
        ...

    def head(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a HEAD; the response has no body."""
        ...

    def options(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send an OPTIONS."""
        ...

    def delete(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a DELETE."""
        ...

    def post(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a POST; it never goes out twice."""
        ...

    def put(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a PUT."""
        ...

    def patch(
        self,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        json: object = msgspec.UNSET,
        timeouts: Timeouts | None = None,
    ) -> ClientResponse:
        """Send a PATCH."""
        ...

    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersInput | Headers = (),
        body: bytes | Iterable[bytes] = b"",
        content_length: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> AbstractContextManager[BlockingResponseStream]:
        """Send a request and give its response at the head: `with` it, `for` its body.

        `content_length`, in bytes, declares the size of an iterable body; chunked without it.
        """
        ...
