"""Where bodies end: RFC 9112 section 6.3, with h11 as the second opinion."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import RemoteProtocolError
from pipebus.http import framing
from pipebus.http.framing import (
    NO_BODY,
    Framing,
    answer_framing,
    expects_continue,
    has_no_body,
    judge_request,
    keep_alive,
)
from pipebus.http.head_check import check_request_head, check_response_head
from pipebus.http.wire import RawHeaders, RequestHead

CL = b"content-length"
TE = b"transfer-encoding"


def request(headers: RawHeaders, version: bytes = b"1.1") -> RequestHead:
    return RequestHead("POST", b"/", version, headers)


def request_framing(headers: RawHeaders, version: bytes = b"1.1") -> Framing:
    """Frame a request by its fields, and by its bytes: the two agree."""
    lines = b"".join(b"%b: %b\r\n" % field for field in headers)
    data = b"POST / HTTP/" + version + b"\r\nHost: x\r\n" + lines + b"\r\n"
    values = [[value for name, value in headers if name == which] for which in (CL, TE)]
    try:
        framing = judge_request(version, *values)
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            check_request_head(data)
        raise
    try:
        same = check_request_head(data)
    except RemoteProtocolError as error:  # a test of a refusal is not to take it for one
        pytest.fail(f"its bytes are refused: {error}")
    assert shape(same) == shape(framing)
    return framing


def response_framing(
    headers: RawHeaders, status: int = 200, method: str = "GET", version: bytes = b"1.1"
) -> Framing:
    """Frame a response as the client does: by what its bytes say, where that counts."""
    lines = b"".join(b"%b: %b\r\n" % field for field in headers)
    framing = check_response_head(b"HTTP/%b %d OK\r\n%b\r\n" % (version, status, lines))
    return NO_BODY if has_no_body(status, method) else framing


def shape(it: Framing) -> tuple[str, int]:
    return it.kind, it.length


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("none", 0)),
        ([(b"a", b"5")], ("none", 0)),
        ([(CL, b"0")], ("none", 0)),
        ([(CL, b"000")], ("none", 0)),
        ([(CL, b"5")], ("length", 5)),
        ([(b"a", b"b"), (CL, b"0012")], ("length", 12)),
        ([(CL, b"9" * 18)], ("length", 10**18 - 1)),
        ([(TE, b"chunked")], ("chunked", 0)),
        ([(TE, b" \tChUnKeD ")], ("chunked", 0)),
    ],
)
def test_requests(headers: RawHeaders, expected: tuple[str, int]) -> None:
    assert shape(request_framing(headers)) == expected


BAD: list[tuple[RawHeaders, bytes, int]] = [
    ([(CL, b"5"), (CL, b"5")], b"1.1", 400),
    ([(CL, b"5"), (CL, b"6")], b"1.1", 400),
    ([(CL, b"0"), (CL, b"0")], b"1.1", 400),
    ([(CL, b"5, 5")], b"1.1", 400),
    ([(CL, b"")], b"1.1", 400),
    ([(CL, b"-5")], b"1.1", 400),
    ([(CL, b"+5")], b"1.1", 400),
    ([(CL, b"0x5")], b"1.1", 400),
    ([(CL, b"5 5")], b"1.1", 400),
    ([(CL, b"1_0")], b"1.1", 400),
    ([(CL, "\N{SUPERSCRIPT TWO}".encode("latin-1"))], b"1.1", 400),
    ([(CL, b"1" * 19)], b"1.1", 413),
    ([(CL, b"5"), (TE, b"chunked")], b"1.1", 400),
    ([(TE, b"chunked"), (CL, b"5")], b"1.1", 400),
    ([(TE, b"chunked"), (CL, b"0")], b"1.1", 400),
    ([(TE, b"chunked")], b"1.0", 400),
    ([(TE, b"gzip")], b"1.1", 400),
    ([(TE, b"identity")], b"1.1", 400),
    ([(TE, b"chunked, gzip")], b"1.1", 400),
    ([(TE, b"chunked"), (TE, b"gzip")], b"1.1", 400),
    ([(TE, b"chunked, chunked")], b"1.1", 400),
    ([(TE, b"chunked"), (TE, b"chunked")], b"1.1", 400),
    ([(TE, b"gzip, chunked, chunked")], b"1.1", 400),
    ([(TE, b"chunked;a=b")], b"1.1", 400),
    ([(TE, b"chunked,")], b"1.1", 400),
    ([(TE, b", chunked")], b"1.1", 400),
    ([(TE, b"")], b"1.1", 400),
    ([(TE, b'"chunked"')], b"1.1", 400),
    ([(TE, b"Xchunked")], b"1.1", 400),
    ([(TE, b"chunkedX")], b"1.1", 400),
    # only space and tab are white space: a proxy that reads over more, or over less, is fooled
    ([(TE, b"\x0bchunked")], b"1.1", 400),
    ([(TE, b"chunked\x0c")], b"1.1", 400),
    ([(TE, b"gzip\x85, chunked")], b"1.1", 400),
    ([(TE, b"gzip;q=@, chunked")], b"1.1", 400),
    ([(TE, b"gzip, chunked")], b"1.1", 501),
    ([(TE, b"gzip"), (TE, b"chunked")], b"1.1", 501),
    ([(TE, b"xyz ,\tchunked")], b"1.1", 501),
    ([(TE, b"gzip, xyz, chunked")], b"1.1", 501),
]


@pytest.mark.parametrize(("headers", "version", "status"), BAD)
def test_refused(headers: RawHeaders, version: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        request_framing(headers, version)
    assert caught.value.status_hint == status
    with pytest.raises(RemoteProtocolError):
        response_framing(headers, version=version)
    # even where nothing would follow: such a head is an attack or a fault
    with pytest.raises(RemoteProtocolError):
        response_framing(headers, method="HEAD", version=version)


@pytest.mark.parametrize(
    ("headers", "status", "method", "expected"),
    [
        ([], 200, "GET", ("until_close", 0)),
        ([], 200, "HEAD", ("none", 0)),
        ([(CL, b"5")], 200, "GET", ("length", 5)),
        ([(b"a", b"7"), (CL, b"5"), (b"b", b"8")], 200, "GET", ("length", 5)),
        ([(CL, b"5")], 200, "HEAD", ("none", 0)),
        ([(CL, b"5")], 204, "GET", ("none", 0)),
        ([(CL, b"5")], 304, "GET", ("none", 0)),
        ([(CL, b"0")], 200, "GET", ("none", 0)),
        ([(CL, b"5")], 205, "GET", ("length", 5)),
        ([(TE, b"chunked")], 200, "GET", ("chunked", 0)),
        ([(TE, b"chunked")], 199, "GET", ("none", 0)),
        ([(TE, b"chunked")], 200, "head", ("chunked", 0)),
    ],
)
def test_responses(
    headers: RawHeaders, status: int, method: str, expected: tuple[str, int]
) -> None:
    assert shape(response_framing(headers, status, method)) == expected


def test_has_no_body() -> None:
    assert [s for s in (100, 199, 200, 204, 205, 304, 404) if has_no_body(s, "GET")] == [
        100, 199, 204, 304,
    ]  # fmt: skip
    assert has_no_body(200, "HEAD")


@given(
    st.sampled_from(["GET", "POST", "HEAD"]),
    st.sampled_from([200, 204, 205, 304, 404, 500]),
    st.sampled_from([None, b"0", b"7", b"chunked"]),
)
def test_h11_reads_the_same_end(method: str, status: int, field: bytes | None) -> None:
    """h11's own reader, fed our idea of what follows, ends exactly there."""
    name = b"transfer-encoding" if field == b"chunked" else b"content-length"
    fields: RawHeaders = [] if field is None else [(name, field)]
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"HTTP/1.1 %d \r\n" % status)
    client.receive_data(b"".join(b"%b: %b\r\n" % pair for pair in fields) + b"\r\n")
    assert isinstance(client.next_event(), h11.Response)
    ours = response_framing(fields, status, method)
    body = {"none": b"", "length": b"x" * ours.length, "chunked": b"0\r\n\r\n", "until_close": b"x"}
    if body[ours.kind]:  # h11 takes empty data for the end
        client.receive_data(body[ours.kind])
    events = []
    while not isinstance(event := client.next_event(), (h11.EndOfMessage, type(h11.NEED_DATA))):
        assert isinstance(event, h11.Data)
        events.append(bytes(event.data))
    assert (event is h11.NEED_DATA) == (ours.kind == "until_close")
    assert client.trailing_data == (b"", False)


@pytest.mark.parametrize(
    ("status", "method", "version", "length", "told", "follows"),
    [
        (200, "GET", b"1.1", 5, ("length", 5), ("length", 5)),
        (200, "GET", b"1.1", 0, ("length", 0), ("length", 0)),
        (200, "GET", b"1.1", None, ("chunked", 0), ("chunked", 0)),
        (200, "GET", b"1.0", None, ("until_close", 0), ("until_close", 0)),
        (200, "GET", b"1.0", 5, ("length", 5), ("length", 5)),
        (200, "HEAD", b"1.1", 5, ("length", 5), ("none", 0)),
        (200, "HEAD", b"1.1", None, ("none", 0), ("none", 0)),
        (200, "HEAD", b"1.0", None, ("none", 0), ("none", 0)),
        (204, "GET", b"1.1", 5, ("none", 0), ("none", 0)),
        (304, "GET", b"1.1", None, ("none", 0), ("none", 0)),
        (204, "HEAD", b"1.1", 5, ("none", 0), ("none", 0)),
        (205, "GET", b"1.1", 5, ("length", 0), ("none", 0)),
        (205, "GET", b"1.0", None, ("length", 0), ("none", 0)),
    ],
)
def test_answers(
    status: int,
    method: str,
    version: bytes,
    length: int | None,
    told: tuple[str, int],
    follows: tuple[str, int],
) -> None:
    head, body = answer_framing(status, method, version, length)
    assert (shape(head), shape(body)) == (told, follows)


@pytest.mark.parametrize(
    ("version", "values", "expected"),
    [
        (b"1.1", [], True),
        (b"1.0", [], False),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Close"], False),
        (b"1.1", [b"x,\tCLOSE ,y"], False),
        (b"1.1", [b"closed"], True),
        (b"1.1", [b"close\x0c"], True),
        (b"1.1", [b"x", b"close"], False),
        (b"1.0", [b"keep-alive"], True),
        (b"1.0", [b"a, Keep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b"keep-alive", b"close"], False),
        (b"1.1", [b"keep-alive"], True),
        (b"1.0", [b""], False),
    ],
)
def test_keep_alive(version: bytes, values: list[bytes], expected: bool) -> None:
    fields: RawHeaders = [(b"a", b"close"), *((b"connection", value) for value in values)]
    assert keep_alive(version, fields) is expected


@pytest.mark.parametrize(
    ("version", "values", "expected"),
    [
        (b"1.1", [b"100-continue"], True),
        (b"1.1", [b"100-Continue"], True),
        (b"1.1", [b"a=b,\t100-continue ,c"], True),
        (b"1.1", [b"a=b", b"100-continue"], True),
        (b"1.1", [b"100-continue", b"a=b"], True),
        (b"1.0", [b"100-continue"], False),
        (b"1.1", [b"200-ok"], False),
        (b"1.1", [b"100-continue=a"], False),
        (b"1.1", [b"100-continue\x0b"], False),
        (b"1.1", [b"a", b"b"], False),
        (b"1.1", [], False),
    ],
)
def test_expects_continue(version: bytes, values: list[bytes], expected: bool) -> None:
    fields: RawHeaders = [(b"a", b"100-continue"), *((b"expect", value) for value in values)]
    assert expects_continue(request(fields, version)) is expected


def test_repr() -> None:
    assert repr(framing.CHUNKED) == "Framing('chunked', 0)"
    assert repr(Framing("length", 3)) == "Framing('length', 3)"
