"""Reading bodies: strict, bounded, and the same however the input was cut."""

from collections import deque

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import RemoteProtocolError
from pipebus.http import body as body_module
from pipebus.http.body import BodyCollector, BodyReader, add_piece
from pipebus.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing

Outcome = tuple[bytes, bool, bytes] | int


def read(framing: Framing, pieces: list[bytes], max_size: int | None = None) -> Outcome:
    """Return the decoded body, whether it is complete and what was left over; or the status."""
    reader = BodyReader(framing)
    reader.max_size = max_size
    decoded = b""
    rest = b""
    try:
        for piece in pieces:
            decoded += reader.feed(piece)
            rest += piece[reader.used :]
    except RemoteProtocolError as error:
        return error.status_hint
    assert reader.received == len(decoded)
    return decoded, reader.complete, rest


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def however_cut(framing: Framing, data: bytes, max_size: int | None = None) -> Outcome:
    """Read it whole, a byte at a time and in halves: alike."""
    whole = read(framing, [data], max_size)
    assert read(framing, single_bytes(data), max_size) == whole
    half = len(data) // 2
    assert read(framing, [data[:half], data[half:]], max_size) == whole
    return whole


def test_no_body_is_complete_at_once() -> None:
    assert BodyReader(NO_BODY).complete
    assert BodyReader(Framing("length", 0)).complete
    assert however_cut(NO_BODY, b"next") == (b"", True, b"next")
    BodyReader(NO_BODY).eof()


def test_by_length() -> None:
    assert however_cut(Framing("length", 5), b"hel") == (b"hel", False, b"")
    assert however_cut(Framing("length", 5), b"hello") == (b"hello", True, b"")
    assert however_cut(Framing("length", 5), b"helloGET /") == (b"hello", True, b"GET /")


def test_pieces_of_a_large_body_are_not_copied() -> None:
    data = b"x" * 65536
    reader = BodyReader(Framing("length", 3 * 65536))
    assert reader.feed(data) is data
    assert reader.feed(data) is data
    assert reader.feed(data) is data
    assert reader.complete
    until = BodyReader(UNTIL_CLOSE)
    assert until.feed(data) is data


def test_before_its_first_byte() -> None:
    reader = BodyReader(CHUNKED)
    assert (reader.complete, reader.received, reader.used) == (False, 0, 0)


def test_from_an_offset() -> None:
    reader = BodyReader(Framing("length", 5))
    assert reader.feed(b"headhel", 4) == b"hel"
    assert (reader.used, reader.received, reader.complete) == (7, 3, False)
    assert reader.feed(b"xlorest", 1) == b"lo"
    assert (reader.used, reader.received, reader.complete) == (3, 5, True)
    until = BodyReader(UNTIL_CLOSE)
    assert until.feed(b"headhel", 4) + until.feed(b"xlo", 1) == b"hello"
    assert (until.used, until.received) == (3, 5)
    chunked = BodyReader(CHUNKED)
    assert chunked.feed(b"head1\r\nx\r\n0\r\n\r\nrest", 4) == b"x"
    assert chunked.used == 15
    assert chunked.complete
    assert chunked.feed(b"more", 1) == b""
    assert chunked.used == 1


def test_until_the_close() -> None:
    reader = BodyReader(UNTIL_CLOSE)
    assert reader.feed(b"all") == b"all"
    assert not reader.complete
    reader.eof()
    assert reader.complete


@pytest.mark.parametrize("framing", [Framing("length", 5), CHUNKED])
def test_an_early_end_is_an_error(framing: Framing) -> None:
    reader = BodyReader(framing)
    reader.feed(b"1")
    with pytest.raises(RemoteProtocolError, match="early"):
        reader.eof()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"00a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"1;a\r\nx\r\n0;b=c\r\n\r\n", b"x"),
        (b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", b"x"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    ],
)
def test_chunked(data: bytes, expected: bytes) -> None:
    assert however_cut(CHUNKED, data + b"GET /") == (expected, True, b"GET /")
    assert however_cut(CHUNKED, data[:-1]) == (expected, False, b"")
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + data)
    assert isinstance(reader.next_event(), h11.Request)
    theirs = b""
    while isinstance(event := reader.next_event(), h11.Data):
        theirs += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert theirs == expected


def test_white_space_in_extensions_is_read_over() -> None:
    """RFC 9112 section 7.1.1 asks a recipient to parse it (h11 0.16 does not)."""
    data = b'1 ; a = "q\\"; \xe9" ;b\t=\tc\r\nx\r\n0\r\n\r\n'
    assert however_cut(CHUNKED, data) == (b"x", True, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\t\r\n",
        b"1\n",
        b"1\r\nx\n",
        b"1\r\nx\rx",
        b"1\r\nxx\r\n",
        b"1;\r\n",
        b"1;=a\r\n",
        b"1;a=\r\n",
        b'1;a="b\r\n',
        b'1;a="b\x00"\r\n',
        b'1;a="\\\x00"\r\n',
        b"1;a b\r\n",
        b"1;a\r\r\n",
        b"1;a\rb\r\n",
        b"1" * 16 + b"\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\r\n c\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\n\n",
    ],
)
def test_malformed_chunks(data: bytes) -> None:
    assert however_cut(CHUNKED, data) == 400
    assert however_cut(CHUNKED, b"1\r\nx\r\n" + data) == 400


def test_a_chunk_line_is_bounded() -> None:
    longest = b"1;" + b"a" * (body_module.MAX_CHUNK_LINE - 4) + b"\r\n"
    assert however_cut(CHUNKED, longest + b"x\r\n0\r\n\r\n") == (b"x", True, b"")
    assert however_cut(CHUNKED, b"1;a" + longest[2:]) == 400
    assert however_cut(CHUNKED, longest[:-2] + b"aa") == 400


def test_trailers_are_bounded() -> None:
    room = body_module.MAX_TRAILERS - 2
    line = b"a:" + b"b" * 1000 + b"\r\n"
    count, rest = divmod(room, len(line))
    most = b"0\r\n" + line * count + b"a:" + b"b" * (rest - 4) + b"\r\n"
    assert however_cut(CHUNKED, most + b"\r\n") == (b"", True, b"")
    assert however_cut(CHUNKED, most[:-2] + b"b\r\n\r\n") == 431
    assert however_cut(CHUNKED, most[:-2] + b"bb\r\n\r\n") == 431
    assert however_cut(CHUNKED, most[:-2] + b"bbbb\r\n\r\n") == 431
    assert however_cut(CHUNKED, b"0\r\na:" + b"b" * 9000) == 431


def test_extensions_may_not_outweigh_the_data() -> None:
    chunk = b"1;" + b"a" * 400 + b"\r\nx\r\n"
    assert however_cut(CHUNKED, chunk * 30 + b"0\r\n\r\n") == (b"x" * 30, True, b"")
    assert however_cut(CHUNKED, chunk * 60) == 400
    # a signature per chunk of real size is fine for ever
    signed = b"400;" + b"a" * 400 + b"\r\n" + b"x" * 1024 + b"\r\n"
    assert read(CHUNKED, [signed * 500]) == (b"x" * 1024 * 500, False, b"")


@pytest.mark.parametrize("plain", [b"", b"1\r\nx\r\n", b"1\r\nx\r\n" * 100])
def test_extensions_have_an_exact_bound(plain: bytes) -> None:
    """Chunks that carry none do not save up for those that do, nor are they counted."""
    waste = 1000
    line = body_module.FREE_CHUNK_LINE + 1 + waste  # the data of the chunk is 1 byte
    chunk = b"1;" + b"a" * (line - 4) + b"\r\nx\r\n"
    count, rest = divmod(body_module.MAX_CHUNK_WASTE, waste)
    last = b"0;" + b"a" * (body_module.FREE_CHUNK_LINE + rest - 4) + b"\r\n"
    most = plain + chunk * count + last
    data = b"x" * (plain.count(b"x") + count)
    assert read(CHUNKED, [most + b"\r\n"]) == (data, True, b"")
    assert read(CHUNKED, [most[:-2] + b"a\r\n\r\n"]) == 400


def test_one_byte_chunks_are_legal() -> None:
    assert however_cut(CHUNKED, b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n") == (b"x" * 5000, True, b"")


def test_too_large_is_known_from_the_chunk_line() -> None:
    assert however_cut(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", 5) == (b"hello", True, b"")
    assert however_cut(CHUNKED, b"5\r\n", 4) == 413
    assert however_cut(CHUNKED, b"3\r\nabc\r\n2\r\n", 4) == 413
    assert however_cut(CHUNKED, b"5\r\nhello!malformed", 4) == 413


def test_one_feed_gives_one_piece() -> None:
    reader = BodyReader(CHUNKED)
    assert reader.feed(b"1\r\na\r\n2\r\nbc\r\n3\r\nd") == b"abcd"
    assert reader.feed(b"ef\r\n0\r\n\r") == b"ef"
    assert not reader.complete
    assert reader.feed(b"\nX") == b""
    assert reader.used == 1


CHUNKS = st.lists(st.binary(min_size=1, max_size=50), max_size=8)


@given(CHUNKS, st.binary(max_size=5), st.data())
def test_what_h11_writes_we_read(chunks: list[bytes], after: bytes, data: st.DataObject) -> None:
    writer = h11.Connection(h11.CLIENT)
    writer.send(
        h11.Request(
            method="POST", target="/", headers=[("host", "x"), ("transfer-encoding", "chunked")]
        )
    )
    wire = b"".join(writer.send(h11.Data(data=chunk)) or b"" for chunk in chunks)
    wire += writer.send(h11.EndOfMessage(headers=[("a", "b")])) or b""
    stream = wire + after
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    pieces = [
        stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True) if a < b
    ]
    expected = (b"".join(chunks), True, after)
    assert read(CHUNKED, pieces) == expected
    assert however_cut(CHUNKED, stream) == expected


@given(
    st.lists(
        st.sampled_from([b"1", b"a", b"0", b"\r\n", b"\r", b"\n", b";", b" ", b'"', b"x:y", b"="]),
        max_size=25,
    )
)
def test_cuts_change_nothing(parts: list[bytes]) -> None:
    """Fed whole or a byte at a time a stream is read alike, up to where it breaks."""
    however_cut(CHUNKED, b"".join(parts))


@given(st.lists(st.sampled_from([b"", b"a", b"bc" * 50, b"d" * 4096, b"e" * 9000]), max_size=10))
def test_the_collector_joins_in_order(pieces: list[bytes]) -> None:
    collector = BodyCollector()
    for piece in pieces:
        collector.add(piece)
    assert collector.take() == b"".join(pieces)
    assert collector.take() == b""


def test_the_collector_keeps_big_pieces_and_packs_small_ones() -> None:
    collector = BodyCollector()
    big = b"x" * 65536
    collector.add(big)
    assert collector.take() is big
    for _ in range(10_000):
        collector.add(b"ab")
    assert collector._pieces == []
    collector.add(big)
    assert [len(piece) for piece in collector._pieces] == [20_000, 65536]
    assert len(collector.take()) == 85536


def test_many_small_pieces_that_wait_for_a_slow_reader_are_joined() -> None:
    pieces: deque[bytes] = deque()
    body = b"".join(b"%04d" % number for number in range(10_000))
    for at in range(0, len(body), 2):
        add_piece(pieces, body[at : at + 2])
    assert b"".join(pieces) == body
    assert len(pieces) <= 64 + len(body) // 4096 + 1
    big = bytes(5_000)
    add_piece(pieces, big)
    assert pieces[-1] is big


def test_only_many_pieces_are_joined_and_only_into_small_ones() -> None:
    pieces = deque([b"x"] * 63)
    add_piece(pieces, b"ab")
    assert len(pieces) == 64, "63 are not many"
    add_piece(pieces, b"cd")
    assert (len(pieces), pieces[-1]) == (64, b"abcd")
    add_piece(pieces, bytes(4096 - 4))
    assert (len(pieces), len(pieces[-1])) == (64, 4096)
    add_piece(pieces, b"e")
    assert (len(pieces), pieces[-1]) == (65, b"e")
