"""The heads that one search judges: its verdict is that of the checks one by one."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.http.framing import Framing, expects_continue, keep_alive
from pipebus.http.head_check import check_one_by_one, check_request_head, usual_length
from pipebus.http.wire import HTTP_11, WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec

WIRES: Final[tuple[WireCodec, ...]] = (H11Codec(), LlhttpCodec())
LINE: Final = b"GET / HTTP/1.1\r\n"
HOST: Final = b"Host: x\r\n"


def get(fields: bytes = HOST, line: bytes = LINE) -> bytes:
    return line + fields + b"\r\n"


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (get(), 0),
        (get(line=b"M-SEARCH /a?b=c%20d|e'{} HTTP/1.1\r\n"), 0),
        (get(line=b"CONNECTS / HTTP/1.1\r\n"), 0),
        (get(line=b"connect / HTTP/1.1\r\n"), 0),
        (get(b"HOST:\t [::1]:1 \t\r\n"), 0),
        (get(b"host:\r\n"), 0),
        (get(b"A: b\r\n" + HOST + b"Content-Length: 5\r\n"), 5),
        (get(b"content-LENGTH:\t007 \r\nA:b\r\n" + HOST + b"c:\r\n"), 7),
        (get(HOST + b"Content-Length:0\r\n"), 0),
        (get(HOST + b"Content-Length: " + b"9" * 18 + b"\r\n"), 10**18 - 1),
        (get(b"hostx: y\r\nxhost: y\r\n" + HOST + b"H: y\r\n"), 0),
        (get(HOST + b"Content-Lengths: 5\r\nContent-Lengt: 5\r\nC: 5\r\n"), 0),
        (get(HOST + b"Connectio: close\r\nConnections: close\r\n"), 0),
        (get(HOST + b"Expec: 100-continue\r\nExpects: 100-continue\r\nE:\r\n"), 0),
        (get(HOST + b"Transfer-Encodings: chunked\r\nTransfer-Encodin: chunked\r\nT:\r\n"), 0),
        (get(HOST + b"CONNECTION:\tKeep-Alive \r\nConnection: keep-alive\r\n"), 0),
        (get(HOST + b"A: Content-Length: 5, Connection: close\r\nB: c\td \xe9\r\n"), 0),
    ],
    ids=str,
)
def test_usual(data: bytes, length: int) -> None:
    assert usual_length(data) == length
    agrees(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GE",
        get(line=b"GET / HTTP/1.0\r\n"),
        get(line=b"GET / HTTP/1.10\r\n"),
        get(line=b"GET http://x/ HTTP/1.1\r\n"),
        get(line=b"OPTIONS * HTTP/1.1\r\n"),
        get(line=b"CONNECT / HTTP/1.1\r\n"),
        get(line=b"GET /#f HTTP/1.1\r\n"),
        get(b""),
        get(HOST + HOST),
        get(b"Host: a/b\r\n"),
        get(b"Host : x\r\n"),
        get(HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n"),
        get(b"Content-Length: 1\r\n" + HOST + b"Content-Length: 1\r\n"),
        get(HOST + b"Content-Length: 1,1\r\n"),
        get(HOST + b"Content-Length: +1\r\n"),
        get(HOST + b"Content-Length:\r\n"),
        get(HOST + b"Content-Length: 1 1\r\n"),
        get(HOST + b"Content-Length: " + b"1" * 19 + b"\r\n"),
        get(HOST + b"Transfer-Encoding: chunked\r\n"),
        get(HOST + b"TRANSFER-ENCODING:\r\n"),
        get(HOST + b"Connection: close\r\n"),
        get(HOST + b"Connection: keep-alive, close\r\n"),
        get(HOST + b"Connection: keep-alive\r\nconnection: close\r\n"),
        get(HOST + b"Connection:\r\n"),
        get(HOST + b"Expect: 100-continue\r\n"),
        get(HOST + b"eXPECT: x\r\n"),
        get(HOST + b" folded\r\n"),
        get(HOST + b"a : b\r\n"),
        get(HOST + b"a: b\x00\r\n"),
        get(HOST + b"a: b\n"),
        get() + get(),
        get() + b"\n",
        get()[:-2],
    ],
    ids=str,
)
def test_not_usual(data: bytes) -> None:
    assert usual_length(data) == -1


def agrees(data: bytes) -> None:
    """Hold the one search against the checks one by one, and against what else it stands for."""
    length = usual_length(data)
    if length < 0:
        return
    judged = check_one_by_one(data)
    at_once = check_request_head(data)
    assert (at_once.kind, at_once.length) == (judged.kind, judged.length)
    assert same(judged, length)
    for wire in WIRES:
        head = wire.parse_request_head(data)
        assert head.http_version == HTTP_11
        assert head.target.startswith(b"/")
        assert keep_alive(head.http_version, head.headers)
        assert not expects_continue(head)
        assert [name for name, _ in head.headers].count(b"host") == 1


def same(judged: Framing, length: int) -> bool:
    kind = "length" if length else "none"
    return (judged.kind, judged.length) == (kind, length)


# --- generated heads, most of them nearly usual ----------------------------------------------

NAMES: Final = [
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"hostx", b"xhost",
    b"hos", b"Content-Lengt", b"Content-Lengths", b"connectio", b"Connections", b"Expec", b"TE",
    b"Transfer-Encodin", b"H", b"C", b"T", b"E", b"A", b"X-Y", b"Host ", b" Host", b"",
]  # fmt: skip
VALUES: Final = [
    b"", b"x", b"0", b"1", b"007", b"1,1", b"1, 1", b"+1", b"-1", b"0x1", b"1" * 18, b"1" * 19,
    b"close", b"keep-alive", b"keep-alive, close", b"Keep-Alive,upgrade", b"chunked", b"identity",
    b"100-continue", b"[::1]:80", b"a%20b", b"%zz", b"x:y", b"u@x", b"x/y", b"\xe9", b"a\tb", b"a b",
]  # fmt: skip
OWS = st.sampled_from([b"", b" ", b" ", b"\t", b" \t "])
CASES: Final[tuple[Callable[[bytes], bytes], ...]] = (
    bytes,
    bytes,
    bytes.lower,
    bytes.upper,
    bytes.swapcase,
)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(CASES))(draw(st.sampled_from(NAMES)))
    value = draw(st.sampled_from(CASES))(draw(st.sampled_from(VALUES)))
    return name + b":" + draw(OWS) + value + draw(OWS) + b"\r\n"


GOOD_FIELDS = st.sampled_from(
    [b"Accept: */*\r\n", b"Content-Length: 5\r\n", b"Connection: keep-alive\r\n", b"E: f\r\n"]
)
LINES = st.sampled_from([LINE] * 6 + [
    b"POST /a?b HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"GET x HTTP/1.1\r\n",
    b"CONNECT / HTTP/1.1\r\n", b"GET  / HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n",
])  # fmt: skip


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.one_of(GOOD_FIELDS, fields()), max_size=4))
    hosts = draw(st.sampled_from([[HOST]] * 5 + [[], [HOST, HOST], [b"hOST:\t[::1] \r\n"]]))
    return draw(LINES) + b"".join(draw(st.permutations([*lines, *hosts]))) + b"\r\n"


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(heads()))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data)))
        some = st.one_of(
            st.binary(max_size=2), st.sampled_from([b"\r\n", b"\n", b" ", b"\t", b":", b"\r", b","])
        )
        data[at : at + draw(st.integers(0, 2))] = draw(some)
    return bytes(data)


@settings(max_examples=200)
@given(heads())
def test_the_search_agrees_with_the_checks(data: bytes) -> None:
    agrees(data)


@settings(max_examples=200)
@given(mutated())
def test_the_search_agrees_on_damaged_heads(data: bytes) -> None:
    agrees(data)


@given(
    st.permutations([b"Accept: */*\r\n", HOST, b"Content-Length: 5\r\n", b"User-Agent: x y\r\n"])
)
def test_no_order_of_the_fields_is_unusual(lines: list[bytes]) -> None:
    assert usual_length(get(b"".join(lines))) == 5
