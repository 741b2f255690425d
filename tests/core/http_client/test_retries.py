"""Calls that are made again after a wait, and those that are not."""

import pytest

from pipebus.errors import (
    CallCancelled,
    ConnectError,
    ConnectTimeout,
    TotalTimeout,
    UpstreamProtocolError,
)
from pipebus.http.client import ClientCall, ClientConnection
from pipebus.resilience.policies import RetryPolicy
from tests.core.http_client.world import OK, World, only

BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


def answer(status: int, **fields: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: 1\r\n\r\nx".encode()


def new(policy: RetryPolicy | None = None, max_connections: int = 100) -> World:
    return World(retry=policy or RetryPolicy(base=1.0), max_connections=max_connections)


def status(call: ClientCall) -> int | None:
    return None if call.response is None else call.response.status


def state(call: ClientCall) -> str:
    return call.state


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_where_nothing_was_sent_any_call_is_made_again(method: str) -> None:
    world = new()
    call = world.call(method=method)
    world.refuse()
    assert (state(call), call.deadline_reason) == ("backoff", "backoff")
    assert world.client.pool.slots == 0
    world.wait(0.49)
    assert world.connecting == []
    world.wait(0.01)  # half of the bound
    world.refuse()
    world.wait(0.99)
    assert state(call) == "backoff"
    world.wait(0.01)  # half of twice of that
    world.feed(world.connect(), OK)
    assert status(call) == 200
    assert (world.client.stats.backoff_retries, world.client.stats.failed) == (2, 0)
    assert world.news == [call]
    world.check_nothing_left()


def test_after_the_last_attempt_it_is_what_that_ended_with() -> None:
    world = new()
    call = world.call()
    for reason in ("one", "two", "three"):
        assert not call.done
        world.refuse(reason=reason)
        world.wait(2.0)
    assert isinstance(call.error, ConnectError)
    assert "three" in str(call.error)
    world.check_nothing_left()


def test_a_name_that_does_not_resolve_and_a_connection_that_takes_too_long() -> None:
    world = new(RetryPolicy(base=1.0, attempts=2))
    call = world.call("http://a.example/", timeouts=only(connect=3.0))
    world.client.resolve_failed(world.resolving.pop().id, OSError("no"), world.now)
    world.pump()
    assert state(call) == "backoff"
    world.wait(0.5)
    world.resolve(("10.0.0.1", 80))
    world.wait(3.0)
    assert isinstance(call.error, ConnectTimeout)
    world.check_nothing_left()


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_response_that_asks_for_another_attempt(code: int) -> None:
    world = new()
    call = world.call(method="PUT", body=b"all of it")
    conn = world.connect()
    world.feed(conn, answer(code))
    assert (state(call), call.response, world.news) == ("backoff", None, [])
    assert world.client.pool.idle == 1
    world.wait(0.5)
    assert call.connection is conn  # it was good, and is used again
    assert world.wire[conn].count(b"all of it") == 2
    world.feed(conn, OK)
    assert status(call) == 200
    assert call.reused
    world.check_nothing_left()


def test_a_response_in_pieces_too() -> None:
    world = new(RetryPolicy(base=1.0, attempts=2))
    call = world.call()
    conn = world.connect()
    for piece in (BUSY[:20], BUSY[20:]):
        world.feed(conn, piece)
    assert state(call) == "backoff"
    world.wait(0.5)
    for piece in (BUSY[:20], BUSY[20:]):
        world.feed(conn, piece)
    assert status(call) == 503
    assert world.client.stats.failed == 0


@pytest.mark.parametrize("code", [400, 404, 500, 501])
def test_other_responses_are_the_callers(code: int) -> None:
    world = new()
    call = world.call()
    world.feed(world.connect(), answer(code))
    assert status(call) == code


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_was_sent_and_is_not_idempotent_is_not_sent_again(method: str) -> None:
    world = new()
    refused = world.call(method=method)
    conn = world.connect()
    world.feed(conn, BUSY)
    assert status(refused) == 503
    cut = world.call(method=method)
    world.lose(conn)
    assert isinstance(cut.error, UpstreamProtocolError)
    assert world.client.stats.backoff_retries == 0


def test_one_that_was_sent_is_made_again_if_it_is_idempotent() -> None:
    world = new(RetryPolicy(base=1.0, attempts=4))
    call = world.call(timeouts=only(read=5.0))
    world.lose(world.connect())
    world.wait(0.5)
    conn = world.connect()
    world.feed(conn, OK[:-1])  # the rest does not come
    world.wait(5.0)
    assert (state(call), call.head is None) == ("backoff", False)
    world.wait(1.0)
    assert call.head is None
    world.feed(world.connect(), OK)
    assert status(call) == 200
    world.check_nothing_left()


def test_broken_http_is_not_asked_for_again() -> None:
    world = new()
    call = world.call()
    world.feed(world.connect(), b"nonsense\r\n\r\n")
    assert isinstance(call.error, UpstreamProtocolError)
    world.check_nothing_left()


def test_the_second_try_at_once_is_no_attempt_and_free_of_the_budget() -> None:
    world = new(RetryPolicy(base=1.0, attempts=2, budget=0.0, budget_min=1))
    conn = world.exchange()
    call = world.call()
    world.lose(conn)
    assert state(call) == "connecting"
    world.lose(world.connect())
    assert state(call) == "backoff"
    world.wait(0.5)
    world.feed(world.connect(), OK)
    assert status(call) == 200
    stats = world.client.stats
    assert (stats.retries, stats.backoff_retries) == (1, 1)


# --- Retry-After -------------------------------------------------------------------------------


def test_what_the_server_asks_for_is_waited_for() -> None:
    world = new()
    call = world.call()
    conn = world.connect()
    world.feed(conn, answer(503, retry_after="7"))
    world.wait(7.49)
    assert state(call) == "backoff"
    world.wait(0.01)
    world.feed(conn, OK)
    assert status(call) == 200


def test_a_date_is_read_by_the_clock() -> None:
    world = new()
    world.clock.set(784111777.0, world.now)
    call = world.call()
    world.feed(world.connect(), answer(503, retry_after="Sun, 06 Nov 1994 08:49:39 GMT"))
    assert call.deadline == world.now + 2.5


@pytest.mark.parametrize("seconds", ["31", "4000000000"])
def test_a_longer_wait_than_is_allowed_is_the_callers_business(seconds: str) -> None:
    world = new()
    call = world.call()
    world.feed(world.connect(), answer(429, retry_after=seconds))
    assert status(call) == 429


# --- bounds ------------------------------------------------------------------------------------


def test_no_attempt_is_begun_that_cannot_be_over_in_time() -> None:
    world = new()
    in_time = world.call(timeouts=only(total=0.51))
    world.refuse()
    assert state(in_time) == "backoff"
    too_late = world.call(timeouts=only(total=0.5))
    world.refuse()
    assert isinstance(too_late.error, ConnectError)
    by_its_owner = world.call(deadline=world.now + 0.5)
    world.refuse()
    assert isinstance(by_its_owner.error, ConnectError)
    asked = world.call(timeouts=only(total=5.0))
    world.feed(world.connect(), answer(503, retry_after="5"))
    assert status(asked) == 503


def test_the_total_timeout_holds_over_all_attempts() -> None:
    world = new()
    call = world.call(timeouts=only(total=2.0))
    world.refuse()
    world.wait(0.5)
    world.connect()
    world.wait(1.4)
    assert state(call) == "reading head"
    world.wait(0.1)
    assert isinstance(call.error, TotalTimeout)
    world.check_nothing_left()


def test_in_an_outage_there_are_no_more_retries_than_the_budget_allows() -> None:
    policy = RetryPolicy(base=0.1, attempts=10, budget=0.2, budget_min=3, budget_window=60.0)
    world = new(policy)
    calls = [world.call() for _ in range(50)]
    for _ in range(200):
        while world.connecting:
            world.refuse()
        world.wait(0.1)
    assert all(isinstance(call.error, ConnectError) for call in calls)
    assert world.client.stats.backoff_retries == 13
    world.check_nothing_left()


# --- streams -----------------------------------------------------------------------------------


def test_an_upload_that_began_is_never_made_again() -> None:
    world = new()
    call = world.call(method="PUT", streams=True)
    conn = world.connect()
    world.client.send_body(call, b"piece", world.now)
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    refused = world.call(method="PUT", streams=True)
    conn = world.connect()
    world.client.end_body(refused, world.now)
    world.flush(conn)
    world.feed(conn, BUSY)
    assert status(refused) == 503
    world.check_nothing_left()


def test_an_upload_that_did_not_begin_is() -> None:
    world = new()
    call = world.call(method="POST", streams=True)
    assert not world.client.send_body(call, b"early", world.now)
    world.refuse()
    assert state(call) == "backoff"
    assert not world.client.send_body(call, b" late", world.now)
    world.client.end_body(call, world.now)
    world.wait(0.5)
    conn = world.connect()
    assert world.wire[conn].endswith(b"5\r\nearly\r\n5\r\n late\r\n0\r\n\r\n")
    world.feed(conn, OK)
    assert status(call) == 200
    world.check_nothing_left()


def test_a_streamed_response_that_began_is_never_asked_for_again() -> None:
    world = new()
    call = world.call(stream=True)
    conn = world.connect()
    world.feed(conn, OK[:-1])
    world.lose(conn)
    assert isinstance(call.error, UpstreamProtocolError)
    busy = world.call(stream=True)
    world.feed(world.connect(), BUSY)
    assert busy.head is not None
    assert busy.head.status == 503
    assert world.take(busy) is None
    assert (busy.done, busy.error) == (True, None)
    again = world.call(stream=True)
    world.lose(world.open[0])  # a stale one: at once
    world.lose(world.connect())
    assert state(again) == "backoff"
    assert world.take(again) is None
    world.wait(0.5)
    world.feed(world.connect(), OK)
    assert world.take(again) == b"hi"
    world.check_nothing_left()


# --- the end of it -----------------------------------------------------------------------------


def waiting(world: World, reply: bytes = b"") -> tuple[ClientCall, ClientConnection]:
    call = world.call()
    conn = world.connect()
    if reply:
        world.feed(conn, reply)
    else:
        world.lose(conn)
    assert state(call) == "backoff"
    return call, conn


@pytest.mark.parametrize("reply", [b"", BUSY])
def test_cancelled_while_it_waits(reply: bytes) -> None:
    world = new()
    call, _ = waiting(world, reply)
    world.cancel(call)
    assert isinstance(call.error, CallCancelled)
    assert call.response is None
    world.check_nothing_left()


@pytest.mark.parametrize("reply", [b"", BUSY])
def test_a_drain_does_not_wait_for_another_attempt(reply: bytes) -> None:
    world = new()
    call, _ = waiting(world, reply)
    world.client.drain(world.now)
    world.pump()
    assert world.news == [call]
    assert (status(call), call.error is None) == ((503, True) if reply else (None, False))
    late = world.call()
    world.refuse()
    assert isinstance(late.error, ConnectError)
    world.check_nothing_left()


def test_when_no_slot_is_free_by_then_it_queues_like_a_new_one() -> None:
    world = new(max_connections=1)
    call, conn = waiting(world, BUSY)
    other = world.call()
    assert other.connection is conn
    world.wait(0.5)
    assert state(call) == "waiting"
    world.feed(conn, OK)
    assert call.connection is conn
    world.feed(conn, OK)
    assert status(call) == 200


def test_where_the_time_went() -> None:
    world = new()
    call = world.call()
    world.wait(1.0)
    conn = world.connect()
    world.wait(2.0)
    world.feed(conn, BUSY)
    world.wait(0.5 + 4.0)
    world.feed(conn, OK)
    t = call.timings
    assert (t.retries, t.pool, t.connect, t.head, t.body, t.total) == (3.5, 0, 0, 4.0, 0, 7.5)
    world = new()
    failed, _ = waiting(world)
    world.wait(0.25)
    world.cancel(failed)
    assert failed.timings.total == 0.0  # of the one attempt that there was
    assert failed.timings.retries == 0.0


def test_no_policy_no_second_attempt() -> None:
    world = World()
    call = world.call()
    world.refuse()
    assert isinstance(call.error, ConnectError)
    assert call.attempts is None
