"""What each codec makes of one head; `test_wires_agree` compares them on many."""

import sys
from types import FrameType

import pytest

from pipebus.errors import RemoteProtocolError
from pipebus.http.wire import RequestHead, ResponseHead, WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec

BOTH = pytest.mark.parametrize("codec", [H11Codec(), LlhttpCodec()], ids=["h11", "llhttp"])


@BOTH
def test_a_request(codec: WireCodec) -> None:
    head = codec.parse_request_head(
        b"POST /a?b HTTP/1.0\r\nHost: x\r\nA:  b \r\na: c\xe9\r\nContent-Length: 5\r\n\r\n"
    )
    fields = [(b"host", b"x"), (b"a", b"b"), (b"a", b"c\xe9"), (b"content-length", b"5")]
    assert head == RequestHead("POST", b"/a?b", b"1.0", fields)


@BOTH
@pytest.mark.parametrize("method", ["get", "BREW", "M-SEARCH", "!#$%&'*+-.^_`|~"])
def test_any_token_is_a_method(codec: WireCodec, method: str) -> None:
    """RFC 9110 section 9.1; llhttp's own request parser knows a fixed list."""
    head = codec.parse_request_head(method.encode() + b" / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head.method == method


@BOTH
@pytest.mark.parametrize("status", [100, 103, 200, 204, 304, 500, 599])
def test_a_response(codec: WireCodec, status: int) -> None:
    head = codec.parse_response_head(b"HTTP/1.1 %d Why not\r\nA: b\r\n\r\n" % status)
    assert head == ResponseHead(status, b"Why not", b"1.1", [(b"a", b"b")])


@BOTH
@pytest.mark.parametrize("line", [b"HTTP/1.0 200", b"HTTP/1.0 200 "])
def test_a_response_without_a_reason(codec: WireCodec, line: bytes) -> None:
    assert codec.parse_response_head(line + b"\r\n\r\n") == ResponseHead(200, b"", b"1.0", [])


@BOTH
def test_an_upgrade_is_a_request_like_any_other(codec: WireCodec) -> None:
    """RFC 9110 section 7.8: a server may ignore it."""
    head = codec.parse_request_head(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    )
    assert head.headers[1:] == [(b"connection", b"Upgrade"), (b"upgrade", b"h2c")]


@BOTH
def test_a_coding_stays_as_it_was_written(codec: WireCodec) -> None:
    fields = b"A: chunked\r\nTransfer-encoding:\t ChunkeD\t\r\nB: chunked\r\n\r\n"
    wanted = [(b"a", b"chunked"), (b"transfer-encoding", b"ChunkeD"), (b"b", b"chunked")]
    request = codec.parse_request_head(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields)
    assert request.headers[1:] == wanted
    assert codec.parse_response_head(b"HTTP/1.1 200 OK\r\n" + fields).headers == wanted


@BOTH
def test_a_large_head(codec: WireCodec) -> None:
    """h11 has a bound of its own for incomplete ones."""
    value = b"x" * 60_000
    head = codec.parse_request_head(b"GET / HTTP/1.1\r\nhost: x\r\na: " + value + b"\r\n\r\n")
    assert head.headers[1] == (b"a", value)


@BOTH
@pytest.mark.parametrize("line", [b"GET", b"GET /", b"GET / x HTTP/1.1"])
def test_what_a_codec_refuses_is_the_peers_fault(codec: WireCodec, line: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        codec.parse_request_head(line + b"\r\nhost: x\r\n\r\n")
    assert caught.value.status_hint == 400
    assert caught.value.__cause__ is None
    with pytest.raises(RemoteProtocolError):
        codec.parse_request_head(b"GET / HTTP/1.1\r\nhost x\r\n\r\n")
    with pytest.raises(RemoteProtocolError):
        codec.parse_response_head(b"HTTP/1.1 2xx\r\n\r\n")


def test_h11_refuses_an_incomplete_head() -> None:
    with pytest.raises(RemoteProtocolError, match="complete"):
        H11Codec().parse_request_head(b"GET / HTTP/1.1\r\n")
    with pytest.raises(RemoteProtocolError, match="complete"):
        H11Codec().parse_response_head(b"HTTP/1.1 200 OK\r\n")


def test_what_interrupts_llhttp_is_not_taken_for_the_peers_fault() -> None:
    """Ctrl-C may strike while a field is taken: httptools makes an error of its own of it."""

    def strike(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_name == "on_header" and event == "call":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try:
            sys.setprofile(strike)
            LlhttpCodec().parse_request_head(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        finally:
            sys.setprofile(None)


@BOTH
def test_its_name(codec: WireCodec, request: pytest.FixtureRequest) -> None:
    assert request.node.callspec.id == codec.name
