"""Streamed responses: piece by piece, as fast as they are read."""

import gzip

from pipebus.errors import CallCancelled, ReadTimeout, UpstreamProtocolError
from pipebus.http.client import ClientConnection
from pipebus.http.server_events import Close
from tests.core.http_client.world import CHUNKED, World, encoded, only


def reads(conn: ClientConnection) -> bool:
    """The attribute, in words that mypy does not take for unchanging."""
    return conn.wants_read


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
