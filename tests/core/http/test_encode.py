"""Writing heads and bodies, with h11 as the reader."""

import re
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.errors import LocalProtocolError
from pipebus.http import encode
from pipebus.http.body_writer import BodyWriter
from pipebus.http.encode import (
    REQUEST_OWN,
    RESPONSE_OWN,
    check_fields,
    chunk,
    request_head,
    response_head,
)
from pipebus.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing, FramingKind
from pipebus.http.head_check import check_request_head, check_response_head
from pipebus.http.send_buffer import SendBuffer
from pipebus.http.wire import RawHeaders
from pipebus.http.wire_h11 import H11Codec

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_a_response_head_byte_for_byte() -> None:
    head = response_head(
        200, [(b"a", b"b"), (b"a", b"c")], date=DATE, framing=Framing("length", 5), connection=b""
    )
    assert head == (
        b"HTTP/1.1 200 OK\r\na: b\r\na: c\r\ndate: " + DATE + b"\r\ncontent-length: 5\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("framing", "line"),
    [
        (NO_BODY, b""),
        (UNTIL_CLOSE, b""),
        (CHUNKED, b"transfer-encoding: chunked\r\n"),
        (Framing("length", 0), b"content-length: 0\r\n"),
    ],
)
@pytest.mark.parametrize("connection", [b"", b"close", b"keep-alive"])
def test_framing_and_connection(framing: Framing, line: bytes, connection: bytes) -> None:
    said = b"connection: " + connection + b"\r\n" if connection else b""
    head = response_head(204, [], date=DATE, framing=framing, connection=connection)
    assert head == b"HTTP/1.1 204 No Content\r\ndate: " + DATE + b"\r\n" + line + said + b"\r\n"
    head = request_head(b"PUT", b"/x", b"h:1", b"a: \r\n", framing)
    assert head == b"PUT /x HTTP/1.1\r\nhost: h:1\r\na: \r\n" + line + b"\r\n"
    check_request_head(head)


@pytest.mark.parametrize("status", [*HTTPStatus, 299, 418, 599])
def test_every_status_is_read_back(status: int) -> None:
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        return  # never written: no upgrade is accepted
    head = response_head(status, [(b"x", b"y")], date=DATE, framing=NO_BODY, connection=b"")
    check_response_head(head)
    parsed = H11Codec().parse_response_head(head)
    assert parsed.status == status
    assert parsed.headers == [(b"x", b"y"), (b"date", DATE)]


def test_the_unregistered_has_no_reason() -> None:
    assert encode.status_line(299) == b"HTTP/1.1 299 \r\n"
    assert encode.status_line(404) == b"HTTP/1.1 404 Not Found\r\n"


@pytest.mark.parametrize(
    "field",
    [
        (b"", b"x"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\r\nb", b"x"),
        (b"\xe9", b"x"),
        (b"a", b"x\r\nb: c"),
        (b"a", b"x\n"),
        (b"a", b"x\r"),
        (b"a", b"x\x00"),
        (b"a", b"\x1b"),
        (b"a", b"\x7f"),
        (b"content-length", b"5"),
        (b"Content-Length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"keep-alive", b"x"),
        (b"date", DATE),
        (b"upgrade", b"x"),
        (b"te", b"trailers"),
        (b"trailer", b"x"),
    ],
)
def test_fields_that_are_not_written(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"field name|control character|connection's to write"):
        check_fields([(b"fine", b"x"), field])


@pytest.mark.parametrize("own", [RESPONSE_OWN, REQUEST_OWN])
def test_common_names_are_names_and_not_the_connections(own: frozenset[bytes]) -> None:
    common = encode._COMMON
    assert not common & own
    assert all(re.fullmatch(rb"[a-z]+(-[a-z]+)*", name) for name in common)


def test_a_common_name_excuses_no_value() -> None:
    for name in encode._COMMON:
        with pytest.raises(ValueError, match="control character"):
            check_fields([(name, b"x\r\nb: c")])


def test_fields_that_are_written() -> None:
    fields: RawHeaders = [(b"a", b""), (b"X-B", b"\t \xe9~"), (b"host", b"x"), (b"expect", b"y")]
    check_fields(fields)
    check_fields([(b"date", DATE)], REQUEST_OWN)
    for name in (b"host", b"expect"):
        with pytest.raises(ValueError, match="connection's to write"):
            check_fields([(name, b"x")], REQUEST_OWN)


FIELDS = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=8)), max_size=4)


@given(FIELDS)
def test_what_is_checked_is_never_another_head(fields: RawHeaders) -> None:
    try:
        check_fields(fields)
    except ValueError:
        return
    head = response_head(200, fields, date=DATE, framing=CHUNKED, connection=b"")
    check_response_head(head)
    parsed = H11Codec().parse_response_head(head)
    expected = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    assert parsed.headers[: len(fields)] == expected
    assert len(parsed.headers) == len(fields) + 2


# --- streamed bodies ---


def written(framing: Framing, pieces: list[bytes], *, end: bool = True) -> bytes:
    out = SendBuffer()
    writer = BodyWriter(framing)
    for piece in pieces:
        writer.write(piece, out)
    if end:
        writer.end(out)
    return drained(out)


def drained(out: SendBuffer) -> bytes:
    data = b""
    while piece := out.peek():
        data += piece
        out.sent(len(piece))
    assert out.size == 0
    return data


PIECES = st.sampled_from([b"", b"a", b"bc" * 99, b"d" * 65_536, b"e" * 65_537, b"f" * 300_000])


@given(st.lists(PIECES, max_size=4))
def test_what_we_chunk_h11_reads(pieces: list[bytes]) -> None:
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    reader.next_event()
    reader.receive_data(written(CHUNKED, pieces))
    read = b""
    while isinstance(event := reader.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == b"".join(pieces)


def test_chunks_byte_for_byte() -> None:
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert written(CHUNKED, [b"ab", b"", b"c"]) == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert written(CHUNKED, []) == b"0\r\n\r\n"
    big = b"x" * 65537
    assert written(CHUNKED, [big]) == b"10001\r\n" + big + b"\r\n0\r\n\r\n"


def test_other_framings() -> None:
    assert written(UNTIL_CLOSE, [b"a", b"", b"b"]) == b"ab"
    assert written(NO_BODY, [b"a", b"b"]) == b""
    assert written(Framing("length", 3), [b"a", b"", b"bc"]) == b"abc"


def test_a_promised_length_is_kept() -> None:
    with pytest.raises(LocalProtocolError, match="longer"):
        written(Framing("length", 3), [b"ab", b"cd"])
    with pytest.raises(LocalProtocolError, match="shorter"):
        written(Framing("length", 3), [b"ab"])
    with pytest.raises(LocalProtocolError, match="longer"):
        written(Framing("length", 0), [b"a"])


def test_a_large_piece_is_not_copied() -> None:
    big = b"x" * 100_000
    out = SendBuffer()
    kinds: tuple[FramingKind, ...] = ("length", "chunked")
    for kind in kinds:
        BodyWriter(Framing(kind, len(big))).write(big, out)
    assert sum(piece is big for piece in out._pieces) == 2


# --- the buffer ---


def test_small_pieces_go_out_together() -> None:
    out = SendBuffer()
    for piece in (b"a", b"", b"bc", b"d" * 1000):
        out.push(piece)
    assert out.size == 1003
    assert out.peek() == b"abc" + b"d" * 1000
    out.sent(2)
    assert out.peek() == b"c" + b"d" * 1000
    out.push(b"e")
    assert out.peek() == b"c" + b"d" * 1000 + b"e"
    out.sent(1002)
    assert (out.peek(), out.size) == (b"", 0)


def test_a_large_piece_is_offered_in_parts_and_never_joined() -> None:
    out = SendBuffer()
    big = bytes(range(256)) * 4096
    out.push(b"head")
    out.push(big)
    assert out.peek() == b"head"
    out.sent(4)
    seen = b""
    while piece := out.peek():
        assert len(piece) <= 256 * 1024
        seen += piece[:100_000]
        out.sent(min(len(piece), 100_000))
    assert seen == big


def test_one_write_sized_piece_is_handed_out_as_it_is() -> None:
    out = SendBuffer()
    data = b"x" * 200_000
    out.push(data)
    assert out.peek() is data


def test_clear_in_the_middle() -> None:
    out = SendBuffer()
    out.push(b"abc")
    out.sent(1)
    out.clear()
    assert (out.size, out.peek()) == (0, b"")
    out.push(b"xyz")
    assert out.peek() == b"xyz"


@given(st.lists(st.one_of(PIECES, st.sampled_from([1, 5, 100, 65_536, 90_000])), max_size=20))
def test_the_buffer_is_a_fifo(steps: list[bytes | int]) -> None:
    out = SendBuffer()
    expected = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            out.push(step)
            expected += step
        else:
            piece = out.peek()
            assert expected.startswith(piece)
            assert out.peek() == piece
            count = min(step, len(piece))
            if count:
                out.sent(count)
                del expected[:count]
        assert out.size == len(expected)
    assert drained(out) == expected
