"""h11 as a codec: heads only."""

import pytest

from pipebus.errors import RemoteProtocolError
from pipebus.http.wire import RequestHead, ResponseHead, WireCodec
from pipebus.http.wire_h11 import H11Codec

CODEC: WireCodec = H11Codec()


def test_a_request() -> None:
    head = CODEC.parse_request_head(
        b"POST /a?b HTTP/1.0\r\nHost: x\r\nA:  b \r\na: c\xe9\r\nContent-Length: 5\r\n\r\n"
    )
    fields = [(b"host", b"x"), (b"a", b"b"), (b"a", b"c\xe9"), (b"content-length", b"5")]
    assert head == RequestHead("POST", b"/a?b", b"1.0", fields)


@pytest.mark.parametrize("status", [100, 103, 200, 204, 304, 500, 599])
def test_a_response(status: int) -> None:
    head = CODEC.parse_response_head(b"HTTP/1.1 %d Why not\r\nA: b\r\n\r\n" % status)
    assert head == ResponseHead(status, b"Why not", b"1.1", [(b"a", b"b")])


def test_a_head_beyond_h11s_own_bound_for_incomplete_ones() -> None:
    value = b"x" * 60_000
    head = CODEC.parse_request_head(b"GET / HTTP/1.1\r\nhost: x\r\na: " + value + b"\r\n\r\n")
    assert head.headers[1] == (b"a", value)


def test_what_h11_refuses_is_the_peers_fault() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.parse_request_head(b"GET\r\n\r\n")
    assert caught.value.status_hint == 400
    assert caught.value.__cause__ is None
    with pytest.raises(RemoteProtocolError):
        CODEC.parse_response_head(b"HTTP/1.1 2xx\r\n\r\n")


def test_an_incomplete_head_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="complete"):
        CODEC.parse_request_head(b"GET / HTTP/1.1\r\n")
    with pytest.raises(RemoteProtocolError, match="complete"):
        CODEC.parse_response_head(b"HTTP/1.1 200 OK\r\n")


def test_its_name() -> None:
    assert CODEC.name == "h11"
