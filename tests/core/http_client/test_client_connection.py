"""What the client never does, but the connection's contract covers."""

import pytest

from pipebus.errors import LocalProtocolError, RemoteProtocolError, UpstreamProtocolError
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import ClientRequest
from pipebus.http.server_events import Close
from pipebus.http.wire import RequestHead, ResponseHead
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import INFINITY, ClientLimits, Timeouts
from tests.core.http_client.world import NO_TIMEOUTS, OK, World

GET = ClientRequest("GET", "http://a/")


def connection() -> ClientConnection:
    return ClientConnection(ClientLimits(), H11Codec(), lambda conn, now: None)


def test_one_request_at_a_time() -> None:
    conn = connection()
    conn.send_request(GET, NO_TIMEOUTS, INFINITY, 0.0)
    with pytest.raises(LocalProtocolError):
        conn.send_request(GET, NO_TIMEOUTS, INFINITY, 0.0)


def test_no_request_on_a_closed_connection() -> None:
    conn = connection()
    conn.close()
    conn.close(abort=True)
    assert conn.wants_close is Close.AFTER_FLUSH
    with pytest.raises(LocalProtocolError):
        conn.send_request(GET, NO_TIMEOUTS, INFINITY, 0.0)
    conn.set_reading(0.0, reading=True)
    assert not conn.wants_read


def test_a_body_that_has_ended_is_over() -> None:
    conn = connection()
    conn.send_request(GET, NO_TIMEOUTS, INFINITY, 0.0)
    before = conn.data_to_send()
    assert conn.send_body(b"x", 0.0)
    conn.end_body(0.0)
    assert conn.data_to_send() == before


class Refusing:
    """Takes no response."""

    name = "refusing"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        raise AssertionError("a client reads no request")

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        raise RemoteProtocolError("not for me")


def test_what_the_codec_refuses_is_refused_the_long_way() -> None:
    conn = ClientConnection(ClientLimits(), Refusing(), lambda conn, now: None)
    conn.send_request(GET, NO_TIMEOUTS, INFINITY, 0.0)
    conn.data_sent(len(conn.data_to_send()), 0.0)
    assert conn.take_whole(OK) is None
    assert conn.wants_close is Close.NO
    conn.receive_data(OK, 0.0)
    assert isinstance(conn.next_event(), UpstreamProtocolError)


def test_a_deadline_is_true_at_all_times() -> None:
    conn = connection()
    assert conn.deadline == INFINITY
    conn.send_request(GET, Timeouts(write=3.0, read=4.0), 100.0, 10.0)
    assert (conn.deadline, conn.deadline_reason) == (13.0, "write")
    conn.data_sent(len(conn.data_to_send()), 11.0)
    assert (conn.deadline, conn.deadline_reason) == (15.0, "read")
    conn.receive_data(OK[:-1], 99.0)
    assert (conn.deadline, conn.deadline_reason) == (100.0, "total")
    conn.receive_data(OK[-1:], 99.5)
    assert conn.deadline == INFINITY
    conn.set_idle(90.0, 99.5)
    assert (conn.deadline, conn.deadline_reason) == (189.5, "idle")
    conn.close()
    assert (conn.deadline, conn.deadline_reason) == (INFINITY, "")


def test_a_reader_that_is_far_behind_takes_more_than_one_piece_before_reading_goes_on() -> None:
    world = World(read_ahead=4)
    call = world.call(stream=True)
    conn = world.connect()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n"
    world.feed(conn, head + b"0123456789")
    world.feed(conn, b"0123456789")
    assert world.take(call) is not None
    assert not conn.wants_read
    assert world.take(call) is not None
    assert conn.wants_read


def test_close_reaches_a_connection_that_only_waits_for_a_report() -> None:
    world = World()
    world.send_at_once = False
    call = world.call()
    conn = world.connect()
    conn.data_to_send()
    world.feed(conn, OK)
    assert call.response is not None
    world.client.close(world.now)
    world.pump()
    assert world.closed == [conn]
    world.check_nothing_left()


def test_bytes_on_a_connection_that_only_waits_for_a_report() -> None:
    world = World()
    world.send_at_once = False
    world.call()
    conn = world.connect()
    conn.data_to_send()
    world.feed(conn, OK)
    world.feed(conn, OK)
    assert world.closed == [conn]
    assert world.client.pool.slots == 0
    world.check_nothing_left()
