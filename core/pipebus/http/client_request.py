"""Requests of the HTTP client, as users make them."""

import re
from typing import Final

from pipebus.http.encode import REQUEST_OWN, check_fields, request_head
from pipebus.http.framing import CHUNKED, NO_BODY, Framing
from pipebus.http.headers import Headers, HeadersInput
from pipebus.http.url import Url, parse_url
from pipebus.http.wire import RawHeaders

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: sending one twice is sending it once."""

_EXPECTS_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_EMPTY: Final = Framing("length", 0)
_METHODS: Final = {name: name.encode() for name in sorted(IDEMPOTENT | _EXPECTS_BODY)}
"""Those that need no look at their letters."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_USER_AGENT: Final = b"user-agent: pipebus\r\n"
_ACCEPT_ENCODING: Final = b"accept-encoding: gzip, deflate\r\n"


class ClientRequest:
    """A request to send, checked: what it accepts is well-formed HTTP/1.1.

    `url` is http, https or http+unix (`http+unix://%2Frun%2Fapp.sock/path`). `body` is sent whole;
    with `streams=True` it comes by `HttpClient.send_body`, chunked, or with a Content-Length if
    `content_length` is given. Host, User-Agent and `Accept-Encoding: gzip, deflate` are added
    where missing. `decode` says whether a gzip or deflate response is decoded; by default it is if
    Accept-Encoding was added. Raises `ValueError` for a URL, method or field that is not right, and
    for the fields that are the connection's to write (Content-Length, Transfer-Encoding, ...);
    `TypeError` for a body that is no bytes.
    """

    __slots__ = (
        "body",
        "decode",
        "framing",
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
        word = _METHODS.get(method)
        if word is None:
            word = _other_method(method)
        if type(body) is not bytes:
            msg = f"a request's body is bytes, not {type(body).__name__}"
            raise TypeError(msg)
        self.method: str = method
        self.url: str = url
        self.target: Url = parse_url(url)
        self.headers: Headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body: bytes = body
        self.streams: bool = streams
        self.framing: Framing = _framing(method, len(body), streams, content_length)
        lines, added = _lines(self.headers.raw)
        self.decode: bool = added if decode is None else decode
        target = self.target
        self.head: bytes = request_head(word, target.target, target.authority, lines, self.framing)
        """What goes out first: request line, fields, blank line."""

    def passing_on(self, fields: RawHeaders) -> "ClientRequest":
        """Return this request with `fields` added, but for those that it has: itself without any.

        They are a trace context's, which are fit to be sent; a `tracestate` belongs to its own
        `traceparent` and to no other.
        """
        own = {name for name, _ in self.headers.raw}
        if b"traceparent" in own:
            own.add(b"tracestate")
        more = [field for field in fields if field[0] not in own]
        if not more:
            return self
        framing = self.framing
        return ClientRequest(
            self.method,
            self.url,
            Headers(raw=[*self.headers.raw, *more]),
            self.body,
            streams=self.streams,
            content_length=framing.length if self.streams and framing.kind == "length" else None,
            decode=self.decode,
        )

    def __repr__(self) -> str:
        return f"<ClientRequest {self.method} {self.url}>"


def _other_method(method: str) -> bytes:
    if not _TOKEN.fullmatch(method) or method == "CONNECT":
        msg = f"the method is a token (RFC 9110 section 9.1) other than CONNECT, not {method!r}"
        raise ValueError(msg)
    return method.encode("ascii")


def _framing(method: str, size: int, streams: bool, content_length: int | None) -> Framing:
    if streams:
        if size:
            msg = "a request has a body or streams one, not both"
            raise ValueError(msg)
        if content_length is None:
            framing = CHUNKED
        elif content_length >= 0:
            framing = Framing("length", content_length)
        else:
            msg = f"content_length must be 0 or more, not {content_length}"
            raise ValueError(msg)
    elif content_length is not None:
        msg = "content_length is for a streamed body"
        raise ValueError(msg)
    elif size:
        framing = Framing("length", size)
    else:
        # RFC 9110 section 8.6: say so where a body is expected and there is none.
        framing = _EMPTY if method in _EXPECTS_BODY else NO_BODY
    if method == "TRACE" and framing is not NO_BODY:
        msg = "TRACE has no body (RFC 9110 section 9.3.8)"
        raise ValueError(msg)
    return framing


def _lines(fields: RawHeaders) -> tuple[bytes, bool]:
    """Write the fields to send; tell whether Accept-Encoding was added."""
    check_fields(fields, REQUEST_OWN)
    lines = b""
    agent, codings = _USER_AGENT, _ACCEPT_ENCODING
    for field in fields:
        lines += b"%b: %b\r\n" % field
        name = field[0]
        if name == b"user-agent":
            agent = b""
        elif name == b"accept-encoding":
            codings = b""
    return lines + agent + codings, codings is _ACCEPT_ENCODING
