"""Each codec held against the other: the same heads, and whole connections to the last byte."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipebus.errors import ClientError, RemoteProtocolError
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import ClientRequest
from pipebus.http.connection_events import COMPLETE
from pipebus.http.framing import Framing
from pipebus.http.head_check import check_request_head, check_response_head
from pipebus.http.server_events import Bad, BodyComplete, Close, Done, HeadReceived
from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus.limits import INFINITY, ClientLimits, Limits
from tests.core.http.server_kit import CHUNKED, EXPECT, GET, OLD_KEPT, POST, Rig
from tests.core.http_client.world import NO_TIMEOUTS

H11 = H11Codec()
LLHTTP = LlhttpCodec()

# --- heads -----------------------------------------------------------------------------------

TCHAR = b"!#$%&'*+-.^_`|~09azAZ"
VCHAR = bytes(range(0x21, 0x7F))
TEXT_BYTES = b"\t " + VCHAR + bytes(range(0x80, 0x100))

OWS = st.sampled_from([b"", b" ", b"\t", b"  ", b" \t "])


def bytes_of(alphabet: bytes, *, least: int = 0, most: int = 12) -> st.SearchStrategy[bytes]:
    text = st.text(alphabet.decode("latin-1"), min_size=least, max_size=most)
    return text.map(lambda drawn: drawn.encode("latin-1"))


def recased(words: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the words, as it is written or in other letters."""
    ways = (bytes, bytes.lower, bytes.upper, bytes.swapcase, bytes.capitalize)
    return st.sampled_from([way(word) for word in words for way in ways])


METHODS = st.one_of(
    recased([b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"TRACE", b"PATCH", b"DELETE"]),
    st.sampled_from([b"M-SEARCH", b"SOURCE", b"PRI", b"QUERY", b"BREW", b"HTTP", b"CONNECTS"]),
    bytes_of(TCHAR, least=1),
)
TARGETS = st.one_of(
    st.sampled_from([b"/", b"*", b"/a?b=c%20d", b"http://h", b"h2c+x-1.0://h:80/?q", b"/?://@:["]),
    bytes_of(VCHAR).map(lambda rest: b"/" + rest),
)
# What parsers have opinions about: framing, the connection and what follows it.
FIELDS = st.one_of(
    st.tuples(
        recased([b"Connection", b"Proxy-Connection", b"Upgrade", b"Expect", b"TE", b"Keep-Alive"]),
        recased(
            [b"", b"close", b"keep-alive", b"upgrade", b"Upgrade, close", b",", b"h2c", b"a,b"]
        ),
    ),
    st.tuples(bytes_of(TCHAR, least=1), bytes_of(TEXT_BYTES, most=20)),
)
FRAMINGS: st.SearchStrategy[list[tuple[bytes, bytes]]] = st.one_of(
    st.just([]),
    st.tuples(recased([b"Content-Length"]), st.integers(0, 10**18 - 1).map(b"%d".__mod__)).map(
        lambda field: [field]
    ),
    st.tuples(recased([b"Content-Length"]), st.just(b"0007")).map(lambda field: [field]),
    st.tuples(recased([b"Transfer-Encoding"]), recased([b"chunked"])).map(lambda field: [field]),
)


@st.composite
def field_lines(draw: st.DrawFn, first: list[tuple[bytes, bytes]]) -> bytes:
    fields = draw(st.permutations([*first, *draw(FRAMINGS), *draw(st.lists(FIELDS, max_size=4))]))
    return b"".join(
        b"%b:%b%b%b\r\n" % (name, draw(OWS), value, draw(OWS)) for name, value in fields
    )


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    host = draw(st.sampled_from([b"h", b"", b"[::1]:80", b"a%20b"]))
    line = b"%b %b HTTP/%b\r\n" % (draw(METHODS), draw(TARGETS), version)
    return line + draw(field_lines([(draw(recased([b"Host"])), host)])) + b"\r\n"


@st.composite
def response_heads(draw: st.DrawFn, statuses: st.SearchStrategy[int]) -> bytes:
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    reason = draw(st.one_of(st.just(b""), bytes_of(TEXT_BYTES).map(lambda text: b" " + text)))
    line = b"HTTP/%b %d%b\r\n" % (version, draw(statuses), reason)
    return line + draw(field_lines([])) + b"\r\n"


@st.composite
def damaged(draw: st.DrawFn, heads: st.SearchStrategy[bytes]) -> bytes:
    """A head in which some bytes are others, more or missing; it ends as a head does."""
    data = bytearray(draw(heads))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data) - 5))
        some = st.one_of(
            st.binary(max_size=2), st.sampled_from([b"\r\n", b" ", b"\t", b":", b"\r"])
        )
        data[start : start + draw(st.integers(0, 2))] = draw(some)
    return bytes(data) if data.endswith(b"\r\n\r\n") else bytes(data) + b"\r\n\r\n"


REQUEST_HEADS = request_heads()
RESPONSE_HEADS = response_heads(st.integers(100, 999))


def passes(check: Callable[[bytes], Framing], data: bytes) -> bool:
    """Say whether a codec is ever given this head."""
    try:
        check(data)
    except RemoteProtocolError:
        return False
    return True


@given(REQUEST_HEADS)
@example(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\t\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-encoding: CHunked\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA:\r\nB:  \t\r\n\r\n")
def test_request_heads(data: bytes) -> None:
    assume(passes(check_request_head, data))
    assert LLHTTP.parse_request_head(data) == H11.parse_request_head(data)


@given(RESPONSE_HEADS)
@example(b"HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n")
@example(b"HTTP/1.1 200\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
@example(b"HTTP/1.0 999  ab \t\r\nContent-Length: 5\t\r\n\r\n")
def test_response_heads(data: bytes) -> None:
    assume(passes(check_response_head, data))
    assert LLHTTP.parse_response_head(data) == H11.parse_response_head(data)


@given(damaged(REQUEST_HEADS))
def test_damaged_request_heads(data: bytes) -> None:
    """Most are refused before a codec sees them; the rest reads the same."""
    if passes(check_request_head, data):
        assert LLHTTP.parse_request_head(data) == H11.parse_request_head(data)


@given(damaged(RESPONSE_HEADS))
def test_damaged_response_heads(data: bytes) -> None:
    if passes(check_response_head, data):
        assert LLHTTP.parse_response_head(data) == H11.parse_response_head(data)


# --- connections -----------------------------------------------------------------------------

REQUESTS = st.one_of(
    REQUEST_HEADS,
    damaged(REQUEST_HEADS),
    st.sampled_from(
        [
            GET,
            POST + b"hello",
            CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
            EXPECT + b"hello",
            OLD_KEPT,
            GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
            CHUNKED.replace(b"chunked", b"Chunked \t") + b"0\r\n\r\n",
            GET.replace(b"GET", b"BREW"),
            GET.replace(b"/", b"x-y+z://h/a"),
            b"hello",
            b"\r\n",
        ]
    ),
)
RESPONSES = st.one_of(
    response_heads(st.sampled_from([100, 103, 200, 204, 304, 426, 999])),
    damaged(RESPONSE_HEADS),
    st.sampled_from(
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200\r\nTRANSFER-ENCODING: CHUNKED\t\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nA: b\r\n folded\r\n\r\nhi",
            b"hi",
        ]
    ),
)
PLACES = st.lists(st.integers(1, 200), max_size=3)
WHOLE = Limits(max_head=1_000, max_body=100)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place for place in places if place < len(stream))})
    return [stream[start:end] for start, end in pairwise(edges)]


def serve(wire: WireCodec, pieces: list[bytes]) -> tuple[list[object], bytes, Close]:
    """Answer all that comes on one connection; return what was told, the bytes and the end."""
    rig = Rig(WHOLE, wire=wire)
    told: list[object] = []
    sent = b""
    for piece in pieces:
        rig.conn.receive_data(piece, rig.now)
        while (event := rig.conn.next_event()) is not None:
            told.append(event)
            if isinstance(event, HeadReceived):
                rig.conn.read_body(rig.now, max_body=WHOLE.max_body, collect=True)
            elif isinstance(event, BodyComplete):
                rig.answer(body=event.body)
            elif isinstance(event, Bad):
                rig.answer(event.status)
            elif isinstance(event, Done):
                rig.conn.next_request(rig.now)
            sent += rig.flush()
    return told, sent, rig.closing()


def ask(
    wire: WireCodec, methods: list[str], pieces: list[bytes]
) -> tuple[list[object], bytes, Close]:
    """Send requests as long as the connection is kept, and let the pieces answer them."""
    conn = ClientConnection(ClientLimits(max_head=1_000), wire, lambda conn, now: None)
    waiting = [ClientRequest(method, "http://h/x") for method in methods]
    told: list[object] = []
    sent = b""

    def send() -> None:
        nonlocal sent
        conn.send_request(waiting.pop(0), NO_TIMEOUTS, INFINITY, 0.0)
        sent += conn.data_to_send()
        conn.data_sent(len(conn.data_to_send()), 0.0)

    send()
    for piece in pieces:
        conn.receive_data(piece, 0.0)
        told += iter(conn.next_event, None)
        if told and told[-1] is COMPLETE and conn.wants_close is Close.NO:
            if conn.reusable and waiting:
                send()
            else:
                conn.close()
    conn.receive_eof(0.0)
    told += iter(conn.next_event, None)
    # Errors are equal to none but themselves.
    told = [repr(event) if isinstance(event, ClientError) else event for event in told]
    return told, sent, conn.wants_close


@given(st.lists(REQUESTS, min_size=1, max_size=4), PLACES)
def test_server_connections(parts: list[bytes], places: list[int]) -> None:
    pieces = cut(b"".join(parts), places)
    assert serve(LLHTTP, pieces) == serve(H11, pieces)


@given(
    st.lists(st.sampled_from(["GET", "HEAD", "POST"]), min_size=4, max_size=4),
    st.lists(RESPONSES, min_size=1, max_size=4),
    PLACES,
)
def test_client_connections(methods: list[str], parts: list[bytes], places: list[int]) -> None:
    pieces = cut(b"".join(parts), places) if places else parts
    assert ask(LLHTTP, methods, pieces) == ask(H11, methods, pieces)
