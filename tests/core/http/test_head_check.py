"""What a head may look like: every refusal has its status, and h11 parses all that passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import RemoteProtocolError
from pipebus.http.head_check import check_request_head, check_response_head
from pipebus.http.wire_h11 import H11Codec

H = b"Host: x\r\n"


def status_of(data: bytes) -> int:
    try:
        check_request_head(data)
    except RemoteProtocolError as error:
        return error.status_hint
    head = H11Codec().parse_request_head(data)
    assert data.startswith(head.method.encode() + b" " + head.target + b" HTTP/1.")
    return 200


def get(target: bytes = b"/", fields: bytes = H, version: bytes = b"1.1") -> bytes:
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        get(),
        get(version=b"1.0", fields=b""),
        get(version=b"1.0"),
        get(b"/a?b=c%20d|e'{}"),
        get(b"http://x/"),
        get(b"HTTP://x:80?q"),
        get(b"https://[::1]:8080/a"),
        get(b"ws://x"),
        b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n",
        b"M-SEARCH / HTTP/1.1\r\n" + H + b"\r\n",
        get(fields=b"host:\r\n"),
        get(fields=b"HOST:\t [::1]:1 \t\r\n"),
        get(fields=b"Host: a.b-c_d~e!$&'()*+,;=%20:65535\r\n"),
        get(fields=H + b"a:\r\nB: c\td \xe9\r\n"),
        get(fields=H + b"!#$%&'*+-.^_`|~09azAZ: x\r\n"),
        get(fields=H + b"Content-Length: 5\r\n"),
        get(fields=H + b"content-length:\t007 \r\n"),
        get(fields=H + b"Transfer-Encoding: Chunked\t\r\n"),
        get(fields=H + b"X-Content-Length: a\r\nX: Content-Length: a\r\n"),
    ],
)
def test_fine(data: bytes) -> None:
    assert status_of(data) == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        # the request line
        (b"GET / HTTP/1.1 \r\n" + H + b"\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b"GET /  HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b" GET / HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\n" + H + b"\r\n", 400),
        (b"G\xc9T / HTTP/1.1\r\n" + H + b"\r\n", 400),
        (get(b"/\x00"), 400),
        (get(b"/\x7f"), 400),
        (get(b"/\xe9"), 400),
        (get(b"/#f"), 400),
        (b"GET / http/1.1\r\n" + H + b"\r\n", 400),
        (get(version=b"1"), 400),
        (get(version=b"1.10"), 400),
        (get(version=b"1.2"), 505),
        (get(version=b"0.9"), 505),
        (get(version=b"2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"CONNECT x:443 HTTP/1.1\r\n" + H + b"\r\n", 501),
        # the target's form
        (get(b"*"), 400),
        (get(b"a/b"), 400),
        (get(b"x:80"), 400),
        (get(b"http:///a"), 400),
        (get(b"http://"), 400),
        (get(b"http://:80/"), 400),
        (get(b"http://u@x/"), 400),
        (get(b"http://x:port/"), 400),
        (b"OPTIONS ** HTTP/1.1\r\n" + H + b"\r\n", 400),
        # fields
        (get(fields=H + b"a: b\n"), 400),
        (get(fields=H + b"a: b\rc\r\n"), 400),
        (get(fields=H + b"a: b\x00\r\n"), 400),
        (get(fields=H + b"a: b\x0b\r\n"), 400),
        (get(fields=H + b"a: b\x7f\r\n"), 400),
        (get(fields=H + b" b: folded\r\n"), 400),
        (get(fields=b" folded\r\n" + H), 400),
        (get(fields=H + b"a : b\r\n"), 400),
        (get(fields=H + b": b\r\n"), 400),
        (get(fields=H + b"a\r\n"), 400),
        (get(fields=H + b"a(: b\r\n"), 400),
        (get(fields=H + b"a\xe9: b\r\n"), 400),
        (b"GET / HTTP/2.0\r\na: b\nc\r\n\r\n", 400),  # the bare LF may be seen first
        # Host
        (get(fields=b""), 400),
        (get(fields=b"X: y\r\nXHost: x\r\n"), 400),
        (get(fields=H + H), 400),
        (get(fields=H + b"HOST: y\r\n", version=b"1.0"), 400),
        (get(fields=b"Host: a b\r\n"), 400),
        (get(fields=b"Host: a/b\r\n", version=b"1.0"), 400),
        (get(fields=b"Host: u@x\r\n"), 400),
        (get(fields=b"Host: x:y\r\n"), 400),
        (get(fields=b"Host: x:123456\r\n"), 400),
        (get(fields=b"Host: [::1\r\n"), 400),
        (get(fields=b"Host: %zz\r\n"), 400),
        (get(fields=b"Host: \xe9\r\n"), 400),
        # framing, before a codec can normalise it
        (get(fields=H + b"Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
        (get(fields=H + b"Content-Length: 5, 5\r\n"), 400),
        (get(fields=H + b"Content-Length: +5\r\n"), 400),
        (get(fields=H + b"Content-Length:\r\n"), 400),
        (get(fields=H + b"Content-Length: " + b"9" * 19 + b"\r\n"), 413),
        (get(fields=H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        (get(fields=H + b"Transfer-Encoding: chunked\r\n", version=b"1.0"), 400),
        (get(fields=H + b"Transfer-Encoding: gzip, chunked\r\n"), 501),
        (get(fields=H + b"Transfer-Encoding: chunked, gzip\r\n"), 400),
        (get(fields=H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
    ],
)
def test_refused(data: bytes, status: int) -> None:
    assert status_of(data) == status


def test_the_answer_names_the_field_by_number_only() -> None:
    with pytest.raises(RemoteProtocolError, match=r"^header field 2 is malformed$"):
        check_request_head(get(fields=H + b"secret(: b\r\n"))
    with pytest.raises(RemoteProtocolError, match=r"^header field 1 is folded$"):
        check_request_head(get(fields=b"\tx: y\r\n" + H))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 404 \r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 599 \xe9 ok\tx\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_fine_responses(data: bytes) -> None:
    check_response_head(data)
    head = H11Codec().parse_response_head(data)
    assert b"%d" % head.status == data[9:12]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.2 200 OK\r\n\r\n", "status line"),
        (b"HTTP/2 200 OK\r\n\r\n", "status line"),
        (b"http/1.1 200 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\nA: b\r\n\r\n", "status line"),
        (b"ICY 200 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "101"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "field 2 is folded"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "field 1 is malformed"),
        (b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "field 1 is malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "more than one"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1.0"),
    ],
)
def test_refused_responses(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        check_response_head(data)


@given(st.binary(max_size=40), st.sampled_from([0, 3, 5, 15, 17, 20, 25, 30]))
def test_anything_is_fine_or_refused(noise: bytes, at: int) -> None:
    """No other exception, and h11 never refuses what passed."""
    data = get(fields=H + b"Accept: */*\r\n")
    data = data[:at] + noise.replace(b"\r\n\r\n", b"") + data[at:]
    assert status_of(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n") in {200, 400, 413, 501, 505}


@given(st.text("aAbz09-:;,= \t\r\n%[]/", max_size=20))
def test_anything_in_a_response_is_fine_or_refused(noise: str) -> None:
    data = b"HTTP/1.1 200 OK\r\nA: b" + noise.encode().replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    data = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        check_response_head(data)
    except RemoteProtocolError:
        return
    assert H11Codec().parse_response_head(data).status == 200
