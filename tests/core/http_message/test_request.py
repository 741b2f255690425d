"""Requests as handlers see them."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from pipebus.errors import BadRequestBody, HTTPError, LocalProtocolError
from pipebus.http.headers import Headers
from pipebus.http.message import Query, Request, RequestInfo, StreamRequest, split_target
from pipebus.http.request_body import CHARSETS


class Point(msgspec.Struct):
    x: int
    y: int = 0


def request(body: bytes, content_type: str | None = None) -> Request:
    fields = [] if content_type is None else [("Content-Type", content_type)]
    return Request("POST", "/", Headers(fields), body)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?x=1", "/a/b", "x=1"),
        ("/a", "/a", ""),
        ("/a?", "/a", ""),
        ("/a?b?c", "/a", "b?c"),
        ("/?u=http://x/y", "/", "u=http://x/y"),
        ("//host/a", "//host/a", ""),
        ("/a://b", "/a://b", ""),
        ("*", "*", ""),
        ("http://host/a/b?x", "/a/b", "x"),
        ("http://host", "/", ""),
        ("http://host?x", "/", "x"),
        ("https://h:1/", "/", ""),
    ],
)
def test_target_forms(target: str, path: str, query: str) -> None:
    assert split_target(target) == (path, query)
    info = RequestInfo("GET", target, Headers())
    assert (info.raw_path, info.raw_query, info.target) == (path, query, target)


def test_defaults() -> None:
    info = RequestInfo("GET", "/a", Headers([("Host", "x")]))
    assert info.http_version == "1.1"
    assert info.client == ""
    assert info.tls is False
    assert info.id == ""
    assert info.path_params == {}
    assert info.route == ""
    assert repr(info) == "<RequestInfo GET /a>"


def test_everything_given_is_kept() -> None:
    for kind in (Request, StreamRequest):
        made = kind(
            "GET", "/a/1", Headers(), http_version="1.0", client=("::1", 2), tls=True, id="r1",
            path_params={"x": "1"}, route="/a/{x}",
        )  # fmt: skip
        assert made.http_version == "1.0"
        assert made.client == ("::1", 2)
        assert made.tls is True
        assert made.id == "r1"
        assert made.path_params == {"x": "1"}
        assert made.route == "/a/{x}"


def test_path_is_decoded_once() -> None:
    info = RequestInfo("GET", "/caf%C3%A9/%2F%25?x", Headers())
    assert info.path == "/café//%"
    assert info.path is info.path
    assert RequestInfo("GET", "/plain", Headers()).path == "/plain"
    assert RequestInfo("GET", "/%ff", Headers()).path == "/\ufffd"


def test_query_is_an_ordered_multi_map() -> None:
    info = RequestInfo("GET", "/?b=2&a=1&b=3&empty=&flag&sp=a+b%26c&%C3%A9=%ff", Headers())
    query = info.query
    assert query is info.query
    assert query.get("b") == "2"
    assert query.get_list("b") == ["2", "3"]
    assert query.get("empty") == ""
    assert query.get("flag") == ""
    assert query.get("sp") == "a b&c"
    assert query.get("é") == "\ufffd"
    assert query.get("no") is None
    assert query.get("no", "x") == "x"
    assert query.get_list("no") == []
    assert "a" in query
    assert "no" not in query
    assert len(query) == 7
    assert list(query)[:3] == [("b", "2"), ("a", "1"), ("b", "3")]


def test_query_edges() -> None:
    assert list(Query("")) == []
    assert list(Query("a;b=1")) == [("a;b", "1")]
    assert list(Query("&&=x&")) == [("", "x")]
    assert repr(Query("a=1")) == "Query([('a', '1')])"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (None, "é".encode(), "é"),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=utf-8", "é".encode(), "é"),
        ("text/plain; charset=ISO-8859-1", b"\xe9", "é"),
        ('text/plain;CHARSET="latin1"; x=y', b"\xe9", "é"),
        ("text/plain; x=y;  charset=utf-16le", "é".encode("utf-16le"), "é"),
        ("text/plain; charset=shift_jis", "日".encode("shift_jis"), "日"),
        ("text/plain; notcharset=nope", b"a", "a"),
        ("text/plain; charset=", b"a", "a"),
    ],
)
def test_text_by_charset(content_type: str | None, body: bytes, text: str) -> None:
    assert request(body, content_type).text() == text


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b"\xff"),
        ("text/plain; charset=ascii", b"\xe9"),
        ("text/plain; charset=utf-16le", b"a"),
        ("text/plain; charset=nope", b"a"),
        ("text/plain; charset=idna", b"a"),
        ("text/plain; charset=punycode", b"a"),
        ("text/plain; charset=unicode_escape", b"\\q"),
        ("text/plain; charset=hex", b"00"),
        ("text/plain; charset=undefined", b"00"),
    ],
)
def test_text_that_is_none_is_a_bad_request(content_type: str | None, body: bytes) -> None:
    with pytest.raises(BadRequestBody) as caught:
        request(body, content_type).text()
    assert caught.value.status == 400
    assert isinstance(caught.value, HTTPError)


def test_every_charset_offered_is_one_that_python_decodes() -> None:
    for charset in sorted(CHARSETS):
        assert request(b"", f"text/plain; charset={charset}").text() == ""


def test_json() -> None:
    assert request(b'{"x": 1}').json() == {"x": 1}
    assert request(b'{"x": 1}').json(Point) == Point(1)
    assert request(b"[1, 2]").json(list[int]) == [1, 2]


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        (b"", Any, "not valid JSON"),
        (b"{", Any, "not valid JSON"),
        (b"nope", Any, "not valid JSON"),
        (b'"\xff"', Any, "not valid JSON"),
        (b"[" * 100_000, Any, "not valid JSON"),
        (b'{"x": "secret"}', Point, "expected shape"),
        (b"{}", Point, "expected shape"),
        (b"[1]", Point, "expected shape"),
    ],
)
def test_json_that_is_none_is_a_bad_request(body: bytes, kind: Any, detail: str) -> None:
    with pytest.raises(BadRequestBody) as caught:
        request(body).json(kind)
    assert caught.value.status == 400
    assert detail in str(caught.value.detail)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_wrong_use_of_json_is_not_the_clients_fault() -> None:
    with pytest.raises(TypeError):
        request(b"1").json(5)  # type: ignore[call-overload] # that it is no type is the point


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"


def test_streamed_body_is_read_once() -> None:
    made = StreamRequest("POST", "/", Headers())
    made.read_with(pieces)
    chunks = aiter(made)
    with pytest.raises(StopIteration) as caught:
        anext(chunks).__await__().send(None)
    assert caught.value.value == b"a"
    with pytest.raises(LocalProtocolError, match="once"):
        aiter(made)


def test_streamed_body_has_no_reader_but_its_responder() -> None:
    with pytest.raises(LocalProtocolError):
        aiter(StreamRequest("POST", "/", Headers()))


@pytest.mark.parametrize("status", [200, 399, 600, True, "404", 404.0])
def test_http_error_takes_error_statuses_only(status: Any) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        HTTPError(status)


def test_http_error_reads_well() -> None:
    assert str(HTTPError(404)) == "404"
    error = HTTPError(401, "who are you", [("www-authenticate", "Basic")])
    assert str(error) == "401: who are you"
    assert error.headers == [("www-authenticate", "Basic")]
