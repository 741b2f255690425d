"""Responses as handlers make them, and what cannot be one."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from pipebus.http.headers import Headers
from pipebus.http.response import Response, check_response, phrase


async def chunks() -> AsyncIterator[bytes]:
    yield b"a"


def fields(response: Response) -> list[tuple[str, str]]:
    return list(response.headers)


def test_plain() -> None:
    response = Response()
    assert (response.status, response.body, fields(response)) == (200, b"", [])
    assert response.stream_body is None
    assert response.content_length is None
    assert response.idle_timeout is True
    assert repr(response) == "<Response 200, 0 bytes>"


def test_status_may_be_an_http_status() -> None:
    assert Response(HTTPStatus.CREATED).status == 201


@pytest.mark.parametrize("status", [200, 599, 299, 404])
def test_statuses_that_can_be_sent(status: int) -> None:
    assert Response(status).status == status


@pytest.mark.parametrize("status", [0, 1, 100, 101, 199, 600, -200, True, "200", 200.0, None])
def test_statuses_that_cannot(status: Any) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Response(status)


@pytest.mark.parametrize("body", ["text", None, 5, bytearray(b"x"), memoryview(b"x"), [b"x"]])
def test_body_is_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match="must be bytes"):
        Response(200, body)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_status_without_body(status: int) -> None:
    assert Response(status).body == b""
    with pytest.raises(ValueError, match="no body"):
        Response(status, b"x")
    with pytest.raises(ValueError, match="no body"):
        Response.stream(chunks(), status=status)
    with pytest.raises(ValueError, match="no body"):
        Response.json(None, status)


@pytest.mark.parametrize(
    "field",
    [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("x\r\n", "a"),
        ("x y", "a"),
        ("", "a"),
        ("x:", "a"),
        ("x", "日"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("Date", "now"),
    ],
)
def test_fields_that_cannot_be_sent(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        Response(200, b"", [field])
    with pytest.raises(ValueError):
        Response.stream(chunks(), headers=[field])


def test_content_type_cannot_smuggle() -> None:
    with pytest.raises(ValueError):
        Response(200, b"", content_type="text/plain\r\nx: y")


def test_headers_are_ordered_with_duplicates() -> None:
    response = Response(200, b"", [("Set-Cookie", "a"), ("X", "1"), ("set-cookie", "b")])
    assert fields(response) == [("set-cookie", "a"), ("x", "1"), ("set-cookie", "b")]
    assert fields(Response(200, b"", {"A": "b"})) == [("a", "b")]


def test_headers_of_another_message_are_copied() -> None:
    upstream = Headers([("x", "y")])
    response = Response(200, b"", upstream, content_type="a/b")
    assert list(upstream) == [("x", "y")]
    assert fields(response) == [("x", "y"), ("content-type", "a/b")]


@pytest.mark.parametrize(
    ("response", "content_type", "body"),
    [
        (Response.text("é"), "text/plain; charset=utf-8", "é".encode()),
        (Response.json({"a": [1]}), "application/json", b'{"a":[1]}'),
        (Response.json(None), "application/json", b"null"),
        (Response(200, b"x", content_type="a/b"), "a/b", b"x"),
    ],
)
def test_whole_bodies(response: Response, content_type: str, body: bytes) -> None:
    assert response.headers.get_list("content-type") == [content_type]
    assert response.body == body


def test_content_type_among_the_headers_holds() -> None:
    own = {"Content-Type": "x/y"}
    for response in (
        Response.text("a", headers=own),
        Response.json(1, headers=own),
        Response(200, b"", own, content_type="a/b"),
        Response.stream(chunks(), headers=own),
        Response.events(chunks_of_text(), headers=own),
        Response.problem(400, headers=own),
    ):
        assert response.headers.get_list("content-type") == ["x/y"]


async def chunks_of_text() -> AsyncIterator[str]:
    yield "a"


def test_text_and_json_take_status_and_headers() -> None:
    assert Response.text("a", 404, [("x", "y")]).headers.get("x") == "y"
    assert Response.text("a", 404).status == 404
    assert Response.json("a", 201).status == 201


def test_stream() -> None:
    source = chunks()
    response = Response.stream(source, status=201, content_length=0, headers={"x": "y"})
    assert response.stream_body is source
    assert response.status == 201
    assert response.content_length == 0
    assert fields(response) == [("x", "y"), ("content-type", "application/octet-stream")]
    assert response.idle_timeout is True
    assert repr(response) == "<Response 201, streamed>"
    assert fields(Response.stream(chunks(), content_type=None)) == []


@pytest.mark.parametrize("length", [-1, True, 1.0, "5"])
def test_content_length_is_a_size(length: Any) -> None:
    with pytest.raises(ValueError, match="content_length"):
        Response.stream(chunks(), content_length=length)


@pytest.mark.parametrize("source", [chunks, [b"a"], b"a", None])
def test_stream_is_an_async_iterable(source: Any) -> None:
    with pytest.raises(TypeError, match="async iterable"):
        Response.stream(source)
    with pytest.raises(TypeError, match="async iterable"):
        Response.events(source)


def test_problem() -> None:
    response = Response.problem(404, "no such thing", instance="r1")
    assert response.headers.get("content-type") == "application/problem+json"
    assert msgspec.json.decode(response.body) == {
        "title": "Not Found",
        "status": 404,
        "detail": "no such thing",
        "instance": "r1",
    }


def test_problem_in_full() -> None:
    response = Response.problem(
        HTTPStatus.CONFLICT, title="Stale", type="https://x/stale", headers={"x": "y"}
    )
    assert msgspec.json.decode(response.body) == {
        "type": "https://x/stale",
        "title": "Stale",
        "status": 409,
    }
    assert response.headers.get("x") == "y"


def test_problem_of_an_unregistered_status_has_no_title() -> None:
    assert msgspec.json.decode(Response.problem(499).body) == {"status": 499}
    assert phrase(499) is None


@pytest.mark.parametrize("status", [200, 399, 600])
def test_problem_is_an_error(status: int) -> None:
    with pytest.raises(ValueError):
        Response.problem(status)


def test_response_changed_since_is_caught() -> None:
    response = Response()
    response.status = 0
    with pytest.raises(ValueError):
        check_response(response)
    response = Response()
    response.headers.raw.append((b"x", b"a\r\nb"))
    with pytest.raises(ValueError):
        check_response(response)
