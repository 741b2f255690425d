"""Request bodies: streamed or whole, and answered before they have ended."""

import pytest

from pipebus.errors import CallCancelled, LocalProtocolError
from pipebus.http.server_events import Close
from tests.core.http_client.world import CHUNKED, OK, World, only, paused


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
