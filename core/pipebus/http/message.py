"""Requests as handlers see them."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, overload
from urllib.parse import parse_qsl, unquote_to_bytes

from pipebus.errors import LocalProtocolError
from pipebus.http.headers import Headers
from pipebus.http.request_body import decode_json, decode_text

T = TypeVar("T")

Address = tuple[str, int] | str
"""(host, port) of a TCP peer, the path of a UNIX socket, or "" for an unnamed one."""

_NO_PARAMS: Final[Mapping[str, str]] = {}


def split_target(target: str) -> tuple[str, str]:
    """Return the path and the query of a request target, undecoded; the path of `*` is `*`."""
    path, _, query = target.partition("?")
    if not path.startswith("/") and "://" in path:  # absolute-form, RFC 9112 section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path, query


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

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

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
        http_version: str = "1.1",
        client: Address = "",
        tls: bool = False,
        id: str = "",  # noqa: A002 (the attribute's name)
        path_params: Mapping[str, str] = _NO_PARAMS,
        route: str = "",
    ) -> None:
        self.method: str = method
        self.target: str = target
        """As it stood on the wire, escapes and all."""
        self.headers: Headers = headers
        self.http_version: str = http_version
        self.client: Address = client
        self.tls: bool = tls
        self.id: str = id
        """The exchange's id; also the `instance` of a problem answer."""
        self.path_params: Mapping[str, str] = path_params
        self.route: str = route
        """The template that matched, such as `/api/{name}`; a bounded label, unlike the path."""
        if target[:1] == "/" and "?" not in target:
            self.raw_path: str = target
            self.raw_query: str = ""
        else:
            self.raw_path, self.raw_query = split_target(target)
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
        super().__init__(method, target, headers, http_version, client, tls, id, path_params, route)
        self.body: bytes = body

    def text(self) -> str:
        """Return the body as text, by the charset of Content-Type (UTF-8 by default).

        Raises `BadRequestBody`, answered 400, for bytes that are no such text and for a charset
        that is not known.
        """
        return decode_text(self.body, self.headers.get("content-type", ""))

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:  # noqa: A002
        """Return the body decoded from JSON, checked against `type` if one is given.

        `type` is any type that msgspec knows. Raises `BadRequestBody`, answered 400, for a body
        that is not JSON or not of that type.
        """
        return decode_json(self.body, type)


class StreamRequest(RequestInfo):
    """A request whose body arrives while the handler runs.

    Iterate it once: `async for chunk in request`. Reading stops the peer when the handler is slow;
    a body cut short raises `StreamInterrupted`, a second reader `LocalProtocolError`.
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
        super().__init__(method, target, headers, http_version, client, tls, id, path_params, route)
        self.body_state: object = None
        """The core's `BodyStream`; the binding's business."""
        self._chunks: Callable[[], AsyncIterator[bytes]] | None = None

    def read_with(self, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        """Say how chunks are awaited: the binding's business."""
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            msg = "the body of a streamed request can be read once, by its responder"
            raise LocalProtocolError(msg)
        chunks, self._chunks = self._chunks, None
        return chunks()
