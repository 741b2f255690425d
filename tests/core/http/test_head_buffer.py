"""Cutting heads: linear, bounded, and the same however the input was cut."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import RemoteProtocolError
from pipebus.http.head_buffer import MAX_EMPTY_LINES, HeadBuffer

Cut = Callable[[bytes], list[bytes]]

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def requests(max_head: int = 200, max_fields: int = 5, max_request_line: int = 40) -> HeadBuffer:
    return HeadBuffer(max_head=max_head, max_fields=max_fields, max_request_line=max_request_line)


def read(buffer: HeadBuffer, pieces: list[bytes]) -> list[bytes | int]:
    """Return the heads cut, then a refusal's status."""
    heads: list[bytes | int] = []
    try:
        for piece in pieces:
            buffer.append(piece)
            while (head := buffer.next_head()) is not None:
                heads.append(head)
    except RemoteProtocolError as error:
        heads.append(error.status_hint)
    return heads


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_one_piece_is_cut_and_the_rest_stays() -> None:
    buffer = requests()
    buffer.append(HEAD + b"body")
    assert buffer.next_head() == HEAD
    assert len(buffer) == 4
    rest = buffer.take()
    assert rest == b"body"
    assert type(rest) is bytes
    assert len(buffer) == 0


def test_a_head_in_pieces_leaves_its_rest_as_bytes() -> None:
    buffer = requests()
    buffer.append(HEAD[:5])
    assert buffer.next_head() is None
    buffer.append(HEAD[5:9])
    buffer.append(HEAD[9:] + HEAD + b"x")
    first = buffer.next_head()
    assert first == HEAD
    assert type(first) is bytes
    assert buffer.next_head() == HEAD
    assert type(buffer.take()) is bytes


def test_taking_what_was_put_together_from_pieces() -> None:
    buffer = requests()
    buffer.append(b"a")
    buffer.append(b"b")
    rest = buffer.take()
    assert rest == b"ab"
    assert type(rest) is bytes


def test_taking_everything_does_not_copy() -> None:
    buffer = requests()
    data = b"x" * 1000
    buffer.append(data)
    assert buffer.take() is data


def test_clear_forgets_a_head_half_seen() -> None:
    buffer = requests()
    buffer.append(HEAD[:-1])
    assert buffer.next_head() is None
    buffer.clear()
    assert len(buffer) == 0
    assert read(buffer, [HEAD]) == [HEAD]


@pytest.mark.parametrize(
    ("head", "whole"),
    [
        (HEAD, True),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 5 + b"\r\n", True),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 6 + b"\r\n", False),
        (b"GET /" + b"a" * 26 + b" HTTP/1.1\r\n\r\n", True),  # a line of exactly 40
        (b"GET /" + b"a" * 27 + b" HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\na:" + b"b" * 178 + b"\r\n\r\n", True),  # exactly 200
        (b"GET / HTTP/1.1\r\na:" + b"b" * 179 + b"\r\n\r\n", False),
        (HEAD[:-1], False),
    ],
)
def test_a_head_that_is_looked_at_whole_is_one_that_would_be_cut(head: bytes, whole: bool) -> None:
    buffer = requests()
    end = buffer.end_of_whole(head + b"body")
    assert end == (len(head) if whole else 0)
    assert len(buffer) == 0
    assert (read(buffer, [head]) == [head]) == whole


def test_no_head_is_looked_at_behind_what_came_before_it() -> None:
    buffer = requests()
    buffer.append(b"\r\n")
    assert buffer.next_head() is None
    assert len(buffer) == 0
    assert buffer.end_of_whole(HEAD) == 0  # the empty line is its own
    assert read(buffer, [HEAD]) == [HEAD]
    assert buffer.end_of_whole(HEAD) == len(HEAD)
    buffer.append(b"G")
    assert buffer.end_of_whole(HEAD) == 0


def one_piece(data: bytes) -> list[bytes]:
    return [data]


@pytest.mark.parametrize("cut", [one_piece, single_bytes])
class TestHoweverCut:
    def test_pipelined(self, cut: Cut) -> None:
        assert read(requests(), cut(HEAD * 3)) == [HEAD] * 3

    def test_empty_lines_before_a_request_are_ignored_up_to_a_bound(self, cut: Cut) -> None:
        assert read(requests(), cut(b"\r\n" * MAX_EMPTY_LINES + HEAD)) == [HEAD]
        assert read(requests(), cut(b"\r\n" * (MAX_EMPTY_LINES + 1) + HEAD)) == [400]

    def test_the_count_of_empty_lines_starts_anew(self, cut: Cut) -> None:
        data = b"\r\n" * MAX_EMPTY_LINES + HEAD
        assert read(requests(), cut(data + data)) == [HEAD, HEAD]

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"GET /" + b"a" * 26 + b" HTTP/1.1\r\n\r\n", 200),  # a line of exactly 40
            (b"GET /" + b"a" * 27 + b" HTTP/1.1\r\n\r\n", 414),
            (b"GET /" + b"a" * 37, 414),
            (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 5 + b"\r\n", 200),
            (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 6 + b"\r\n", 431),
            (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 6, 431),
            (b"GET / HTTP/1.1\r\na:" + b"b" * 178 + b"\r\n\r\n", 200),  # exactly 200
            (b"GET / HTTP/1.1\r\na:" + b"b" * 179 + b"\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\na:" + b"b" * 190, 431),
            (b"GET / HTTP/1.1\r\na\n", 400),
            (b"GET / HTTP/1.1\n", 400),
            # the fault that comes first on the wire decides
            (b"GET /\n" + b"a" * 40 + b" HTTP/1.1\r\n\r\n", 400),
            (b"GET /" + b"a" * 40 + b"\n HTTP/1.1\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 6 + b"b\n\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nb\n" + b"a:\r\n" * 6 + b"\r\n", 400),
            (b"GET / HTTP/1.1\r\na:" + b"b" * 190 + b"\n\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\na\n:" + b"b" * 190 + b"\r\n\r\n", 400),
            (b"\x16\x03\x01\x02", 400),  # a TLS hello
            (b" GET / HTTP/1.1", 400),
            (b"\nGET / HTTP/1.1", 400),
        ],
    )
    def test_limits(self, cut: Cut, data: bytes, expected: int) -> None:
        assert read(requests(), cut(data)) == [data if expected == 200 else expected]

    def test_a_response_has_no_empty_line_before_it(self, cut: Cut) -> None:
        buffer = HeadBuffer(max_head=200, max_fields=5, max_request_line=None)
        assert read(buffer, cut(b"HTTP/1.1 200 OK\r\n\r\n")) == [b"HTTP/1.1 200 OK\r\n\r\n"]
        assert read(buffer, cut(b"\r\n\r\n")) == [b"\r\n\r\n"]  # for head_check to refuse
        assert read(buffer, cut(b"HTTP/1.1 200 " + b"a" * 300)) == [431]


PARTS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b":", b" ", b"GET", b"a" * 20, b"b:c\r\n", HEAD]
)


def test_what_begins_no_request_is_that_first_however_long_it_is() -> None:
    stream = b":" + b"a" * 60 + b"\r\n\r\n"
    assert read(requests(), [stream]) == read(requests(), single_bytes(stream)) == [400]


@given(st.lists(PARTS, max_size=40), st.data())
def test_cuts_change_nothing(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=4).map(sorted))
    edges = [0, *places, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges) if a < b]
    whole = read(requests(), [stream])
    assert _judged(read(requests(), pieces)) == _judged(whole)
    assert _judged(read(requests(), single_bytes(stream))) == _judged(whole)


def _judged(heads: list[bytes | int]) -> list[bytes | int]:
    """Refuse complete heads as `head_check` will, where input in pieces was refused earlier."""
    judged: list[bytes | int] = []
    for head in heads:
        if isinstance(head, bytes):
            bare_lf = b"\n" in head.replace(b"\r\n", b"")
            if bare_lf or not (head[:1].isalpha() or head[:1] == b"\r"):
                return [*judged, 400]
        judged.append(head)
    return judged


def test_byte_at_a_time_is_linear() -> None:
    """Work grows with the bytes, not with their square: seen in what is held, never re-joined."""
    buffer = HeadBuffer(max_head=1 << 20, max_fields=5, max_request_line=1 << 20)
    buffer.append(b"G")
    assert buffer.next_head() is None
    buffer.append(b"E")
    held = buffer._data
    assert isinstance(held, bytearray)
    for _ in range(5000):
        buffer.append(b"a")
        assert buffer.next_head() is None
        assert buffer._data is held
        assert buffer._scanned == len(held)
