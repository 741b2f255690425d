from typing import Any

import msgspec
import pytest

from pipebus.http.client_request import ClientRequest
from pipebus.http.client_response import ClientResponse, Timings
from pipebus.http.headers import Headers


def head_of(*args: Any, **kwargs: Any) -> bytes:
    return ClientRequest(*args, **kwargs).head


def test_defaults_are_added() -> None:
    assert head_of("GET", "http://a:81/p?q") == (
        b"GET /p?q HTTP/1.1\r\nhost: a:81\r\nuser-agent: pipebus\r\n"
        b"accept-encoding: gzip, deflate\r\n\r\n"
    )


def test_what_the_user_gave_is_kept_and_stays_the_users() -> None:
    headers = Headers([("User-Agent", "me"), ("X", "1"), ("X", "2")])
    request = ClientRequest("GET", "http://a/", headers)
    assert b"user-agent: me\r\nx: 1\r\nx: 2\r\naccept-encoding: gzip, deflate\r\n" in request.head
    assert request.headers is headers
    assert len(headers) == 3
    assert b"accept-encoding: br\r\n" in head_of("GET", "http://a/", {"Accept-Encoding": "br"})


def test_decoding_is_for_those_who_did_not_ask_for_a_coding() -> None:
    asked = {"accept-encoding": "gzip"}
    assert ClientRequest("GET", "http://a/").decode
    assert ClientRequest("GET", "http://a/", {"x": "1"}).decode
    assert not ClientRequest("GET", "http://a/", asked).decode
    assert ClientRequest("GET", "http://a/", asked, decode=True).decode
    assert not ClientRequest("GET", "http://a/", decode=False).decode


@pytest.mark.parametrize(
    ("method", "kwargs", "field"),
    [
        ("POST", {"body": b"abc"}, b"content-length: 3"),
        ("GET", {"body": b"abc"}, b"content-length: 3"),
        ("POST", {}, b"content-length: 0"),
        ("PUT", {}, b"content-length: 0"),
        ("PATCH", {}, b"content-length: 0"),
        ("POST", {"streams": True}, b"transfer-encoding: chunked"),
        ("POST", {"streams": True, "content_length": 7}, b"content-length: 7"),
        ("GET", {"streams": True, "content_length": 0}, b"content-length: 0"),
    ],
)
def test_framing_of_the_request(method: str, kwargs: dict[str, Any], field: bytes) -> None:
    head = head_of(method, "http://a/", **kwargs)
    assert head.endswith(b"\r\n" + field + b"\r\n\r\n")
    assert head.count(b"content-length") + head.count(b"transfer-encoding") == 1


def test_no_body_no_framing() -> None:
    for method in ("GET", "DELETE", "TRACE", "OPTIONS", "X-OWN"):
        assert b"content-length" not in head_of(method, "http://a/")


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "CONNECT", "É", "GET:"])
def test_bad_method(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        ClientRequest(method, "http://a/")


@pytest.mark.parametrize(
    "field",
    [
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "\0"),
        ("a b", "c"),
        ("a:", "c"),
        ("", "c"),
        ("x\r\ny", "c"),
        ("Host", "other"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Expect", "100-continue"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
    ],
)
def test_bad_field(field: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        ClientRequest("GET", "http://a/", [field])


@pytest.mark.parametrize(
    ("method", "kwargs", "why"),
    [
        ("POST", {"body": b"x", "streams": True}, "not both"),
        ("POST", {"content_length": 3}, "streamed"),
        ("POST", {"streams": True, "content_length": -1}, "0 or more"),
        ("TRACE", {"body": b"x"}, "TRACE"),
        ("TRACE", {"streams": True}, "TRACE"),
    ],
)
def test_bad_combination(method: str, kwargs: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ClientRequest(method, "http://a/", **kwargs)


def response(body: bytes, content_type: str | None = None) -> ClientResponse:
    headers = Headers([("content-type", content_type)] if content_type is not None else [])
    return ClientResponse(200, headers, body, method="GET", url="http://a/")


def test_text() -> None:
    assert response("ü".encode()).text() == "ü"
    assert response("ü".encode(), "text/plain").text() == "ü"
    assert response(b"\xfc", 'text/plain; q=1; Charset="latin-1"').text() == "ü"
    with pytest.raises(UnicodeDecodeError):
        response(b"\xfc").text()
    with pytest.raises(LookupError):
        response(b"x", "text/plain; charset=nonsense").text()


def test_json() -> None:
    assert response(b'{"a": [1]}').json() == {"a": [1]}
    assert response(b"[1, 2]").json(list[int]) == [1, 2]
    with pytest.raises(msgspec.DecodeError):
        response(b"[1").json()
    with pytest.raises(msgspec.ValidationError):
        response(b'["x"]').json(list[int])


def test_reprs_and_timings() -> None:
    assert repr(response(b"")) == "<ClientResponse 200 GET http://a/>"
    assert repr(ClientRequest("GET", "http://a/")) == "<ClientRequest GET http://a/>"
    assert Timings(1.0, 2.0, 3.0, 4.0).total == 10.0
    assert Timings(1.0, 2.0, 3.0, 4.0, 5.0).total == 15.0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"body": b"hello"},
        {"streams": True},
        {"streams": True, "content_length": 5},
        {"decode": False},
        {"headers": {"accept-encoding": "br"}},
    ],
)
def test_fields_are_added_to_a_request_that_stays_as_it_is(options: dict[str, Any]) -> None:
    request = ClientRequest("PUT", "http://h/a?b", **options)
    more = [(b"traceparent", b"00-1"), (b"baggage", b"a=1")]
    other = request.passing_on(more)
    head = request.head.removesuffix(b"\r\n")
    assert sorted(other.head.split(b"\r\n")) == sorted(
        [*head.split(b"\r\n"), b"traceparent: 00-1", b"baggage: a=1", b""]
    )
    framings = {(one.framing.kind, one.framing.length) for one in (request, other)}
    assert len(framings) == 1
    assert (other.decode, other.body) == (request.decode, request.body)
    assert other.passing_on(more) is other
    assert request.passing_on([]) is request
