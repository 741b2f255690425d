"""Buffered responses, from their bytes to what a caller gets."""

import pytest

from pipebus.errors import ResponseTooLarge, UpstreamProtocolError
from pipebus.http.connection_events import unfold
from pipebus.http.server_events import Close
from tests.core.http_client.world import CHUNKED, OK, World


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
