"""The reader of answers: the same on any split, and strict where it decides what is an error."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus_cli.bench.answer import CHUNKED, UNTIL_EOF, AnswerReader, Head, Malformed, parse_head

BODY = b"0123456789" * 3
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\n" + BODY
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"a;name=value\r\n0123456789\r\n014\r\n01234567890123456789\r\n0\r\nTrailer: yes\r\n\r\n"
)
REST = b"HTTP/1.1 200 OK\r\n\r\n" + BODY
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"


def read(pieces: Iterable[bytes], expected: bytes | None = BODY) -> AnswerReader:
    reader = AnswerReader()
    read_next(reader, pieces, expected)
    return reader


def read_next(reader: AnswerReader, pieces: Iterable[bytes], expected: bytes | None = BODY) -> None:
    reader.begin(expected)
    complete = [reader.feed(piece) for piece in pieces]
    assert not any(complete[:-1])
    assert complete[-1] or reader.eof()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(
    st.sampled_from([PLAIN, CHUNKS, REST, INTERIM + PLAIN]),
    st.lists(st.integers(0, 500), max_size=12),
)
def test_any_split_reads_the_same(data: bytes, cuts: list[int]) -> None:
    reader = read(split(data, cuts))
    assert (reader.status, reader.right) == (200, True)
    assert reader.keep is (data != REST)


@given(
    st.sampled_from([PLAIN, CHUNKS, REST]),
    st.lists(st.integers(0, 500), max_size=6),
    st.integers(0, 29),
)
def test_a_wrong_byte_is_seen_on_any_split(data: bytes, cuts: list[int], place: int) -> None:
    expected = bytearray(BODY)
    expected[place] ^= 1
    assert not read(split(data, cuts), bytes(expected)).right


@pytest.mark.parametrize("data", [PLAIN, CHUNKS, REST])
@pytest.mark.parametrize("expected", [BODY[:-1], BODY + b"0", b""])
def test_a_body_of_another_length_is_wrong(data: bytes, expected: bytes) -> None:
    for pieces in ([data], [data[:50], data[50:]]):
        assert not read(pieces, expected).right


def test_a_head_that_was_seen_is_looked_up() -> None:
    reader = read([PLAIN])
    for pieces, right in (
        ([PLAIN], True),
        ([PLAIN[:-1], b"9"], True),
        ([PLAIN[:-1] + b"x"], False),
    ):
        read_next(reader, pieces)
        assert (reader.status, reader.right, reader.keep) == (200, right, True)
        with pytest.raises(Malformed, match="more than an answer"):
            reader.feed(PLAIN)
    read_next(reader, [PLAIN], None)
    assert reader.right


def test_heads_are_not_kept_for_ever() -> None:
    heads: dict[bytes, Head] = {}
    reader = AnswerReader(heads=heads)
    for number in range(1500):
        read_next(reader, [b"HTTP/1.1 204 No Content\r\nX-Number: %d\r\n\r\n" % number], None)
    assert 0 < len(heads) <= 512


def test_the_end_of_the_connection_ends_only_what_has_no_other_end() -> None:
    for data in (b"", PLAIN[:10], PLAIN[:-1], CHUNKS[:-1]):
        reader = AnswerReader()
        assert not reader.feed(data)
        assert not reader.eof()


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Head(200, 5, True)),
        (b"HTTP/1.1 200\r\ncontent-length:5, 5\r\nCONTENT-LENGTH: 5 \r\n\r\n", Head(200, 5, True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n", Head(200, 5, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Head(200, 5, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: a, keep-alive\r\n\r\n", Head(200, 5, True)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Head(304, 0, True)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Head(204, 0, True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", Head(200, CHUNKED, True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Head(200, UNTIL_EOF, False)),
        (b"HTTP/1.1 200 OK\r\n\r\n", Head(200, UNTIL_EOF, False)),
    ],
)  # fmt: skip
def test_what_a_head_says(head: bytes, says: Head) -> None:
    assert parse_head(head) == says


def test_an_answer_to_head_has_no_body() -> None:
    reader = AnswerReader(to_head=True)
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    assert reader.keep


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"H" * 8,
        b"\0",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 No\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        PLAIN + b"x",
        CHUNKS + b"x",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n012\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(Malformed):
        AnswerReader().feed(data)
    reader = AnswerReader()
    with pytest.raises(Malformed):
        for at in range(len(data)):
            reader.feed(data[at : at + 1])


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_raises_nothing_else(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    for piece in pieces:
        try:
            reader.feed(piece)
        except Malformed:
            break
