from collections.abc import Callable

import pytest

from pipebus.errors import CallCancelled, PoolTimeout
from pipebus.http.server_events import Close
from pipebus.limits import Timeouts
from tests.core.http_client.world import NO_TIMEOUTS, OK, URL, World

OTHER = "http://10.0.0.2/"
THIRD = "http://10.0.0.3/"


def test_a_connection_is_reused_the_last_one_first() -> None:
    world = World()
    first, second = world.call(), world.call()
    one, two = world.connect(), world.connect()
    world.feed(two, OK)
    world.feed(one, OK)
    assert first.response is not None
    assert second.response is not None
    assert not first.reused
    third = world.call()
    assert third.connection is one
    assert third.reused
    fourth = world.call()
    assert fourth.connection is two
    assert world.client.stats.opened == 2
    assert world.client.stats.reused == 2
    world.check_nothing_left()


def test_other_origins_have_their_own() -> None:
    world = World()
    world.exchange(URL)
    world.call("https://10.0.0.1/")
    world.call("http://10.0.0.1:81/")
    assert len(world.connecting) == 2


def test_calls_wait_in_order_for_a_slot() -> None:
    world = World(max_connections=2)
    calls = [world.call() for _ in range(5)]
    assert len(world.connecting) == 2
    assert [call.state for call in calls[2:]] == ["waiting"] * 3
    one, two = world.connect(), world.connect()
    world.feed(two, OK)
    assert calls[2].connection is two
    world.feed(one, OK)
    assert calls[3].connection is one
    world.feed(two, OK)
    world.feed(one, OK)
    world.feed(two, OK)
    assert all(call.response is not None for call in calls)
    assert world.client.stats.opened == 2
    world.check_nothing_left()


def test_a_closed_connection_gives_its_slot_to_the_next_call() -> None:
    world = World(max_connections=1)
    first, second = world.call(), world.call()
    conn = world.connect()
    world.feed(conn, OK.replace(b"content", b"connection: close\r\ncontent"))
    assert first.response is not None
    assert world.closed == [conn]
    assert second.state == "connecting"
    world.feed(world.connect(), OK)
    assert second.response is not None
    assert not second.reused
    world.check_nothing_left()


def test_too_many_waiting() -> None:
    world = World(max_connections=1, max_waiting=1)
    world.call()
    assert not world.call().done
    call = world.call()
    assert isinstance(call.error, PoolTimeout)
    assert world.news == [call]
    world.check_nothing_left()


def test_pool_timeout_is_the_wait_for_a_slot_only() -> None:
    world = World(max_connections=1)
    timeouts = Timeouts(connect=None, write=None, read=None, pool=1.0, total=None)
    first, second = world.call(timeouts=timeouts), world.call(timeouts=timeouts)
    world.wait(0.5)
    assert not second.done
    world.wait(0.5)
    assert isinstance(second.error, PoolTimeout)
    assert not first.done
    world.feed(world.connect(), OK)
    world.wait(5)
    assert first.response is not None
    assert first.timings.connect == 1.0
    world.check_nothing_left()


def test_an_idle_connection_of_another_origin_makes_room() -> None:
    world = World(max_connections=2)
    old = world.exchange(URL)
    world.wait(1)
    young = world.exchange(THIRD)
    call = world.call(OTHER)
    assert world.closed == [old]
    assert old.wants_close is Close.AFTER_FLUSH
    assert young.wants_close is Close.NO
    assert call.state == "connecting"
    assert world.client.stats.evicted == 1
    assert world.client.pool.slots == 2


def test_a_busy_connection_is_not_closed_to_make_room() -> None:
    world = World(max_connections=1)
    world.call(URL)
    conn = world.connect()
    call = world.call(OTHER)
    assert call.state == "waiting"
    # Free at last: the call of the other origin has waited, nobody of its own does.
    world.feed(conn, OK)
    assert world.closed == [conn]
    assert call.state == "connecting"
    world.check_nothing_left()


def test_who_waited_longest_is_next_whatever_its_origin() -> None:
    world = World(max_connections=1)
    world.call(URL)
    conn = world.connect()
    other = world.call(OTHER)
    same = world.call(URL)
    world.feed(conn, OK)
    assert other.state == "connecting"
    assert same.state == "waiting"
    assert world.closed == [conn]
    world.feed(world.connect(), OK)
    assert same.state == "connecting"
    world.check_nothing_left()


def test_an_older_call_of_the_same_origin_goes_before_a_younger_of_another() -> None:
    world = World(max_connections=1)
    world.call(URL)
    conn = world.connect()
    same = world.call(URL)
    other = world.call(OTHER)
    world.feed(conn, OK)
    assert same.connection is conn
    assert other.state == "waiting"


def test_idle_connections_are_bounded_per_origin_and_the_oldest_goes() -> None:
    world = World(max_idle_per_origin=1)
    world.call(), world.call()
    one, two = world.connect(), world.connect()
    world.feed(one, OK)
    world.feed(two, OK)
    assert world.closed == [one]
    assert world.client.pool.idle == 1
    assert world.call().connection is two


def test_none_is_kept_where_none_may_be_idle() -> None:
    world = World(max_idle_per_origin=0)
    conn = world.exchange()
    assert world.closed == [conn]
    world.check_nothing_left()


def test_idle_timeout() -> None:
    world = World(idle_timeout=90.0)
    conn = world.exchange()
    world.wait(89.9)
    assert world.open == [conn]
    assert conn.deadline_reason == "idle"
    conn.handle_timeout(world.now)
    assert world.open == [conn]
    world.wait(0.1)
    assert world.closed == [conn]
    assert conn.wants_close is Close.AFTER_FLUSH
    world.check_nothing_left()


@pytest.mark.parametrize("how", [World.eof, World.lose, lambda w, c: w.feed(c, OK)])
def test_an_idle_connection_that_moves_is_closed(
    how: Callable[..., None],
) -> None:
    world = World()
    conn = world.exchange()
    how(world, conn)
    assert world.closed == [conn]
    assert world.client.pool.slots == 0
    call = world.call()
    assert call.state == "connecting"
    assert not call.done


def test_a_freed_connection_goes_to_the_oldest_call_even_if_it_is_connecting() -> None:
    world = World()
    world.call()
    conn = world.connect()
    second, third = world.call(), world.call()
    assert second.state == third.state == "connecting"
    world.feed(conn, OK)
    assert second.connection is conn
    # Its attempt goes on as a spare and serves whoever comes next.
    assert world.abandoned == []
    assert world.client.pool.slots == 3
    world.feed(conn, OK)
    assert third.connection is conn
    assert world.client.pool.slots == 3
    world.feed(conn, OK)
    spare = world.connect()
    assert spare.wants_close is Close.NO
    assert world.client.pool.idle == 2
    fourth = world.call()
    assert fourth.connection is spare
    assert not fourth.reused
    world.check_nothing_left()


def test_a_call_takes_a_spare_attempt_over() -> None:
    world = World()
    first = world.call()
    conn = world.connect()
    second = world.call(timeouts=Timeouts(connect=5.0))
    world.feed(conn, OK)
    assert first.done
    assert second.connection is conn
    world.wait(4)
    third = world.call(timeouts=Timeouts(connect=5.0))
    assert third.state == "connecting"
    assert len(world.connecting) == 1
    world.wait(4)  # the time is its own
    assert not third.done
    world.connect()
    assert third.state == "reading head"
    world.check_nothing_left()


def test_a_spare_attempt_makes_room_too() -> None:
    world = World(max_connections=2)
    world.call()
    conn = world.connect()
    world.call()
    world.feed(conn, OK)
    assert len(world.connecting) == 1
    call = world.call(OTHER)
    assert len(world.abandoned) == 1
    assert call.state == "connecting"
    world.check_nothing_left()


@pytest.mark.parametrize("draining", [False, True])
def test_an_attempt_that_becomes_spare_makes_room_for_who_waits_already(draining: bool) -> None:
    world = World(max_connections=2)
    world.call()
    one = world.connect()
    second = world.call()
    third = world.call(OTHER)
    assert [attempt.address for attempt in world.connecting] == [("10.0.0.1", 80)]
    if draining:
        world.client.drain(world.now)
    world.feed(one, OK)
    assert second.connection is one
    assert third.state == "connecting"
    assert [attempt.address for attempt in world.connecting] == [("10.0.0.2", 80)]


def test_a_spare_attempt_that_fails_hurts_nobody() -> None:
    world = World()
    world.call()
    conn = world.connect()
    second = world.call(timeouts=Timeouts(connect=5.0))
    world.feed(conn, OK)
    world.refuse()
    assert not second.done
    assert world.client.pool.slots == 1
    assert world.client.stats.connect_failures == 1
    world.check_nothing_left()


def test_a_spare_resolution_serves_too() -> None:
    world = World()
    name = "http://a.example/"
    world.call(name)
    world.resolve(("10.0.0.1", 80))
    conn = world.connect()
    second = world.call(name)
    world.feed(conn, OK)
    assert second.connection is conn
    world.resolve(("10.0.0.1", 80))
    assert world.client.pool.slots == 2
    third = world.call(name)
    assert third.state == "connecting"
    world.check_nothing_left()


def test_the_attempt_of_a_cancelled_call_is_kept_for_those_who_wait() -> None:
    world = World(max_connections=1)
    first, second, third = world.call(), world.call(OTHER), world.call()
    world.cancel(first)
    assert isinstance(first.error, CallCancelled)
    assert world.abandoned == []
    assert third.state == "connecting"
    assert second.state == "waiting"
    conn = world.connect()
    assert third.connection is conn
    world.check_nothing_left()


def test_the_attempt_of_a_cancelled_call_is_abandoned_where_nobody_waits() -> None:
    world = World(max_connections=1)
    first, second = world.call(), world.call(OTHER)
    attempt = world.connecting[0].attempt_id
    world.cancel(first)
    assert world.abandoned == [attempt]
    assert second.state == "connecting"
    assert world.client.connected(attempt, world.now) is None
    world.check_nothing_left()


def test_a_cancelled_resolution_is_forgotten() -> None:
    world = World()
    call = world.call("http://a.example/")
    world.cancel(call)
    world.resolve(("10.0.0.1", 80))
    assert world.connecting == []
    assert world.client.pool.slots == 0


def test_a_cancelled_resolution_serves_the_next() -> None:
    world = World(max_connections=1)
    first, second = world.call("http://a.example/"), world.call("http://a.example/")
    world.cancel(first)
    assert second.state == "resolving"
    world.resolve(("10.0.0.1", 80))
    assert second.state == "connecting"


def test_drain_closes_what_is_idle_and_keeps_nothing() -> None:
    world = World()
    idle = world.exchange(OTHER)
    running = world.call()
    conn = world.connect()
    world.client.drain(world.now)
    world.pump()
    assert world.closed == [idle]
    world.feed(conn, OK)
    assert running.response is not None
    assert world.closed == [idle, conn]
    late = world.call()
    world.feed(world.connect(), OK)
    assert late.response is not None
    assert world.client.unfinished == 0
    world.check_nothing_left()


def test_drain_drops_spare_attempts_and_makes_no_more() -> None:
    world = World()
    world.call()
    conn = world.connect()
    second = world.call()
    world.feed(conn, OK)
    assert second.connection is conn
    world.client.drain(world.now)
    world.pump()
    assert len(world.abandoned) == 1
    third = world.call()
    world.feed(conn, OK)
    assert second.response is not None
    assert third.connection is conn
    assert len(world.abandoned) == 2
    world.check_nothing_left()


def test_close_ends_everything() -> None:
    world = World(max_connections=3)
    world.exchange(THIRD)
    reading, connecting, waiting = world.call(), world.call(), world.call()
    conn = world.connect()
    world.client.close(world.now)
    world.pump()
    for call in (reading, connecting, waiting):
        assert isinstance(call.error, CallCancelled)
    assert conn.wants_close is Close.RESET
    assert world.open == []
    after = world.call(timeouts=NO_TIMEOUTS)
    assert isinstance(after.error, CallCancelled)
    world.check_nothing_left()
