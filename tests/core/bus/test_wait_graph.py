from collections.abc import Iterator

import pytest

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group
from pipebus.bus.subscription import Subscription
from pipebus.bus.wait_graph import find_cycle
from pipebus.errors import WouldDeadlock
from tests.core.bus.kit import FAR, check_balance, make_bus, open_one, outputs


@pytest.fixture
def bus() -> Bus:
    return make_bus()[0]


def handled(bus: Bus, topic: str, handler: Publisher | None) -> Subscription:
    """A full lossless queue of one, whose last event `handler` has in hand."""
    sub = bus.subscribe(topic, 0.0, maxsize=1)
    sub.runner = handler
    bus.publish(topic, "fills it", 0.0, publisher=Publisher("filler"))
    return sub


def park(bus: Bus, publisher: Publisher, topic: str) -> None:
    bus.publish(topic, None, 0.0, publisher=publisher)
    assert publisher.paused


def group_of(bus: Bus, topic: str, concurrency: int) -> Group:
    group = bus.group(topic)
    bus.add_responder(group, concurrency=concurrency, handler=None)
    return group


def answered(bus: Bus, topic: str, by: Publisher | None, caller: Publisher) -> Exchange:
    exchange = bus.open(topic, None, 0.0, deadline=FAR, publisher=caller)
    assert exchange.state == "running"
    exchange.answering = by
    return exchange


def test_a_subscriber_that_publishes_to_its_own_full_queue(bus: Bus) -> None:
    audit = Publisher("audit")
    sub = handled(bus, "a", audit)
    other = bus.subscribe("a", 0.0, kind="tap")
    published = bus.counts.published
    with pytest.raises(WouldDeadlock) as caught:
        bus.publish("a", None, 0.0, publisher=audit)
    assert caught.value.path == ("audit", "a", "audit")
    assert (sub.matched, other.matched, bus.counts.published) == (1, 0, published)
    assert not audit.paused
    check_balance(sub)


def test_two_subscribers_that_fill_each_other(bus: Bus) -> None:
    one, two = Publisher("one"), Publisher("two")
    handled(bus, "a", one)
    handled(bus, "b", two)
    park(bus, one, "b")
    with pytest.raises(WouldDeadlock) as caught:
        bus.publish("a", None, 0.0, publisher=two)
    assert caught.value.path == ("two", "a", "one", "b", "two")


def test_any_one_of_several_places_is_enough(bus: Bus) -> None:
    one, two = Publisher("one"), Publisher("two")
    handled(bus, "x", None)
    park(bus, one, "x")
    handled(bus, "a", one)
    handled(bus, "b", two)
    park(bus, one, "b")
    with pytest.raises(WouldDeadlock):
        bus.publish("a", None, 0.0, publisher=two)


def test_a_queue_that_nobody_handles_now_will_be_handled(bus: Bus) -> None:
    handled(bus, "a", None)
    park(bus, Publisher("p"), "a")


def test_a_handler_that_waits_for_nothing_will_finish(bus: Bus) -> None:
    handled(bus, "a", Publisher("busy"))
    park(bus, Publisher("p"), "a")


def test_lossy_queues_and_publish_nowait_never_wait(bus: Bus) -> None:
    me = Publisher("me")
    sub = bus.subscribe("a", 0.0, kind="tap", maxsize=1)
    sub.runner = me
    for _ in range(3):
        bus.publish("a", None, 0.0, publisher=me)
    assert not me.paused


def test_a_responder_that_asks_its_own_full_group(bus: Bus) -> None:
    group_of(bus, "q", 1)
    worker = Publisher("worker")
    outer = answered(bus, "q", worker, Publisher("caller"))
    watcher = bus.subscribe("q", 0.0)
    opened = bus.counts.opened
    with pytest.raises(WouldDeadlock) as caught:
        bus.open("q", None, 0.0, deadline=FAR, publisher=worker, cause=outer.request)
    assert caught.value.path == ("worker", "q", "q", "worker")
    assert (bus.counts.opened, watcher.matched, bus.open_exchanges) == (opened, 0, 1)
    assert [o for o in outputs(bus) if o is not outer] == []


def test_a_group_is_stuck_only_if_all_that_run_lead_back(bus: Bus) -> None:
    group = group_of(bus, "q", 2)
    one, two = Publisher("one"), Publisher("two")
    answered(bus, "q", one, Publisher("caller"))
    answered(bus, "q", two, Publisher("caller"))
    nested = bus.open("q", None, 0.0, deadline=FAR, publisher=one)
    assert nested.state == "queued", "two may still finish"
    one.waits_on = nested
    with pytest.raises(WouldDeadlock) as caught:
        bus.open("q", None, 0.0, deadline=FAR, publisher=two)
    assert caught.value.path == ("two", "q", "q", "two")
    assert list(group.queue) == [nested]


def test_through_a_request_and_a_queue(bus: Bus) -> None:
    """A subscriber awaits a reply, whose responder publishes to that subscriber's full queue."""
    group_of(bus, "q", 5)
    subscriber, worker = Publisher("subscriber"), Publisher("worker")
    handled(bus, "a", subscriber)
    subscriber.waits_on = answered(bus, "q", worker, subscriber)
    with pytest.raises(WouldDeadlock) as caught:
        bus.publish("a", None, 0.0, publisher=worker)
    assert caught.value.path == ("worker", "a", "subscriber", "q", "worker")


@pytest.mark.parametrize("why", ["ended", "streaming", "unknown answerer", "released"])
def test_a_request_that_holds_nobody_up(bus: Bus, why: str) -> None:
    group_of(bus, "q", 5)
    subscriber, worker = Publisher("subscriber"), Publisher("worker")
    handled(bus, "a", subscriber)
    exchange = answered(bus, "q", None if why == "unknown answerer" else worker, subscriber)
    subscriber.waits_on = None if why == "released" else exchange
    if why == "ended":
        bus.reply(exchange, None, 0.0)
    elif why == "streaming":
        bus.start_reply(exchange, 0.0)
    park(bus, worker, "a")


def test_a_handler_that_outlives_its_request_will_give_its_slot_back(bus: Bus) -> None:
    group_of(bus, "q", 2)
    worker = Publisher("worker")
    overdue = answered(bus, "q", Publisher("slow"), Publisher("caller"))
    answered(bus, "q", worker, Publisher("caller"))
    outputs(bus)
    bus.cancel(overdue, "caller", 0.0)
    assert bus.open("q", None, 0.0, deadline=FAR, publisher=worker).state == "queued"


def test_the_wait_of_others_for_themselves_is_not_mine(bus: Bus) -> None:
    """An edge that was set too late to be refused makes a circle of two; a third may wait there."""
    one, two = Publisher("one"), Publisher("two")
    a = handled(bus, "a", None)
    handled(bus, "b", two)
    park(bus, two, "a")
    park(bus, one, "b")
    a.runner = one
    stranger = Publisher("stranger")
    park(bus, stranger, "a")
    assert find_cycle(two, a) == ("two", "a", "one", "b", "two")


def test_two_ways_to_one_that_goes_on(bus: Bus) -> None:
    """Both places of a publisher are handled by the same one, which is met twice."""
    worker, busy = Publisher("worker"), Publisher("busy")
    handled(bus, "x", busy)
    handled(bus, "y", busy)
    park(bus, worker, "x")
    park(bus, worker, "y")
    handled(bus, "a", worker)
    park(bus, Publisher("p"), "a")


def test_a_group_goes_on_as_soon_as_one_that_runs_does(bus: Bus) -> None:
    group_of(bus, "q", 3)
    stuck, me, busy = Publisher("stuck"), Publisher("me"), Publisher("busy")
    handled(bus, "mine", me)
    answered(bus, "q", stuck, Publisher("caller"))
    park(bus, stuck, "mine")
    answered(bus, "q", busy, Publisher("caller"))
    answered(bus, "q", None, Publisher("caller"))
    assert bus.open("q", None, 0.0, deadline=FAR, publisher=me).state == "queued"


def test_a_group_in_which_all_wait_for_the_group_and_one_for_me(bus: Bus) -> None:
    group_of(bus, "q", 3)
    workers = [Publisher(f"w{n}") for n in range(3)]
    for worker in workers:
        answered(bus, "q", worker, Publisher("caller"))
    for worker in workers[:2]:
        worker.waits_on = bus.open("q", None, 0.0, deadline=FAR, publisher=worker)
    with pytest.raises(WouldDeadlock):
        bus.open("q", None, 0.0, deadline=FAR, publisher=workers[2])


def test_one_that_goes_on_is_enough_to_stop_looking(bus: Bus) -> None:
    """A busy group of a thousand must not cost a thousand steps for every request that queues."""
    group_of(bus, "q", 1_000)
    for n in range(1_000):
        answered(bus, "q", Publisher(f"w{n}"), Publisher("caller"))
    looked_at = 0

    class Looked(dict[Exchange, None]):
        def __iter__(self) -> Iterator[Exchange]:
            nonlocal looked_at
            for exchange in super().__iter__():
                looked_at += 1
                yield exchange

    group = bus._router.find("q").group
    assert group is not None
    group.active = Looked(group.active)
    assert open_one(bus).state == "queued"
    assert looked_at == 1


def test_a_request_whose_event_would_park_behind_its_own_handler_is_not_opened(bus: Bus) -> None:
    group_of(bus, "q", 5)
    watcher = Publisher("watcher")
    sub = bus.subscribe("q", 0.0, maxsize=1)
    sub.runner = watcher
    open_one(bus)
    with pytest.raises(WouldDeadlock) as caught:
        open_one(bus, publisher=watcher)
    assert caught.value.path == ("watcher", "q", "watcher")
    assert (bus.counts.opened, bus.open_exchanges, sub.matched, watcher.paused) == (1, 1, 1, False)


def test_the_chain_goes_round_what_goes_on(bus: Bus) -> None:
    """The worker waits for two things: one leads to me, the other goes on although I am in it."""
    group_of(bus, "q", 1)
    group_of(bus, "r", 2)
    me, worker = Publisher("me"), Publisher("worker")
    answered(bus, "q", worker, Publisher("caller"))
    answered(bus, "r", me, Publisher("caller"))
    answered(bus, "r", Publisher("busy"), Publisher("caller"))
    handled(bus, "mine", me)
    park(bus, worker, "mine")
    worker.waits_on = bus.open("r", None, 0.0, deadline=FAR, publisher=worker)
    with pytest.raises(WouldDeadlock) as caught:
        bus.open("q", None, 0.0, deadline=FAR, publisher=me)
    assert caught.value.path == ("me", "q", "q", "worker", "mine", "me")


def test_a_chain_as_long_as_it_likes(bus: Bus) -> None:
    depth = 3_000
    group = group_of(bus, "q", depth)
    workers = [Publisher(f"w{n}") for n in range(depth)]
    for caller, worker in zip([Publisher("first"), *workers], workers, strict=False):
        caller.waits_on = answered(bus, "q", worker, caller)
    assert open_one(bus).state == "queued"
    with pytest.raises(WouldDeadlock) as caught:
        bus.open("q", None, 0.0, deadline=FAR, publisher=workers[-1])
    assert (caught.value.path[0], caught.value.path[-1]) == ("w2999", "w2999")
    assert len(group.queue) == 1
