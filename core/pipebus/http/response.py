"""Responses as handlers make them."""

from collections.abc import AsyncIterable
from http import HTTPStatus
from typing import Final

import msgspec

from pipebus.http.encode import check_fields
from pipebus.http.framing import NO_CONTENT
from pipebus.http.headers import Headers, HeadersInput
from pipebus.http.problem_details import Problem
from pipebus.http.sse import EncodedEvents, ServerSentEvent
from pipebus.http.wire import RawHeaders

_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"
_PROBLEM: Final = b"application/problem+json"
_EVENTS: Final = b"text/event-stream"
_CONTENT_TYPE: Final = b"content-type"


class Response:
    """An answer: a status, fields and a body, whole or streamed.

    `status` 200-599 (RFC 9110 section 15; 1xx is not a final answer). `body` bytes; for text, JSON,
    problems, streams and events there are constructors. `content_type` holds unless `headers` have
    a Content-Type. Content-Length, Transfer-Encoding, Date and Connection are the connection's to
    write; setting one raises `ValueError`, as does a CR, LF or NUL anywhere, a status out of range,
    or a body with a status that has none (204, 205, 304). A body that is no bytes is a `TypeError`.
    """

    __slots__ = (
        "body",
        "content_length",
        "headers",
        "idle_timeout",
        "status",
        "stream_body",
    )

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: HeadersInput = (),
        *,
        content_type: str | None = None,
    ) -> None:
        self.status: int = status
        self.body: bytes = body
        raw: RawHeaders = []
        if isinstance(headers, Headers):
            # A copy: the fields of another message, passed on, must not grow a Content-Type there.
            raw += headers.raw
        elif headers != ():
            raw = Headers(headers).raw
        self.headers: Headers = Headers(raw=raw)
        if content_type is not None:
            self._default_type(content_type.encode("latin-1"))
        self.stream_body: AsyncIterable[bytes] | None = None
        """What produces a streamed body; iterated once, and closed if it has an `aclose`."""
        self.content_length: int | None = None
        """The size of a streamed body in bytes, where it is known; else it is sent chunked."""
        self.idle_timeout: bool = True
        """Whether `Limits.stream_idle` watches a streamed body; off for events."""
        check_response(self)

    def _default_type(self, value: bytes) -> None:
        raw = self.headers.raw
        for name, _ in raw:
            if name == _CONTENT_TYPE:
                return
        raw.append((_CONTENT_TYPE, value))

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeadersInput = ()) -> "Response":
        """Build a `text/plain; charset=utf-8` response."""
        response = cls(status, text.encode(), headers)
        response._default_type(_TEXT)
        return response

    @classmethod
    def json(cls, data: object, status: int = 200, headers: HeadersInput = ()) -> "Response":
        """Build an `application/json` response; `data` is anything msgspec encodes."""
        response = cls(status, msgspec.json.encode(data), headers)
        response._default_type(_JSON)
        return response

    @classmethod
    def problem(
        cls,
        status: int,
        detail: str | None = None,
        *,
        title: str | None = None,
        type: str | None = None,  # noqa: A002 (RFC 9457's name)
        instance: str | None = None,
        headers: HeadersInput = (),
    ) -> "Response":
        """Build an `application/problem+json` response (RFC 9457), `status` 400-599.

        `title` is the status's phrase by default, `type` a URI that names the kind of problem,
        `instance` one that names this occurrence.
        """
        if status < 400:
            msg = f"a problem's status must be from 400 to 599, not {status!r}"
            raise ValueError(msg)
        problem = Problem(type, title or phrase(status), int(status), detail, instance)
        response = cls(status, msgspec.json.encode(problem), headers)
        response._default_type(_PROBLEM)
        return response

    @classmethod
    def stream(
        cls,
        chunks: AsyncIterable[bytes],
        *,
        status: int = 200,
        headers: HeadersInput = (),
        content_type: str | None = "application/octet-stream",
        content_length: int | None = None,
    ) -> "Response":
        """Build a response whose body is produced chunk by chunk while it is sent.

        `chunks` is iterated once, as fast as the peer reads; a gap over `Limits.stream_idle` cuts
        the response, as does an exception, or more or less than `content_length` bytes.
        """
        if content_length is not None and (type(content_length) is not int or content_length < 0):
            msg = f"content_length must be an int of 0 or more, not {content_length!r}"
            raise ValueError(msg)
        response = cls(status, b"", headers, content_type=content_type)
        response.content_length = content_length
        _check_stream(chunks)
        response._stream(chunks)
        return response

    @classmethod
    def events(
        cls,
        events: AsyncIterable[ServerSentEvent | str],
        *,
        status: int = 200,
        headers: HeadersInput = (),
    ) -> "Response":
        """Build a `text/event-stream` response; a str is an event with that data.

        There is no idle timeout, and `Cache-Control: no-store` unless `headers` say otherwise.
        """
        response = cls(status, b"", headers)
        response._default_type(_EVENTS)
        if "cache-control" not in response.headers:
            response.headers.raw.append((b"cache-control", b"no-store"))
        response.idle_timeout = False
        _check_stream(events)
        response._stream(EncodedEvents(events))
        return response

    def _stream(self, chunks: AsyncIterable[bytes]) -> None:
        self.stream_body = chunks
        check_response(self)

    def __repr__(self) -> str:
        body = f"{len(self.body)} bytes" if self.stream_body is None else "streamed"
        return f"<Response {self.status}, {body}>"


def check_response(response: Response) -> None:
    """Raise `ValueError` or `TypeError` for a response that cannot be sent as it is.

    Every response was checked when it was made; this is for one that may have been changed since.
    """
    status = response.status
    if type(status) not in _STATUS_TYPES or not 200 <= status <= 599:
        msg = f"a response's status must be an int from 200 to 599, not {status!r}"
        raise ValueError(msg)
    body = response.body
    if type(body) is not bytes:
        msg = f"a response's body must be bytes, not {type(body).__name__} (see Response.text)"
        raise TypeError(msg)
    if status in NO_CONTENT and (body or response.stream_body is not None):
        msg = f"a {status} response has no body"
        raise ValueError(msg)
    if response.headers.raw:
        check_fields(response.headers.raw)


def phrase(status: int) -> str | None:
    """Return the registered reason phrase of a status, or None."""
    return _PHRASES.get(status)


_STATUS_TYPES: Final = (int, HTTPStatus)
"""Not bool, which is an int too: `Response(True)` is a mistake."""

_PHRASES: Final[dict[int, str]] = {status.value: status.phrase for status in HTTPStatus}


def _check_stream(chunks: object) -> None:
    if not hasattr(chunks, "__aiter__"):
        msg = f"a streamed body must be an async iterable, not {type(chunks).__name__}"
        raise TypeError(msg)
