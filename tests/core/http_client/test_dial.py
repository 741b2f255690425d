import pytest

from pipebus.errors import ConnectError, ConnectTimeout
from pipebus.http.dial import interleave
from pipebus.limits import Timeouts
from tests.core.http_client.world import OK, World

NAMED = "http://a.example/x"
V6_1, V6_2, V4_1, V4_2 = ("::1", 80), ("::2", 80), ("10.0.0.1", 80), ("10.0.0.2", 80)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], []),
        ([V4_1], [V4_1]),
        ([V6_1, V6_2, V4_1], [V6_1, V4_1, V6_2]),
        ([V4_1, V4_2, V6_1, V6_2], [V4_1, V6_1, V4_2, V6_2]),
        ([V4_1, V6_1, V6_2], [V4_1, V6_1, V6_2]),
        ([V4_1, V4_1, V6_1, V4_1], [V4_1, V6_1]),
    ],
)
def test_interleave(addresses: list[tuple[str, int]], expected: list[tuple[str, int]]) -> None:
    assert interleave(addresses) == expected


def test_a_name_is_resolved_and_the_first_address_tried() -> None:
    world = World()
    call = world.call("https://a.example:444/x")
    assert call.state == "resolving"
    (resolve,) = world.resolving
    assert (resolve.host, resolve.port) == ("a.example", 444)
    world.resolve(("::1", 444), ("10.0.0.1", 444))
    assert call.state == "connecting"
    (connect,) = world.connecting
    assert (connect.address, connect.host, connect.tls) == (("::1", 444), "a.example", True)
    world.feed(world.connect(), OK)
    assert call.error is None
    assert world.abandoned == []
    world.check_nothing_left()


def test_an_address_and_a_socket_path_are_not_resolved() -> None:
    world = World()
    world.call("http://[::1]:81/")
    world.call("http+unix://%2Frun%2Fx/")
    assert world.resolving == []
    assert [c.address for c in world.connecting] == [("::1", 81), "/run/x"]


def test_addresses_are_tried_staggered_and_the_first_wins() -> None:
    world = World(connect_stagger=0.25)
    call = world.call(NAMED)
    world.resolve(V6_1, V6_2, V4_1)
    world.wait(0.24)
    assert [c.address for c in world.connecting] == [V6_1]
    world.wait(0.01)
    assert [c.address for c in world.connecting] == [V6_1, V4_1]
    world.wait(0.25)
    assert [c.address for c in world.connecting] == [V6_1, V4_1, V6_2]
    assert world.timers.next_deadline() is None
    losers = [world.connecting[i].attempt_id for i in (0, 2)]
    world.connect(1)
    assert world.abandoned == losers
    assert call.state == "reading head"
    assert world.client.pool.slots == 1
    # A loser that came in all the same is not wanted any more.
    assert world.client.connected(losers[0], world.now) is None
    world.client.connect_failed(losers[1], OSError("late"), world.now)
    assert world.client.next_output() is None
    assert call.error is None
    world.check_nothing_left()


def test_a_failed_attempt_starts_the_next_at_once() -> None:
    world = World()
    world.call(NAMED)
    world.resolve(V6_1, V4_1)
    world.refuse()
    assert [c.address for c in world.connecting] == [V4_1]
    world.wait(10)
    assert len(world.connecting) == 1


def test_the_stagger_counts_from_the_last_start() -> None:
    world = World()
    world.call(NAMED)
    world.resolve(V6_1, V4_1, V6_2)
    world.wait(0.2)
    world.refuse()
    world.wait(0.2)
    assert [c.address for c in world.connecting] == [V4_1]
    world.wait(0.05)
    assert [c.address for c in world.connecting] == [V4_1, V6_2]


def test_all_failed_names_each() -> None:
    world = World()
    call = world.call(NAMED)
    world.resolve(V6_1, V4_1)
    world.refuse(reason="no route")
    assert not call.done
    world.client.connect_failed(world.connecting.pop().attempt_id, TimeoutError(), world.now)
    world.pump()
    assert isinstance(call.error, ConnectError)
    assert str(call.error) == (
        "cannot connect to http://a.example:80: [::1]:80: no route; 10.0.0.1:80: TimeoutError"
    )
    assert isinstance(call.error.__cause__, TimeoutError)
    assert world.client.stats.connect_failures == 1
    world.check_nothing_left()


def test_a_socket_path_that_fails_is_named() -> None:
    world = World()
    call = world.call("http+unix://%2Frun%2Fx/")
    world.refuse(reason="no such file")
    assert str(call.error) == "cannot connect to http+unix:///run/x: /run/x: no such file"


def test_resolution_that_fails_or_is_empty() -> None:
    world = World()
    call = world.call(NAMED)
    world.client.resolve_failed(world.resolving.pop().id, OSError("no such name"), world.now)
    world.pump()
    assert isinstance(call.error, ConnectError)
    assert "resolving a.example: no such name" in str(call.error)
    call = world.call(NAMED)
    world.resolve()
    assert "it has no address" in str(call.error)
    world.client.resolved("unknown", [V4_1], world.now)
    world.client.resolve_failed("unknown", OSError(), world.now)
    world.pump()
    assert world.connecting == []
    world.check_nothing_left()


def test_connect_timeout_covers_resolution_and_every_attempt() -> None:
    world = World()
    timeouts = Timeouts(connect=1.0, write=None, read=None, pool=None, total=None)
    resolving = world.call(NAMED, timeouts=timeouts)
    connecting = world.call("http://b.example/", timeouts=timeouts)
    late = world.resolving[0].id
    world.client.resolved(world.resolving[1].id, [V6_1, V4_1], world.now)
    world.pump()
    world.wait(0.99)
    assert not resolving.done
    assert not connecting.done
    world.wait(0.01)
    assert isinstance(resolving.error, ConnectTimeout)
    assert isinstance(connecting.error, ConnectTimeout)
    assert len(world.abandoned) == 2
    world.client.resolved(late, [V4_1], world.now)
    world.pump()
    assert world.connecting == []
    world.check_nothing_left()
    assert world.client.stats.connect_failures == 2


def test_an_early_call_of_a_dials_timer_does_nothing() -> None:
    world = World()
    world.call(NAMED, timeouts=Timeouts(connect=1.0))
    world.resolve(V6_1, V4_1)
    dial = world.timers.next_due(world.now + 0.25)
    assert dial is not None
    dial.handle_timeout(world.now + 0.2)
    world.pump()
    assert len(world.connecting) == 1
