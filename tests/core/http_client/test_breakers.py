"""A breaker for each origin: what counts, what is refused, and one probe."""

import pytest

from pipebus.errors import (
    BreakerOpen,
    CallCancelled,
    ClientError,
    ConnectError,
    PoolTimeout,
    ResponseTooLarge,
    TotalTimeout,
)
from pipebus.http.call_guard import Attempts, CallGuard
from pipebus.http.client import ClientCall, HttpClient
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import ClientLimits
from pipebus.resilience.circuit_breaker import Breakers
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock
from tests.core.http_client.world import OK, URL, World, only

POLICY = BreakerPolicy(min_calls=2, open_time=5.0, jitter=0.0)
OTHER = "http://10.0.0.2/"


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status


def new() -> World:
    return World(breaker=POLICY)


def fail(world: World, url: str = URL) -> ClientCall:
    call = world.call(url)
    world.refuse()
    assert isinstance(call.error, ConnectError)
    return call


def opened() -> World:
    world = new()
    fail(world)
    fail(world)
    assert states(world) == ["open"]
    return world


def states(world: World) -> list[str]:
    return [breaker.state for breaker in world.client.breakers]


def counted(world: World) -> tuple[int, int]:
    """Return how many failures, of how many calls, the one breaker has counted."""
    (breaker,) = world.client.breakers
    return breaker.failures, breaker.calls


def test_an_open_one_fails_a_call_at_once_without_a_slot_or_a_dial() -> None:
    world = opened()
    assert [(c.name, c.old, c.new, c.failures, c.calls) for c in world.changes] == [
        ("http://10.0.0.1:80", "closed", "open", 2, 2)
    ]
    world.wait(1.0)
    call = world.call()
    assert isinstance(call.error, BreakerOpen)
    assert call.error.retry_after == 4.0
    assert "10.0.0.1" in str(call.error)
    assert (world.connecting, world.client.pool.slots) == ([], 0)
    assert call.timings.total == 0.0
    assert world.client.stats.breaker_rejected == 1
    other = world.call(OTHER)
    assert other.state == "connecting"
    world.check_nothing_left()


def test_one_probe_and_then_all_are_served() -> None:
    world = opened()
    world.wait(5.0)
    probe, second = world.call(), world.call()
    assert probe.state == "connecting"
    assert isinstance(second.error, BreakerOpen)
    assert second.error.retry_after == 0.0
    world.feed(world.connect(), OK)
    assert [c.new for c in world.changes] == ["open", "half_open", "closed"]
    assert world.call().error is None


def test_a_probe_that_fails_and_one_that_is_cancelled() -> None:
    world = opened()
    world.wait(5.0)
    world.cancel(world.call())
    assert states(world) == ["half_open"]
    fail(world)
    assert states(world) == ["open"]
    assert world.changes[-1].retry_after == 5.0


@pytest.mark.parametrize(
    ("status", "failures"),
    [(200, 0), (404, 0), (429, 0), (501, 0), (500, 1), (502, 1), (503, 1), (504, 1)],
)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_responses(status: int, failures: int, whole: bool, stream: bool) -> None:
    world = new()
    world.call(stream=stream)
    conn = world.connect()
    data = answer(status)
    for piece in [data] if whole else [data[:20], data[20:]]:
        world.feed(conn, piece)
    assert counted(world) == (failures, 1)


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 2", OK[:-1], b"nonsense\r\n\r\n"])
def test_a_server_that_goes_or_breaks_the_protocol(received: bytes) -> None:
    world = new()
    call = world.call()
    conn = world.connect()
    if received:
        world.feed(conn, received)
    world.lose(conn)
    assert call.error is not None
    assert counted(world) == (1, 1)


@pytest.mark.parametrize("kind", ["connect", "write", "read", "total"])
def test_timeouts(kind: str) -> None:
    world = new()
    world.send_at_once = kind != "write"
    call = world.call(timeouts=only(**{kind: 1.0}))
    if kind != "connect":
        world.connect()
    world.wait(1.0)
    assert call.error is not None
    assert counted(world) == (1, 1)


def test_what_says_nothing_of_the_server() -> None:
    world = World(breaker=POLICY, max_connections=1, max_waiting=2, max_body=10)
    first = world.call()
    no_slot = world.call(timeouts=only(pool=1.0))
    no_time = world.call(timeouts=only(total=1.0))
    too_many = world.call()
    world.wait(1.0)
    assert isinstance(no_slot.error, PoolTimeout)
    assert isinstance(no_time.error, TotalTimeout)
    assert isinstance(too_many.error, PoolTimeout)
    world.feed(world.connect(), b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n")
    assert isinstance(first.error, ResponseTooLarge)
    cancelled = world.call()
    world.cancel(cancelled)
    assert isinstance(cancelled.error, CallCancelled)
    assert counted(world) == (0, 0)


def test_a_deadline_of_the_owners_counts_as_a_timeout() -> None:
    world = new()
    call = world.call()
    world.connect()
    world.client.expire(call, world.now)
    assert isinstance(call.error, TotalTimeout)
    assert counted(world) == (1, 1)
    world.client.expire(call, world.now)  # it has its end


def test_a_stream_is_judged_by_its_head() -> None:
    world = opened()
    world.wait(5.0)
    probe = world.call(stream=True)
    conn = world.connect()
    world.feed(conn, OK[:-1])
    assert not probe.done
    assert states(world) == ["closed"]
    world.lose(conn)  # nothing more is said
    assert counted(world) == (0, 0)


def test_a_second_try_at_once_is_one_call_for_the_breaker() -> None:
    world = new()
    conn = world.exchange()
    world.call()
    world.lose(conn)
    assert counted(world) == (0, 1)
    world.feed(world.connect(), OK)
    assert counted(world) == (0, 2)


def test_calls_from_before_the_opening_do_not_count() -> None:
    world = new()
    old = world.call()
    conn = world.connect()
    fail(world)
    fail(world)
    assert states(world) == ["open"]
    world.feed(conn, OK)
    assert old.response is not None
    assert states(world) == ["open"]


def test_after_a_failure_that_opens_it_no_retry_is_waited_for() -> None:
    world = World(breaker=POLICY, retry=RetryPolicy(base=1.0))
    first = world.call()
    world.refuse()
    assert first.state == "backoff"
    second = world.call()
    world.refuse()
    assert isinstance(second.error, ConnectError)  # for five seconds it would be refused
    world.wait(0.5)
    assert isinstance(first.error, ConnectError)
    assert (world.client.stats.breaker_rejected, world.client.stats.backoff_retries) == (1, 0)
    world.check_nothing_left()


def test_a_response_that_was_kept_is_given_when_the_breaker_has_opened() -> None:
    world = World(breaker=POLICY, retry=RetryPolicy(base=1.0))
    call = world.call()
    world.feed(world.connect(), answer(503))
    assert call.state == "backoff"
    conn = world.open[0]
    world.call(method="POST")
    world.feed(conn, answer(503))
    assert states(world) == ["open"]
    world.wait(0.5)
    assert call.response is not None
    assert call.response.status == 503
    assert call.response.timings is call.timings


def test_a_client_that_is_closed_asks_no_breaker() -> None:
    world = opened()
    world.client.close(world.now)
    late: ClientError | None = world.call().error
    assert isinstance(late, CallCancelled)


def test_origins_beyond_the_table_have_no_breaker() -> None:
    guard = CallGuard(POLICY, None, lambda: 0.5, WallClock())
    guard.breakers = Breakers(POLICY, lambda: 0.5, limit=1)
    known, unknown = Attempts(), Attempts()
    assert guard.begin(known, "a", 0.0) is None
    guard.record(known, False, 0.0)
    assert guard.begin(unknown, "b", 0.0) is None
    assert (unknown.breaker, unknown.ticket, guard.breakers.unguarded) == (None, 0, 1)
    guard.record(unknown, False, 0.0)


@pytest.mark.parametrize("policies", [{"breaker": POLICY}, {"retry": RetryPolicy()}])
def test_a_policy_needs_randomness(policies: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="need `random`"):
        HttpClient(
            ClientLimits(), H11Codec(), TimerQueue(), id_prefix="t", **policies  # type: ignore[arg-type]  # by name
        )  # fmt: skip


def test_without_a_policy_there_are_none() -> None:
    assert World().client.breakers == []
    assert World(retry=RetryPolicy()).client.breakers == []
