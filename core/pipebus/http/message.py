"""Requests and responses as handlers see them."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeVar, overload
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from pipebus.http.headers import Headers, HeadersInput

T = TypeVar("T")

Address = tuple[str, int] | str
"""(host, port) of a TCP peer, the path of a UNIX socket, or "" for an unnamed one."""

_NO_PARAMS: Final[Mapping[str, str]] = {}


class Query:
    """The query as an ordered multi-map: `a=1&a=2` keeps both."""

    __slots__ = ("pairs",)

    def __init__(self, raw: str) -> None:
        self.pairs: list[tuple[str, str]] = parse_qsl(raw, keep_blank_values=True)

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value, or `default` (None)."""
        for key, value in self.pairs:
            if key == name:
                return value
        return default

    def get_list(self, name: str) -> list[str]:
        """Return every value under that name, in order."""
        return [value for key, value in self.pairs if key == name]

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def __repr__(self) -> str:
        return f"Query({self.pairs!r})"


class RequestInfo:
    """What is known of a request once its head is in."""

    __slots__ = (
        "_path", "_query", "client", "headers", "http_version", "id", "method", "path_params",
        "raw_path", "raw_query", "route", "target", "tls",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        *,
        http_version: str = "1.1",
        client: Address = "",
        tls: bool = False,
        id: str = "",  # noqa: A002 (the attribute's name)
        path_params: Mapping[str, str] = _NO_PARAMS,
        route: str = "",
    ) -> None:
        self.method = method
        self.target = target
        """As it stood on the wire, escapes and all."""
        self.headers = headers
        self.http_version = http_version
        self.client = client
        self.tls = tls
        self.id = id
        """The exchange's id; also the `instance` of a problem answer."""
        self.path_params = path_params
        self.route = route
        """The template that matched, such as `/api/{name}`; a bounded label, unlike the path."""
        path, _, query = target.partition("?")
        if not path.startswith("/") and "://" in path:  # absolute-form, RFC 9112 section 3.2.2
            path = "/" + path.partition("://")[2].partition("/")[2]
        self.raw_path = path
        self.raw_query = query
        self._path: str | None = None
        self._query: Query | None = None

    @property
    def path(self) -> str:
        """The decoded path. An escaped slash is decoded too: for routing use `path_params`."""
        if self._path is None:
            raw = self.raw_path
            self._path = unquote_to_bytes(raw).decode("utf-8", "replace") if "%" in raw else raw
        return self._path

    @property
    def query(self) -> Query:
        """The query's pairs, decoded."""
        if self._query is None:
            self._query = Query(self.raw_query)
        return self._query

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.target}>"


class Request(RequestInfo):
    """A request with its whole body."""

    __slots__ = ("body",)

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes = b"",
        *,
        http_version: str = "1.1",
        client: Address = "",
        tls: bool = False,
        id: str = "",  # noqa: A002
        path_params: Mapping[str, str] = _NO_PARAMS,
        route: str = "",
    ) -> None:
        super().__init__(
            method, target, headers, http_version=http_version, client=client, tls=tls, id=id,
            path_params=path_params, route=route,
        )  # fmt: skip
        self.body = body

    def text(self) -> str:
        """Return the body as text, by the charset of Content-Type (UTF-8); bad bytes raise
        `UnicodeDecodeError`, an unknown charset `LookupError`: both are answered 400 if uncaught.
        """
        return self.body.decode(_charset(self.headers.get("content-type", "")))

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...  # noqa: A002
    def json(self, type: Any = Any) -> Any:  # noqa: A002
        """Return the body decoded from JSON, checked against `type` if one is given (any type
        that msgspec knows). Raises `msgspec.DecodeError`: answered 400 if uncaught.
        """
        return msgspec.json.decode(self.body, type=type)


class StreamRequest(RequestInfo):
    """A request whose body arrives while the handler runs.

    Iterate it once: `async for chunk in request`. Reading stops the peer when the handler is slow;
    a body cut short raises `StreamInterrupted`.
    """

    __slots__ = ("_chunks", "body_state")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        *,
        http_version: str = "1.1",
        client: Address = "",
        tls: bool = False,
        id: str = "",  # noqa: A002
        path_params: Mapping[str, str] = _NO_PARAMS,
        route: str = "",
    ) -> None:
        super().__init__(
            method, target, headers, http_version=http_version, client=client, tls=tls, id=id,
            path_params=path_params, route=route,
        )  # fmt: skip
        self.body_state: object = None
        """The core's `BodyStream`; the binding's business."""
        self._chunks: Callable[[], AsyncIterator[bytes]] | None = None

    def read_with(self, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        """Say how chunks are awaited: the binding's business."""
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            msg = "this request's body can be read once, by its responder"
            raise RuntimeError(msg)
        chunks, self._chunks = self._chunks, None
        return chunks()


class Response:
    """An answer: a status, fields and a body, whole or streamed.

    `status` 200-599 (RFC 9110 section 15; 1xx is not a final answer). `body` bytes; for text, JSON
    and streams there are constructors. Content-Length, Transfer-Encoding, Date and Connection are
    the connection's to write; setting one raises `ValueError`, as does a CR, LF or NUL anywhere.
    """

    __slots__ = ("body", "content_length", "headers", "idle_timeout", "status", "stream_body")

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: HeadersInput | Headers = (),
        *,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        if content_type is not None:
            self.headers.raw.append((b"content-type", content_type.encode("latin-1")))
        self.stream_body: AsyncIterable[bytes] | None = None
        self.content_length: int | None = None
        """The size of a streamed body in bytes where it is known; else it is sent chunked."""
        self.idle_timeout: bool = True
        """Whether `Limits.stream_idle` watches a streamed body; off for SSE."""
        check_response(self)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeadersInput = ()) -> "Response":
        """Build a `text/plain; charset=utf-8` response."""
        return cls(status, text.encode(), headers, content_type="text/plain; charset=utf-8")

    @classmethod
    def json(cls, data: object, status: int = 200, headers: HeadersInput = ()) -> "Response":
        """Build an `application/json` response; `data` is anything msgspec encodes."""
        return cls(status, msgspec.json.encode(data), headers, content_type="application/json")

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
        """Build an `application/problem+json` response (RFC 9457)."""
        raise NotImplementedError

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
        """Build a response whose body is produced chunk by chunk while it is sent."""
        raise NotImplementedError


def check_response(response: Response) -> None:
    """Refuse, with `ValueError`, a response that cannot be sent as it is."""
