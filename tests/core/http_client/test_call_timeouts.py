"""Timeouts of a call: whose move it is, and for how long."""

import pytest

from pipebus.errors import ReadTimeout, TotalTimeout, WriteTimeout
from pipebus.http.server_events import Close
from pipebus.limits import Timeouts
from tests.core.http_client.world import CHUNKED, NO_TIMEOUTS, OK, World, only


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
