"""Which calls are sent a second time, and which never."""

import pytest

from pipebus.errors import ClientError, ReadTimeout, UpstreamProtocolError
from pipebus.http.server_events import Close
from tests.core.http_client.world import OK, World, only, paused


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
