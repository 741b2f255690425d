import gzip
import zlib

import pytest

from pipebus.errors import (
    CallCancelled,
    ClientError,
    LocalProtocolError,
    ReadTimeout,
    ResponseTooLarge,
    TotalTimeout,
    UpstreamProtocolError,
    WriteTimeout,
)
from pipebus.http.client import ClientCall, ClientConnection
from pipebus.http.connection_events import unfold
from pipebus.http.server_events import Close
from pipebus.limits import Timeouts
from tests.core.http_client.world import NO_TIMEOUTS, OK, World

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def only(**seconds: float) -> Timeouts:
    base: dict[str, float | None] = dict.fromkeys(["connect", "write", "read", "pool", "total"])
    return Timeouts(**{**base, **seconds})


def reads(conn: ClientConnection) -> bool:
    """The attribute, in words that mypy does not take for unchanging."""
    return conn.wants_read


def paused(call: ClientCall) -> bool:
    return call.upload_paused


# --- responses ---------------------------------------------------------------------------------


def test_a_buffered_call_has_one_piece_of_news_its_end() -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    assert world.news == []
    world.feed(conn, CHUNKED + b"3\r\nabc\r\n")
    assert call.head is not None
    assert world.news == []
    world.feed(conn, b"2\r\nde\r\n0\r\nx: y\r\n\r\n")
    assert world.news == [call]
    assert call.response is not None
    assert (call.response.body, call.response.status) == (b"abcde", 200)
    assert (call.response.reason, call.response.http_version) == ("OK", "1.1")
    assert (call.response.method, call.response.url) == ("GET", call.request.url)
    assert (call.done, call.body_done, call.error, call.state) == (True, True, None, "done")
    world.check_nothing_left()


def test_timings_add_up() -> None:
    world = World(max_connections=1)
    first, call = world.call(), world.call()
    world.wait(1)
    world.cancel(first)
    world.wait(2)
    conn = world.connect()
    world.wait(4)
    world.feed(conn, OK[:-1])
    world.wait(8)
    world.feed(conn, OK[-1:])
    assert call.response is not None
    t = call.response.timings
    assert (t.pool, t.connect, t.head, t.body, t.total) == (1.0, 2.0, 4.0, 8.0, 15.0)
    assert call.timings is t
    assert first.timings.total == 1.0


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK, b"hi"),
        ("GET", b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx", b"x"),
    ],
)
def test_a_complete_response_keeps_the_connection(method: str, answer: bytes, body: bytes) -> None:
    world = World()
    call = world.call(method=method)
    conn = world.connect()
    world.feed(conn, answer)
    assert call.response is not None
    assert call.response.body == body
    assert conn.wants_close is Close.NO
    assert world.client.pool.idle == 1
    world.check_nothing_left()


def test_folded_fields_are_unfolded() -> None:
    world = World()
    call = world.call()
    folded = b"x: a \r\n\t b\r\n  \r\n c\r\ntransfer-encoding:\r\n chunked\r\n"
    world.feed(world.connect(), b"HTTP/1.1 200 OK\r\n" + folded + b"\r\n2\r\nhi\r\n0\r\n\r\n")
    assert call.response is not None
    assert call.response.headers.get("x") == "a b c"
    assert call.response.body == b"hi"


def test_unfolding_takes_time_in_proportion_to_the_head() -> None:
    blanks = b" " * 4_000_000  # the square of it would take days
    head = b"HTTP/1.1 200 OK\r\nx: a" + blanks + b"b" + blanks + b"\r\n c\r\n\r\n"
    assert unfold(head) == b"HTTP/1.1 200 OK\r\nx: a" + blanks + b"b c\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
        # A body where there can be none, or more than was promised: left over.
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nx"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1\r\n\r\nx"),
        ("GET", OK + b"\n"),
        ("GET", OK + OK),
        ("GET", CHUNKED + b"0\r\n\r\nHTTP/1.1 200"),
    ],
)
def test_a_complete_response_that_ends_the_connection(method: str, answer: bytes) -> None:
    world = World()
    call = world.call(method=method)
    conn = world.connect()
    world.feed(conn, answer)
    assert call.response is not None
    assert world.closed == [conn]
    again = world.call()
    assert again.state == "connecting"
    world.check_nothing_left()


def test_a_surplus_response_never_answers_the_next_call() -> None:
    world = World()
    conn = world.exchange()
    world.send_at_once = False
    call = world.call(method="POST")
    assert call.connection is conn
    # Before a byte of the request was handed to the driver nobody can have answered it.
    world.feed(conn, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert world.closed == [conn]
    assert not call.done
    assert call.state == "connecting"
    world.send_at_once = True
    world.feed(world.connect(), OK)
    assert call.response is not None
    assert call.response.body == b"hi"
    assert world.client.stats.retries == 1


def test_until_close() -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    world.feed(conn, b"HTTP/1.1 200 OK\r\n\r\nabc")
    world.feed(conn, b"def")
    assert not call.done
    world.eof(conn)
    assert call.response is not None
    assert call.response.body == b"abcdef"
    assert world.closed == [conn]
    world.check_nothing_left()


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK[:-1],
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"5\r\nabcde\r\n",
        CHUNKED + b"0\r\n",
    ],
)
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_the_server_goes_too_early(received: bytes, how: str) -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    if received:
        world.feed(conn, received)
    (world.eof if how == "eof" else world.lose)(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    assert ("inside" if call.head is not None else "before") in str(call.error)
    assert world.closed == [conn]
    world.check_nothing_left()


def test_a_reset_truncates_what_lasts_until_the_close() -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    world.feed(conn, b"HTTP/1.1 200 OK\r\n\r\nabc")
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    assert call.response is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4,
        b"nonsense\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n x: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\t2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        CHUNKED + b"zz\r\n",
    ],
)
def test_broken_http(answer: bytes) -> None:
    world = World(max_informational=3)
    call = world.call()
    conn = world.connect()
    world.feed(conn, answer)
    assert isinstance(call.error, UpstreamProtocolError)
    assert conn.wants_close is Close.RESET
    assert world.closed == [conn]
    world.feed(conn, OK)
    world.eof(conn)
    world.lose(conn)
    world.client.data_sent(conn, 0, world.now)
    assert world.client.next_output() is None
    world.check_nothing_left()


def test_a_request_that_is_said_to_be_sent_twice_frees_its_connection_once() -> None:
    world = World()
    world.call()
    conn = world.connect()
    world.feed(conn, OK)
    assert (world.client.pool.idle, world.client.pool.slots) == (1, 1)
    world.client.data_sent(conn, 1, world.now)
    assert (world.client.pool.idle, world.client.pool.slots) == (1, 1)
    world.call()
    world.call()
    assert len(world.connecting) == 1


def test_as_many_1xx_as_are_allowed() -> None:
    world = World(max_informational=3)
    call = world.call()
    world.feed(world.connect(), b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK)
    assert call.response is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 12,
        b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n",
        CHUNKED + b"65\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101,
    ],
)
def test_too_large(answer: bytes) -> None:
    world = World(max_head=256, max_fields=10, max_body=100)
    call = world.call()
    conn = world.connect()
    world.feed(conn, answer)
    assert isinstance(call.error, ResponseTooLarge)
    assert world.closed == [conn]
    world.check_nothing_left()


def test_too_large_and_broken_in_one_piece() -> None:
    world = World(max_body=4)
    call = world.call()
    conn = world.connect()
    world.feed(conn, CHUNKED)
    world.feed(conn, b"5\r\nabcde\r\n")
    assert isinstance(call.error, ResponseTooLarge)
    other = world.call()
    conn = world.connect()
    world.feed(conn, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabcdefghi")
    assert isinstance(other.error, ResponseTooLarge)
    world.check_nothing_left()


def test_a_head_request_may_be_told_of_any_length() -> None:
    world = World(max_body=4)
    call = world.call(method="HEAD")
    world.feed(world.connect(), b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n")
    assert call.response is not None


# --- content codings ---------------------------------------------------------------------------


def encoded(body: bytes, coding: bytes = b"gzip") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
        % (coding, len(body))
    ) + body


def test_a_buffered_body_is_decoded_and_its_headers_are_not_touched() -> None:
    world = World()
    call = world.call()
    world.feed(world.connect(), encoded(gzip.compress(b"hello")))
    assert call.response is not None
    assert call.response.body == b"hello"
    assert call.response.headers.get("content-encoding") == "gzip"


def test_a_body_is_not_decoded_where_that_was_not_wanted() -> None:
    world = World()
    call = world.call(decode=False)
    data = zlib.compress(b"hello")
    world.feed(world.connect(), encoded(data, b"deflate"))
    assert call.response is not None
    assert call.response.body == data


def test_a_bomb_ends_at_the_bound() -> None:
    world = World(max_body=1000)
    call = world.call()
    conn = world.connect()
    world.feed(conn, encoded(gzip.compress(b"\0" * 100_000)))
    assert isinstance(call.error, ResponseTooLarge)
    assert world.closed == [conn]


def test_what_decodes_to_nothing_is_bounded_too() -> None:
    world = World(max_body=1000)
    call = world.call()
    nothing = gzip.compress(b"") * 60
    world.feed(world.connect(), CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"))
    world.feed(world.open[0], b"%x\r\n" % len(nothing) + nothing)
    assert isinstance(call.error, ResponseTooLarge)


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"hello", mtime=0)[:-1]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_is_not_what_its_coding_says(body: bytes, stream: bool) -> None:
    world = World()
    call = world.call(stream=stream)
    world.feed(world.connect(), encoded(body))
    while stream and world.take(call) is not None:
        pass
    assert isinstance(call.error, UpstreamProtocolError)
    assert call.response is None
    assert not call.body_done
    world.check_nothing_left()


def test_too_many_codings() -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    world.feed(conn, encoded(b"x", b"gzip, gzip, gzip, gzip, gzip, gzip"))
    assert isinstance(call.error, UpstreamProtocolError)
    assert world.closed == [conn]


# --- streamed responses ------------------------------------------------------------------------


def test_a_stream_is_taken_piece_by_piece() -> None:
    world = World()
    call = world.call(stream=True)
    conn = world.connect()
    assert world.take(call) is None
    world.feed(conn, CHUNKED)
    assert world.news == [call]
    assert call.head is not None
    assert not call.done
    assert world.take(call) is None
    world.feed(conn, b"3\r\nabc\r\n")
    world.feed(conn, b"3\r\ndef\r\n0\r\n\r\n")
    # The connection is free although the reader is slow: what is left is here.
    assert world.client.pool.idle == 1
    assert not call.done
    world.wait(1)
    assert world.take(call) == b"abc"
    assert world.take(call) == b"def"
    assert (call.body_done, call.done, call.error) == (True, True, None)
    assert world.take(call) is None
    assert call.response is None
    assert call.timings.body == 0.0
    world.check_nothing_left()


def test_a_stream_without_a_body_is_done_with_its_head() -> None:
    world = World()
    call = world.call(stream=True)
    world.feed(world.connect(), b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (call.body_done, call.done) == (True, True)


def test_a_stream_is_decoded_as_it_is_taken() -> None:
    world = World()
    call = world.call(stream=True)
    world.feed(world.connect(), encoded(gzip.compress(b"\0" * 200_000)))
    assert world.client.pool.idle == 1
    sizes = []
    while (piece := world.take(call)) is not None:
        sizes.append(len(piece))
    assert sum(sizes) == 200_000
    assert max(sizes) <= 64 * 1024
    assert call.body_done
    world.check_nothing_left()


def test_a_slow_reader_stops_the_server_and_no_timeout_runs_meanwhile() -> None:
    world = World(read_ahead=10)
    call = world.call(stream=True, timeouts=only(read=5.0))
    conn = world.connect()
    world.feed(conn, CHUNKED + b"a\r\n0123456789\r\n")
    assert reads(conn)
    world.feed(conn, b"3\r\nabc\r\n")
    assert not reads(conn)
    world.wait(100)
    assert not call.done
    # What was read before the driver stopped is still taken.
    world.feed(conn, b"3\r\ndef\r\n")
    assert world.take(call) == b"0123456789"
    assert reads(conn)
    assert world.take(call) == b"abc"
    world.wait(4.9)
    assert not call.done
    world.wait(0.1)
    assert isinstance(call.error, ReadTimeout)
    assert world.take(call) is None
    world.check_nothing_left()


def test_a_connection_reads_again_when_its_stream_has_all_come() -> None:
    world = World(read_ahead=10)
    call = world.call(stream=True)
    conn = world.connect()
    world.feed(conn, CHUNKED + b"b\r\n0123456789a\r\n")
    assert not reads(conn)
    world.feed(conn, b"0\r\n\r\n")
    assert reads(conn)
    assert world.client.pool.idle == 1
    assert not call.done
    world.cancel(call)
    assert isinstance(call.error, CallCancelled)
    assert conn.wants_close is Close.NO
    world.check_nothing_left()


def test_a_decoded_stream_stops_the_server_too() -> None:
    world = World(read_ahead=10)
    call = world.call(stream=True)
    conn = world.connect()
    body = gzip.compress(b"hello, hello, hello")
    world.feed(conn, encoded(body)[:-1])
    assert not reads(conn)
    assert world.take(call) == b"hello, hello, hello"
    assert reads(conn)
    world.feed(conn, body[-1:])
    assert world.take(call) is None
    assert call.body_done


def test_an_early_end_of_a_stream_is_an_error() -> None:
    world = World()
    call = world.call(stream=True)
    conn = world.connect()
    world.feed(conn, CHUNKED + b"3\r\nabc\r\n")
    world.eof(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    assert world.take(call) is None
    assert not call.body_done


# --- uploads -----------------------------------------------------------------------------------


def test_a_streamed_upload() -> None:
    world = World()
    call = world.call(method="POST", streams=True)
    assert (call.upload_paused, call.upload_done) == (True, False)
    conn = world.connect()
    assert not paused(call)
    assert world.news == [call]
    assert world.client.send_body(call, b"abc", world.now)
    world.client.send_body(call, b"", world.now)
    world.pump()
    assert call.state == "sending"
    world.client.end_body(call, world.now)
    world.pump()
    assert call.upload_done
    assert call.state == "reading head"
    assert world.wire[conn].endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    world.feed(conn, OK)
    assert call.response is not None
    assert world.client.pool.idle == 1
    # Ends twice, and pieces after the end, are ignored.
    world.client.end_body(call, world.now)
    assert world.client.send_body(call, b"late", world.now)
    assert world.client.next_output() is None
    world.check_nothing_left()


def test_an_upload_waits_for_room() -> None:
    world = World(write_high_water=100)
    world.send_at_once = False
    call = world.call(method="POST", streams=True, content_length=300)
    conn = world.connect()
    world.flush(conn)
    assert world.client.send_body(call, b"x" * 100, world.now)
    assert not world.client.send_body(call, b"x" * 100, world.now)
    assert paused(call)
    world.pump()
    world.news.clear()
    world.flush(conn)
    assert not paused(call)
    assert world.news == [call]
    world.client.send_body(call, b"x" * 100, world.now)
    world.client.end_body(call, world.now)
    world.flush(conn)
    assert call.state == "reading head"
    assert world.wire[conn].count(b"x" * 100) == 3


def test_what_is_sent_too_early_is_kept() -> None:
    world = World(max_connections=1)
    blocker = world.call()
    call = world.call(method="POST", streams=True)
    assert not world.client.send_body(call, b"abc", world.now)
    assert not world.client.send_body(call, b"def", world.now)
    world.client.end_body(call, world.now)
    world.cancel(blocker)
    conn = world.connect()
    assert world.wire[conn].endswith(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    world.feed(conn, OK)
    assert call.response is not None


def test_a_large_body_goes_out_in_pieces() -> None:
    world = World()
    world.send_at_once = False
    body = bytes(range(256)) * 1024
    world.call(method="POST", body=body)
    conn = world.connect()
    sizes = []
    sent = b""
    while data := conn.data_to_send():
        sizes.append(len(data))
        sent += data
        world.client.data_sent(conn, len(data), world.now)
    assert sent.endswith(b"\r\n\r\n" + body)
    assert max(sizes) <= 64 * 1024


def test_a_small_body_is_one_write_with_its_head() -> None:
    world = World()
    world.send_at_once = False
    world.call(method="POST", body=b"hello")
    data = world.connect().data_to_send()
    assert data.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("early", [False, True])
def test_more_or_less_than_was_promised_cuts_the_request(early: bool) -> None:
    for pieces in ([b"abcd"], [b"ab"]):
        world = World()
        call = world.call(method="POST", streams=True, content_length=3)
        conn = None if early else world.connect()
        try:
            for piece in pieces:
                world.client.send_body(call, piece, world.now)
            world.client.end_body(call, world.now)
        except LocalProtocolError:
            assert not early
        else:
            assert early
            conn = world.connect()
        world.pump()
        assert isinstance(call.error, CallCancelled)
        assert isinstance(call.error.__cause__, LocalProtocolError)
        assert conn is not None
        assert conn.wants_close is Close.RESET
        world.check_nothing_left()


def test_a_body_that_fails_cuts_the_request() -> None:
    world = World()
    call = world.call(method="POST", streams=True)
    conn = world.connect()
    error = RuntimeError("no more")
    world.client.fail_body(call, error, world.now)
    world.pump()
    assert isinstance(call.error, CallCancelled)
    assert call.error.__cause__ is error
    assert conn.wants_close is Close.RESET
    world.check_nothing_left()


@pytest.mark.parametrize("keeps", [True, False])
def test_an_early_refusal_stops_the_upload(keeps: bool) -> None:
    world = World()
    call = world.call(method="POST", streams=True)
    conn = world.connect()
    world.client.send_body(call, b"abc", world.now)
    head = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n"
    world.feed(conn, head + (b"" if keeps else b"connection: close\r\n") + b"\r\n")
    assert call.upload_done
    assert not paused(call)
    assert call in world.news
    assert world.client.send_body(call, b"more", world.now)
    assert conn.data_to_send() == b""
    world.feed(conn, b"no")
    assert call.response is not None
    assert call.response.status == 413
    assert world.closed == [conn]
    world.check_nothing_left()


def test_an_early_success_streams_both_ways_until_the_response_ends() -> None:
    world = World()
    call = world.call(method="POST", streams=True, stream=True)
    conn = world.connect()
    world.feed(conn, CHUNKED + b"2\r\nhi\r\n")
    assert not call.upload_done
    assert world.client.send_body(call, b"more", world.now)
    world.pump()
    assert world.wire[conn].endswith(b"4\r\nmore\r\n")
    assert world.take(call) == b"hi"
    world.feed(conn, b"0\r\n\r\n")
    assert (call.done, call.error, call.upload_done) == (True, None, True)
    assert world.closed == [conn]
    world.check_nothing_left()


def test_an_upload_may_end_while_the_response_is_under_way() -> None:
    world = World()
    call = world.call(method="POST", streams=True, stream=True)
    conn = world.connect()
    world.feed(conn, CHUNKED)
    world.client.end_body(call, world.now)
    world.pump()
    assert call.state == "reading body"
    world.feed(conn, b"0\r\n\r\n")
    assert call.error is None
    assert world.client.pool.idle == 1
    world.check_nothing_left()


def test_a_response_may_overtake_the_report_that_the_request_was_sent() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x")
    conn = world.connect()
    count = len(conn.data_to_send())
    world.feed(conn, OK)
    assert call.response is not None
    assert world.client.pool.idle == 0
    assert conn.wants_close is Close.NO
    world.client.data_sent(conn, count - 1, world.now)
    assert world.client.pool.idle == 0
    world.client.data_sent(conn, 1, world.now)
    assert world.client.pool.idle == 1
    assert world.call().connection is conn
    world.check_nothing_left()


def test_a_response_that_overtakes_most_of_the_request_ends_the_connection() -> None:
    world = World(write_high_water=100)
    world.send_at_once = False
    call = world.call(method="POST", body=b"x" * 1000)
    conn = world.connect()
    count = len(conn.data_to_send())
    world.feed(conn, OK)
    assert call.response is not None
    assert world.closed == [conn]
    world.client.data_sent(conn, count, world.now)
    world.check_nothing_left()


def test_a_refusal_by_a_server_that_closes_drops_what_was_not_sent() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x" * 1000)
    conn = world.connect()
    count = len(conn.data_to_send())
    world.feed(conn, b"HTTP/1.1 400 Bad\r\nconnection: close\r\ncontent-length: 2\r\n\r\n")
    assert conn.data_to_send() == b""
    world.client.data_sent(conn, count, world.now)
    world.feed(conn, b"no")
    assert call.response is not None
    assert call.response.status == 400
    assert world.closed == [conn]


def test_a_refusal_by_a_server_that_keeps_the_connection_changes_nothing() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x")
    conn = world.connect()
    count = len(conn.data_to_send())
    world.feed(conn, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    assert call.response is not None
    world.client.data_sent(conn, count, world.now)
    assert world.client.pool.idle == 1


def test_the_rest_of_a_request_that_nobody_takes_has_its_time_too() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x", timeouts=only(write=5.0))
    conn = world.connect()
    conn.data_to_send()
    world.feed(conn, OK)
    assert call.response is not None
    world.wait(5)
    assert conn.wants_close is Close.RESET
    assert world.closed == [conn]
    world.check_nothing_left()


# --- timeouts ----------------------------------------------------------------------------------


def test_read_timeout_is_the_longest_silence() -> None:
    world = World()
    call = world.call(timeouts=only(read=5.0))
    conn = world.connect()
    for byte in OK[:20]:
        world.wait(4.9)
        world.feed(conn, bytes([byte]))
    assert not call.done
    world.wait(5)
    assert isinstance(call.error, ReadTimeout)
    assert "5.0 s" in str(call.error)
    assert conn.wants_close is Close.RESET
    world.check_nothing_left()


def test_read_timeout_counts_from_the_last_byte_sent() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(timeouts=only(read=5.0))
    conn = world.connect()
    world.wait(100)
    assert not call.done
    world.flush(conn)
    assert conn.deadline == world.now + 5.0
    assert conn.deadline_reason == "read"


def test_write_timeout_is_the_longest_time_without_a_byte_taken() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x" * 1000, timeouts=only(write=5.0))
    conn = world.connect()
    for _ in range(3):
        world.wait(4.9)
        conn.data_to_send()
        world.client.data_sent(conn, 1, world.now)
    world.wait(4.9)
    assert not call.done
    world.wait(0.1)
    assert isinstance(call.error, WriteTimeout)
    world.check_nothing_left()


def test_a_slow_program_is_not_a_slow_server() -> None:
    world = World()
    call = world.call(method="POST", streams=True, timeouts=only(write=5.0, read=5.0))
    conn = world.connect()
    world.wait(100)
    assert not call.done
    world.send_at_once = False
    world.client.send_body(call, b"x", world.now)
    world.wait(4)
    world.client.send_body(call, b"x", world.now)
    world.wait(0.9)
    assert not call.done
    assert conn.wants_close is Close.NO
    world.wait(0.1)
    assert isinstance(call.error, WriteTimeout)


def test_a_response_that_flows_excuses_a_request_that_does_not() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", body=b"x" * 300_000, stream=True, timeouts=only(write=5.0))
    conn = world.connect()
    conn.data_to_send()
    world.feed(conn, CHUNKED)
    for _ in range(3):
        world.wait(4)
        world.feed(conn, b"1\r\nx\r\n")
    assert not call.done
    world.wait(5)
    assert isinstance(call.error, WriteTimeout)


@pytest.mark.parametrize(
    ("timeouts", "deadline"), [(only(total=10.0), 1000.0), (NO_TIMEOUTS, 110.0)]
)
def test_total_timeout_bounds_a_server_that_drips(timeouts: Timeouts, deadline: float) -> None:
    for drip in (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 99, OK.replace(b": 2", b": 99") + b"x" * 90):
        world = World()
        call = world.call(timeouts=timeouts, deadline=deadline)
        conn = world.connect()
        for byte in drip:
            world.wait(0.2)
            if call.done:
                break
            world.feed(conn, bytes([byte]))
        assert isinstance(call.error, TotalTimeout)
        assert world.now == pytest.approx(110.0)
        world.check_nothing_left()


def test_total_timeout_while_waiting_and_connecting() -> None:
    world = World(max_connections=1)
    first = world.call(timeouts=only(total=2.0, connect=9.0))
    second = world.call(timeouts=only(total=3.0, pool=9.0))
    world.wait(2)
    assert isinstance(first.error, TotalTimeout)
    assert second.state == "connecting"
    world.wait(1)
    assert isinstance(second.error, TotalTimeout)
    world.check_nothing_left()


def test_a_deadline_that_has_passed() -> None:
    world = World()
    call = world.call(deadline=world.now)
    assert isinstance(call.error, TotalTimeout)
    assert world.connecting == []
    world.check_nothing_left()


def test_an_early_call_of_a_timer_does_nothing() -> None:
    world = World()
    call = world.call(timeouts=only(total=2.0, read=1.0))
    call.handle_timeout(world.now + 1)
    conn = world.connect()
    conn.handle_timeout(world.now + 0.9)
    assert not call.done
    assert conn.wants_close is Close.NO


# --- second tries ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize("how", ["eof", "lost"])
def test_a_reused_connection_that_was_dead_is_forgiven_once(method: str, how: str) -> None:
    world = World()
    first, second = world.call(), world.call()
    one, two = world.connect(), world.connect()
    world.feed(one, OK)
    world.feed(two, OK)
    assert first.done
    assert second.done
    call = world.call(method=method)
    assert call.connection is two
    (world.eof if how == "eof" else world.lose)(two)
    # The other one has been idle as long: it is not tried.
    assert world.closed == [two, one]
    assert call.state == "connecting"
    fresh = world.connect()
    assert world.wire[fresh] == call.request.head
    assert not call.reused
    world.lose(fresh)
    assert isinstance(call.error, UpstreamProtocolError)
    assert world.client.stats.retries == 1
    world.check_nothing_left()


def test_only_once_even_if_the_second_is_reused() -> None:
    world = World(max_connections=1)
    conn = world.exchange()
    call = world.call()
    world.lose(conn)
    call_conn = world.connect()
    world.feed(call_conn, OK)
    assert call.response is not None
    assert call.retried


@pytest.mark.parametrize("method", ["POST", "PATCH", "X-OWN"])
def test_what_is_not_idempotent_is_never_sent_twice(method: str) -> None:
    world = World()
    conn = world.exchange()
    call = world.call(method=method)
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    assert world.client.stats.retries == 0
    assert world.connecting == []
    world.check_nothing_left()


def test_a_server_that_gave_a_byte_had_the_request() -> None:
    world = World()
    conn = world.exchange()
    call = world.call()
    world.feed(conn, b"H")
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)


def test_a_stream_cannot_be_sent_again() -> None:
    world = World()
    conn = world.exchange()
    call = world.call(method="PUT", streams=True)
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)


def test_a_timeout_is_not_retried() -> None:
    world = World()
    world.exchange()
    call = world.call(timeouts=only(read=1.0))
    world.wait(1)
    assert isinstance(call.error, ReadTimeout)
    assert world.connecting == []


def test_a_connection_found_dead_before_anything_was_sent_is_passed_over() -> None:
    world = World()
    calls = [world.call() for _ in range(3)]
    conns = [world.connect() for _ in range(3)]
    for conn in conns:
        world.feed(conn, OK)
    assert all(call.done for call in calls)
    world.send_at_once = False
    call = world.call(method="POST", body=b"once")
    for conn in reversed(conns):
        assert call.connection is conn
        world.eof(conn)
    assert call.state == "connecting"
    assert world.client.stats.retries == 3
    world.send_at_once = True
    world.feed(world.connect(), OK)
    assert call.response is not None
    world.check_nothing_left()


def test_a_new_connection_that_dies_at_once_is_forgiven_once() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", streams=True)
    world.lose(world.connect())
    assert call.state == "connecting"
    assert paused(call)
    world.lose(world.connect())
    assert isinstance(call.error, UpstreamProtocolError)
    world.check_nothing_left()


def test_an_upload_that_was_begun_is_not_moved() -> None:
    world = World()
    world.send_at_once = False
    call = world.call(method="POST", streams=True)
    conn = world.connect()
    world.client.send_body(call, b"x", world.now)
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)


def test_a_second_try_waits_at_the_head_of_the_queue() -> None:
    world = World(max_connections=1)
    conn = world.exchange()
    call = world.call(timeouts=only(pool=1.0))
    other, third = world.call(), world.call()
    world.lose(conn)
    assert call.state == "connecting"
    assert other.state == third.state == "waiting"
    world.check_nothing_left()


def test_cancelling_twice_and_after_the_end() -> None:
    world = World()
    call = world.call()
    world.cancel(call)
    error = call.error
    world.cancel(call)
    assert call.error is error
    conn = world.exchange()
    done = world.news[-1]
    world.cancel(done)
    assert done.error is None
    assert conn.wants_close is Close.NO
    assert repr(call).startswith("<ClientCall th1 done")
    assert isinstance(error, ClientError)
    assert world.client.stats.failed == 1
