import pytest

from pipebus.bus.bus import Bus
from pipebus.bus.diagnostics import EventsDropped, HandlerError
from pipebus.bus.event import Event
from pipebus.bus.publisher import Publisher
from pipebus.bus.subscription import Filter, Kind, Overflow
from pipebus.errors import LocalProtocolError, RegistrationError, WouldBlock
from pipebus.limits import Limits
from pipebus.telemetry.trace import TraceContext
from tests.core.bus.kit import check_balance, data_of, make_bus, open_one, outputs, take_all


@pytest.fixture
def bus() -> Bus:
    return make_bus(Limits(subscription_queue=2, responder_queue=2))[0]


@pytest.fixture
def alice() -> Publisher:
    return Publisher("alice")


def publish(bus: Bus, publisher: Publisher, *data: object, topic: str = "a") -> None:
    for one in data:
        bus.publish(topic, one, 0.0, publisher=publisher)


# --- the event ---


def test_an_event_says_where_it_comes_from(bus: Bus, alice: Publisher) -> None:
    data = {"n": 1}
    event = bus.publish("a.b", data, 7.0, publisher=alice, subject="order/1", metadata={"k": "v"})
    assert event == Event(
        "e-1", "alice", "a.b", 5_007.0, data, "order/1", "e-1", metadata={"k": "v"}
    )
    assert event.data is data


def test_metadata_is_a_read_only_copy(bus: Bus, alice: Publisher) -> None:
    mine = {"k": "v"}
    event = bus.publish("a", None, 0.0, publisher=alice, metadata=mine)
    mine["k"] = "changed"
    assert event.metadata["k"] == "v"
    with pytest.raises(TypeError):
        event.metadata["k"] = "x"  # type: ignore[index] # the point of the test


def test_what_an_event_caused_belongs_to_the_same_request(bus: Bus, alice: Publisher) -> None:
    first = bus.publish("a", None, 0.0, publisher=alice, trace=TraceContext("00-1"))
    second = bus.publish("b", None, 0.0, publisher=alice, cause=first)
    third = bus.publish_nowait("c", None, 0.0, publisher=alice, cause=second)
    assert [e.correlation_id for e in (first, second, third)] == ["e-1"] * 3
    assert [e.causation_id for e in (first, second, third)] == ["", "e-1", "e-2"]
    assert [e.traceparent for e in (first, second, third)] == ["00-1"] * 3


def test_what_is_given_goes_before_what_the_cause_has(bus: Bus, alice: Publisher) -> None:
    cause = bus.publish("a", None, 0.0, publisher=alice, trace=TraceContext("00-1"))
    event = bus.publish(
        "b",
        None,
        0.0,
        publisher=alice,
        cause=cause,
        correlation_id="mine",
        trace=TraceContext("00-2"),
    )
    assert (event.correlation_id, event.causation_id, event.traceparent) == ("mine", "e-1", "00-2")


def test_a_cause_from_elsewhere_may_belong_to_nothing(bus: Bus, alice: Publisher) -> None:
    event = bus.publish("b", None, 0.0, publisher=alice, cause=Event("x-9", "", "t", 0.0, None))
    assert (event.correlation_id, event.causation_id) == ("e-1", "x-9")


def test_a_bad_topic_is_refused_before_anything_happens(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe(">", 0.0)
    for publish_it in (bus.publish, bus.publish_nowait):
        with pytest.raises(ValueError, match="bad topic"):
            publish_it("a.*", None, 0.0, publisher=alice)
    assert (sub.matched, bus.counts.published) == (0, 0)


# --- delivery ---


def test_events_come_in_order_to_all_that_match(bus: Bus, alice: Publisher) -> None:
    every, some = bus.subscribe(">", 0.0), bus.subscribe("a.*", 0.0)
    publish(bus, alice, 1, topic="a.x")
    publish(bus, alice, 2, topic="b.x")
    assert data_of(take_all(bus, every)) == [1, 2]
    assert data_of(take_all(bus, some)) == [1]
    assert (bus.counts.published, bus.counts.delivered) == (2, 3)
    assert not alice.paused


def test_a_subscription_is_an_output_only_when_it_was_empty(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, 1, 2)
    assert outputs(bus) == [sub]
    assert data_of([bus.take(sub, 0.0) or pytest.fail("empty")]) == [1]
    publish(bus, alice, 3)
    assert outputs(bus) == [], "whoever takes goes on until there is nothing"
    assert data_of(take_all(bus, sub)) == [2, 3]
    publish(bus, alice, 4)
    assert outputs(bus) == [sub]


def test_the_last_one_taken_does_not_make_it_idle(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, 1)
    outputs(bus)
    bus.take(sub, 0.0)
    publish(bus, alice, 2)
    assert outputs(bus) == [], "its handler runs, and will take again"


def test_listens_says_whether_data_is_worth_building(bus: Bus) -> None:
    assert not bus.listens("a")
    sub = bus.subscribe("a", 0.0)
    assert bus.listens("a")
    bus.close(sub, 0.0)
    assert not bus.listens("a")


def test_late_subscribers_get_later_events_only(bus: Bus, alice: Publisher) -> None:
    publish(bus, alice, 1)
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, 2)
    assert data_of(take_all(bus, sub)) == [2]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"source": "alice"}, [1, 3, 4]),
        ({"subject": "s"}, [2, 3]),
        ({"metadata.k": "v"}, [3, 4]),
        ({"source": "alice", "subject": "s", "metadata.k": "v"}, [3]),
        ({"metadata.k": "v", "metadata.l": "w"}, [4]),
        ({"source": "nobody"}, []),
    ],
)
def test_filters(bus: Bus, alice: Publisher, where: dict[str, str], expected: list[int]) -> None:
    sub = bus.subscribe("a", 0.0, where=where, maxsize=9)
    bus.publish("a", 1, 0.0, publisher=alice)
    bus.publish("a", 2, 0.0, publisher=Publisher("bob"), subject="s")
    bus.publish("a", 3, 0.0, publisher=alice, subject="s", metadata={"k": "v"})
    bus.publish("a", 4, 0.0, publisher=alice, metadata={"k": "v", "l": "w"})
    assert data_of(take_all(bus, sub)) == expected
    assert sub.matched == len(expected)


@pytest.mark.parametrize("attribute", ["", "data", "metadata", "metadata.", "type", "Source"])
def test_a_filter_on_anything_else_is_refused(attribute: str) -> None:
    with pytest.raises(RegistrationError, match="use source, subject or metadata"):
        Filter({attribute: "x"})


def test_what_a_filter_keeps_out_does_not_meet_the_full_queue(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0, where={"subject": "s"}, maxsize=1)
    bus.publish("a", 1, 0.0, publisher=alice, subject="s")
    bus.publish("a", 2, 0.0, publisher=alice)
    bus.publish_nowait("a", 3, 0.0, publisher=alice)
    assert (sub.matched, sub.parked, alice.paused) == (1, 0, False)


# --- registration ---


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("subscriber", None, "block"),
        ("subscriber", "drop_newest", "drop_newest"),
        ("tap", None, "drop_oldest"),
        ("tap", "drop_newest", "drop_newest"),
    ],
)
def test_overflow_defaults(
    bus: Bus, kind: Kind, given: Overflow | None, expected: Overflow
) -> None:
    sub = bus.subscribe("a", 0.0, kind=kind, overflow=given)
    assert (sub.overflow, sub.maxsize) == (expected, 2)


def test_registrations_that_cannot_be(bus: Bus) -> None:
    with pytest.raises(RegistrationError, match="a tap never makes anyone wait"):
        bus.subscribe("a", 0.0, kind="tap", overflow="block")
    with pytest.raises(RegistrationError, match="at least 1 event, not 0"):
        bus.subscribe("a", 0.0, maxsize=0)
    with pytest.raises(RegistrationError, match="bad pattern"):
        bus.subscribe("a..b", 0.0)


def test_ids_are_never_given_twice(bus: Bus) -> None:
    first = bus.subscribe("a", 0.0)
    bus.close(first, 0.0)
    assert bus.subscribe("a", 0.0).id != first.id


# --- full queues ---


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [1, 2])])
def test_lossy_queues_count_what_they_lose(
    bus: Bus, alice: Publisher, overflow: Overflow, kept: list[int]
) -> None:
    sub = bus.subscribe("a", 0.0, overflow=overflow)
    publish(bus, alice, 1, 2, 3, 4)
    assert not alice.paused
    assert sub.dropped == bus.counts.dropped == {"overflow": 2}
    assert data_of(take_all(bus, sub)) == kept
    check_balance(sub)


def test_a_full_lossless_queue_parks_and_nothing_is_lost(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, 1, 2)
    assert (alice.paused, outputs(bus)) == (False, [sub])
    publish(bus, alice, 3, 4)
    assert (alice.paused, alice.parked, sub.queued, sub.parked) == (True, 2, 2, 2)
    bus.take(sub, 0.0)
    assert (alice.paused, outputs(bus)) == (True, [])
    bus.take(sub, 0.0)
    assert (alice.paused, outputs(bus)) == (False, [alice])
    assert data_of(take_all(bus, sub)) == [3, 4]
    check_balance(sub)


def test_parked_events_enter_in_the_order_they_came_over_all_publishers(bus: Bus) -> None:
    sub = bus.subscribe("a", 0.0, maxsize=1)
    alice, bob = Publisher("alice"), Publisher("bob")
    publish(bus, alice, "a1", "a2")
    publish(bus, bob, "b1")
    publish(bus, alice, "a3")
    assert data_of(take_all(bus, sub)) == ["a1", "a2", "b1", "a3"]
    assert outputs(bus) == [sub, bob, alice]


def test_nobody_slips_in_between_a_take_and_what_is_parked(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, 1, 2, 3)
    bus.take(sub, 0.0)
    with pytest.raises(WouldBlock):
        bus.publish_nowait("a", "late", 0.0, publisher=Publisher("bob"))
    assert data_of(take_all(bus, sub)) == [2, 3]


def test_only_the_publisher_waits(bus: Bus, alice: Publisher) -> None:
    full, roomy = bus.subscribe("a", 0.0, maxsize=1), bus.subscribe("a", 0.0, maxsize=9)
    publish(bus, alice, 1, 2)
    publish(bus, Publisher("bob"), "elsewhere", topic="b")
    assert data_of(take_all(bus, roomy)) == [1, 2]
    assert (alice.parked, full.parked) == (1, 1)


def test_a_publisher_resumes_when_the_last_of_its_places_is_empty(
    bus: Bus, alice: Publisher
) -> None:
    one, two = bus.subscribe("a", 0.0, maxsize=1), bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, 1, 2)
    outputs(bus)
    take_all(bus, one)
    assert (alice.paused, outputs(bus)) == (True, [])
    take_all(bus, two)
    assert (alice.paused, outputs(bus)) == (False, [alice])


def test_who_pauses_again_before_it_was_told_is_told_once(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, 1, 2)
    outputs(bus)
    bus.take(sub, 0.0)
    publish(bus, alice, 3)
    assert (alice.paused, outputs(bus)) == (True, [])
    bus.take(sub, 0.0)
    publish(bus, alice, 4)
    bus.take(sub, 0.0)
    assert outputs(bus) == [alice]


def test_publish_nowait_delivers_to_all_or_none(bus: Bus, alice: Publisher) -> None:
    before, full, after = (bus.subscribe("a", 0.0, maxsize=n) for n in (9, 1, 9))
    bus.publish_nowait("a", 1, 0.0, publisher=alice)
    with pytest.raises(WouldBlock, match="queue of 'a' is full"):
        bus.publish_nowait("a", 2, 0.0, publisher=alice)
    assert [sub.matched for sub in (before, full, after)] == [1, 1, 1]
    assert (bus.counts.published, alice.paused) == (1, False)


def test_publish_nowait_never_blocks_on_lossy_queues(bus: Bus, alice: Publisher) -> None:
    tap = bus.subscribe("a", 0.0, kind="tap")
    for n in range(5):
        bus.publish_nowait("a", n, 0.0, publisher=alice)
    assert data_of(take_all(bus, tap)) == [3, 4]


# --- withdrawing and closing ---


def test_withdraw_drops_what_one_publisher_parked_and_no_more(bus: Bus, alice: Publisher) -> None:
    sub, bob = bus.subscribe("a", 0.0, maxsize=1), Publisher("bob")
    notices = bus.subscribe("pipebus.>", 0.0)
    publish(bus, alice, "a1", "a2")
    publish(bus, bob, "b1")
    publish(bus, alice, "a3")
    outputs(bus)
    bus.withdraw(alice, "publish_timeout", 0.0)
    assert (alice.paused, bob.paused) == (False, True)
    assert sub.dropped == {"publish_timeout": 2}
    assert outputs(bus) == [alice, notices]
    assert data_of(take_all(bus, sub)) == ["a1", "b1"]
    check_balance(sub)
    (notice,) = take_all(bus, notices)
    assert notice.type == "pipebus.events.dropped"
    assert notice.data == EventsDropped("alice", "publish_timeout", 2)


def test_withdrawing_nothing_is_nothing(bus: Bus, alice: Publisher) -> None:
    notices = bus.subscribe("pipebus.>", 0.0)
    bus.withdraw(alice, "cancelled", 0.0)
    assert (outputs(bus), notices.matched) == ([], 0)


def test_withdraw_is_silent_where_nobody_listens(bus: Bus, alice: Publisher) -> None:
    bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, 1, 2)
    bus.withdraw(alice, "cancelled", 0.0)
    assert bus.counts.published == 2


def test_close_drops_all_and_lets_publishers_go(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, 1, 2, 3)
    bus.close(sub, 0.0)
    assert outputs(bus) == [alice], "a closed subscription is no output"
    assert (sub.closed, sub.dropped) == (True, {"closed": 3})
    publish(bus, alice, 4)
    assert bus.take(sub, 0.0) is None
    bus.close(sub, 0.0)
    check_balance(sub)


def test_a_consumer_may_close_itself_while_its_event_is_handled(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, 1, 2)
    bus.take(sub, 0.0)
    bus.close(sub, 0.0)
    assert bus.take(sub, 0.0) is None
    assert (sub.delivered, sub.dropped) == (1, {"closed": 1})


# --- diagnostics ---


def test_diagnostics_never_park(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("pipebus.>", 0.0, maxsize=1)
    publish(bus, alice, 1, 2, topic="pipebus.x")
    bus.publish_nowait("pipebus.x", 3, 0.0, publisher=alice)
    assert not alice.paused
    assert sub.dropped == {"diagnostic": 2}
    check_balance(sub)


def test_a_handlers_error_is_published_once_and_never_recursively(
    bus: Bus, alice: Publisher
) -> None:
    errors = bus.subscribe("pipebus.handler.error", 0.0)
    event = bus.publish("a", None, 0.0, publisher=alice)
    bus.handler_error(ValueError("no"), event, "audit", 1.0)
    (notice,) = take_all(bus, errors)
    assert notice.data == HandlerError("audit", "a", event.id, "ValueError", "no")
    assert (notice.source, notice.causation_id) == ("pipebus", event.id)
    bus.handler_error(ValueError("again"), notice, "errors", 1.0)
    assert take_all(bus, errors) == []
    assert bus.counts.handler_errors == 2


def test_a_handlers_error_without_listeners_is_only_counted(bus: Bus, alice: Publisher) -> None:
    event = bus.publish("a", None, 0.0, publisher=alice)
    bus.handler_error(ValueError("no"), event, "audit", 1.0)
    assert (bus.counts.handler_errors, bus.counts.published) == (1, 1)


# --- leases ---


class CountedLease:
    def __init__(self) -> None:
        self.holders = 1

    def retain(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1


def test_a_lease_is_held_until_the_last_place_lets_go(bus: Bus, alice: Publisher) -> None:
    queued, parked = bus.subscribe("a", 0.0), bus.subscribe("a", 0.0, maxsize=1)
    publish(bus, alice, "before")
    bus.take(queued, 0.0)
    lease = CountedLease()
    bus.hold(bus.publish("a", "body", 0.0, publisher=alice), lease)
    assert (lease.holders, alice.parked) == (2, 1)
    assert data_of(take_all(bus, queued)) == ["body"]
    assert lease.holders == 2
    bus.take(parked, 0.0)
    assert lease.holders == 2, "it moved from its parked place into the queue"
    bus.take(parked, 0.0)
    assert lease.holders == 1


@pytest.mark.parametrize("end", ["close", "withdraw", "overflow", "shutdown"])
def test_a_lease_is_let_go_however_the_event_is_lost(bus: Bus, alice: Publisher, end: str) -> None:
    sub = bus.subscribe("a", 0.0, maxsize=1, overflow="drop_oldest" if end == "overflow" else None)
    if end == "withdraw":
        publish(bus, alice, "before")
    lease = CountedLease()
    bus.hold(bus.publish("a", "body", 0.0, publisher=alice), lease)
    assert lease.holders == 2
    if end == "close":
        bus.close(sub, 0.0)
    elif end == "withdraw":
        bus.withdraw(alice, "cancelled", 0.0)
    elif end == "overflow":
        publish(bus, alice, "next")
    else:
        bus.shutdown(0.0)
    assert lease.holders == 1
    assert bus._leases == {}


def test_an_event_that_is_nowhere_holds_nothing(bus: Bus, alice: Publisher) -> None:
    bus.subscribe("a", 0.0, where={"source": "bob"})
    bus.subscribe("a", 0.0, maxsize=1, overflow="drop_newest")
    publish(bus, alice, "before")
    lease = CountedLease()
    bus.hold(bus.publish("a", "body", 0.0, publisher=alice), lease)
    assert lease.holders == 1


def test_a_request_is_held_like_any_event(bus: Bus) -> None:
    sub = bus.subscribe("q", 0.0)
    lease = CountedLease()
    bus.hold(open_one(bus).request, lease)
    other = CountedLease()
    bus.hold(open_one(bus).request, other)
    bus.take(sub, 0.0)
    assert (lease.holders, other.holders) == (1, 2)


def test_events_without_a_lease_pass_by_those_with_one(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    publish(bus, alice, "free")
    lease = CountedLease()
    bus.hold(bus.publish("a", "body", 0.0, publisher=alice), lease)
    bus.take(sub, 0.0)
    assert lease.holders == 2


def test_holding_an_event_twice_is_misuse(bus: Bus, alice: Publisher) -> None:
    bus.subscribe("a", 0.0)
    event = bus.publish("a", None, 0.0, publisher=alice)
    bus.hold(event, CountedLease())
    with pytest.raises(LocalProtocolError, match="held already"):
        bus.hold(event, CountedLease())


def test_names_in_reprs(bus: Bus, alice: Publisher) -> None:
    sub = bus.subscribe("a", 0.0)
    assert repr(alice) == "<Publisher alice parked=0>"
    assert repr(sub) == "<Subscription subscription-1 subscriber a queued=0>"
