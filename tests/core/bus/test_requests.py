import pytest

from pipebus.bus.diagnostics import ReplyDiscarded
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group, Responder
from pipebus.errors import LocalProtocolError, RegistrationError
from pipebus.limits import INFINITY, Limits
from tests.core.bus.kit import FAR, fire, make_bus, open_one, outputs, take_all


class Answering:
    """A bus with one group `q` of responders, driven as an engine would."""

    def __init__(self, *concurrency: int | None, queue: int = 2) -> None:
        self.bus, self.timers = make_bus(Limits(responder_queue=queue))
        self.group: Group = self.bus.group("q")
        self.responders = [
            self.bus.add_responder(self.group, concurrency=n, handler=None) for n in concurrency
        ]
        self.slots_owed: list[Responder] = []

    def open(self, now: float = 0.0, **options: object) -> Exchange:
        return open_one(self.bus, "q", now, **options)

    def outputs(self) -> list[Exchange]:
        found = []
        for output in outputs(self.bus):
            assert isinstance(output, Exchange)
            found.append(output)
        return found

    def check(self) -> None:
        counts = self.bus.counts
        assert counts.opened == sum(counts.outcomes.values()) + self.bus.open_exchanges
        assert self.bus.open_exchanges >= len(self.group.active) + len(self.group.queue)


# --- opening ---


def test_a_request_is_started_and_answered() -> None:
    a = Answering(1)
    owner, result = object(), object()
    exchange = a.open(owner=owner)
    assert (exchange.state, exchange.outcome, exchange.started) == ("running", None, False)
    assert a.outputs() == [exchange]
    assert (exchange.started, exchange.responder, exchange.owner) == (True, a.responders[0], owner)
    assert a.bus.reply(exchange, result, 1.0)
    assert a.outputs() == [exchange]
    assert (exchange.state, exchange.outcome, exchange.reply) == ("ended", "replied", result)
    assert exchange.response_started
    assert a.bus.open_exchanges == 0
    assert a.responders[0].running == 1, "the handler has not gone yet"
    a.bus.released(a.responders[0], 1.0)
    assert a.responders[0].running == 0
    a.check()


def test_an_open_request_tells_of_no_end_and_no_invocation() -> None:
    exchange = Answering(1).open()
    assert (exchange.outcome, exchange.reply, exchange.error) == (None, None, None)
    assert (exchange.cancel_reason, exchange.response_started) == ("", False)
    assert (exchange.invocation, exchange.answering) == (None, None), "the engine's to set"


def test_the_request_is_an_event_for_all_who_watch() -> None:
    a = Answering(1)
    watcher = a.bus.subscribe("q", 0.0)
    exchange = a.open(2.0, deadline=9.0)
    assert outputs(a.bus) == [exchange, watcher]
    (event,) = take_all(a.bus, watcher)
    assert event is exchange.request
    assert (event.id, event.correlation_id, event.deadline) == (exchange.id, exchange.id, 9.0)


def test_a_nested_request_keeps_the_correlation_and_its_own_deadline() -> None:
    a = Answering(None)
    outer = a.open(deadline=9.0)
    inner = a.open(deadline=30.0, cause=outer.request)
    assert (inner.deadline, inner.request.deadline) == (30.0, 30.0)
    assert inner.request.correlation_id == outer.id
    assert inner.request.causation_id == outer.id


def test_no_deadline_is_none_on_the_event() -> None:
    a = Answering(None)
    plain = a.bus.publish("x", None, 0.0, publisher=Publisher("p"))
    exchange = a.open(deadline=INFINITY, cause=plain)
    assert (exchange.request.deadline, exchange.deadline) == (None, INFINITY)
    assert a.timers.next_deadline() is None


@pytest.mark.parametrize("situation", ["nobody", "empty group"])
def test_without_a_responder_it_ends_at_once_and_is_still_seen(situation: str) -> None:
    bus, timers = make_bus()
    watcher = bus.subscribe("q", 0.0)
    if situation == "empty group":
        bus.group("q")
    exchange = open_one(bus)
    assert (exchange.state, exchange.outcome) == ("ended", "no_responder")
    assert outputs(bus) == [watcher], "who opened it has it in hand"
    assert (bus.open_exchanges, timers.next_deadline(), watcher.matched) == (0, None, 1)
    assert (bus.counts.opened, bus.counts.outcomes["no_responder"]) == (1, 1)


def test_a_deadline_that_has_passed_at_the_start_is_a_timeout() -> None:
    a = Answering(1)
    exchange = a.open(5.0, deadline=5.0)
    assert exchange.outcome == "timed_out"
    assert (a.outputs(), a.responders[0].running) == ([], 0)


def test_a_bad_topic_opens_nothing() -> None:
    a = Answering(1)
    with pytest.raises(ValueError, match="bad topic"):
        open_one(a.bus, "a..b")
    assert a.bus.counts.opened == 0


# --- groups ---


def test_round_robin_among_those_with_room() -> None:
    a = Answering(2, 1, None)
    first, second, third = a.responders
    got = [a.open().responder for _ in range(7)]
    assert got == [first, second, third, first, third, third, third]


def test_full_group_queues_in_order_and_then_rejects() -> None:
    a = Answering(1)
    running, one, two, refused = (a.open() for _ in range(4))
    assert [e.state for e in (running, one, two)] == ["running", "queued", "queued"]
    assert (refused.state, refused.outcome) == ("ended", "rejected")
    assert a.outputs() == [running]
    a.bus.reply(running, None, 1.0)
    assert a.outputs() == [running], "the slot is taken until the handler is gone"
    a.bus.released(a.responders[0], 1.0)
    assert a.outputs() == [one]
    assert (one.state, two.state) == ("running", "queued")
    a.check()


def test_queue_of_zero_rejects_at_once() -> None:
    a = Answering(1)
    group = a.bus.group("r", queue_size=0)
    a.bus.add_responder(group, concurrency=1, handler=None)
    assert [open_one(a.bus, "r").outcome for _ in range(2)] == [None, "rejected"]


def test_a_responder_added_to_a_full_group_helps_from_the_next_release_in_order() -> None:
    a = Answering(1)
    running, one = a.open(), a.open()
    helper = a.bus.add_responder(a.group, concurrency=5, handler=None)
    two = a.open()
    assert two.state == "queued", "nobody overtakes"
    a.outputs()
    a.bus.reply(running, None, 0.0)
    a.bus.released(a.responders[0], 0.0)
    assert (one.state, two.state) == ("running", "running")
    assert {one.responder, two.responder} == {a.responders[0], helper}


def test_the_most_specific_group_answers() -> None:
    a = Answering(None)
    wide = a.bus.add_responder(a.bus.group(">"), concurrency=None, handler=None)
    assert a.open().responder is a.responders[0]
    assert open_one(a.bus, "other").responder is wide


def test_an_unrouted_group_is_reached_by_name_only() -> None:
    a = Answering(None)
    route = a.bus.group("POST /api/{name}", name="api", routed=False)
    responder = a.bus.add_responder(route, concurrency=None, handler="h")
    again = a.bus.group("POST /api/{name}", routed=False)
    assert (route.name, again.name) == ("api", "POST /api/{name}")
    exchange = open_one(a.bus, "net.http.request", group=route)
    assert exchange.responder is responder
    assert open_one(a.bus, "net.http.request").outcome == "no_responder"


def test_groups_and_responders_that_cannot_be() -> None:
    a = Answering(1)
    with pytest.raises(RegistrationError, match="'q' has responders already"):
        a.bus.group("q")
    with pytest.raises(RegistrationError, match="bad pattern"):
        a.bus.group("a b")
    with pytest.raises(RegistrationError, match="0 or more requests, not -1"):
        a.bus.group("r", queue_size=-1)
    with pytest.raises(RegistrationError, match="at least 1 slot, not 0"):
        a.bus.add_responder(a.group, concurrency=0, handler=None)


def test_releasing_a_slot_nobody_has_is_misuse() -> None:
    a = Answering(1)
    with pytest.raises(LocalProtocolError, match="no slot taken"):
        a.bus.released(a.responders[0], 0.0)


# --- ends ---


def test_failure_keeps_the_exception() -> None:
    a = Answering(1)
    exchange, error = a.open(), ValueError("no")
    a.outputs()
    assert a.bus.fail(exchange, error, 1.0)
    assert (exchange.outcome, exchange.error) == ("failed", error)
    assert not exchange.response_started


@pytest.mark.parametrize("reason", ["disconnect", "caller", "shutdown"])
def test_cancel_says_why(reason: str) -> None:
    a = Answering(1)
    exchange = a.open()
    a.outputs()
    assert a.bus.cancel(exchange, reason, 1.0)
    assert (exchange.outcome, exchange.cancel_reason) == ("cancelled", reason)
    assert not a.bus.cancel(exchange, "caller", 1.0)
    assert a.outputs() == [exchange]
    assert exchange.cancel_reason == reason


def test_the_timer_ends_it_and_the_slot_stays_taken() -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0)
    waiting = a.open(deadline=FAR)
    a.outputs()
    assert (a.timers.next_deadline(), a.timers.deadline_reason) == (5.0, "request_timeout")
    fire(a.timers, 5.0)
    assert exchange.outcome == "timed_out"
    assert a.outputs() == [exchange]
    assert (a.responders[0].running, waiting.state) == (1, "queued")
    a.bus.released(a.responders[0], 6.0)
    assert a.outputs() == [waiting]
    a.check()


def test_a_timer_that_is_early_or_late_or_asked_twice_is_harmless() -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0)
    exchange.handle_timeout(4.9)
    assert not a.bus.expire(exchange, 4.9)
    assert exchange.outcome is None
    exchange.handle_timeout(60.0)
    exchange.handle_timeout(61.0)
    assert not a.bus.expire(exchange, 61.0)
    assert a.bus.counts.outcomes["timed_out"] == 1


def test_an_untimed_exchange_is_expired_by_its_opener() -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0, timed=False)
    a.outputs()
    assert a.timers.next_deadline() is None
    assert a.bus.expire(exchange, 5.0)
    assert (exchange.outcome, exchange.deadline) == ("timed_out", INFINITY)


def test_a_timeout_in_the_queue_leaves_the_others_in_order() -> None:
    a = Answering(1)
    running, hasty, patient = a.open(), a.open(deadline=5.0), a.open()
    a.outputs()
    fire(a.timers, 5.0)
    assert (hasty.outcome, list(a.group.queue)) == ("timed_out", [patient])
    assert a.outputs() == [hasty]
    a.bus.released(a.responders[0], 6.0)
    assert a.outputs() == [patient]
    assert running.outcome is None


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_one_that_leaves_the_queue_anywhere_leaves_the_others_in_order(gone: int) -> None:
    a = Answering(1, queue=3)
    a.open()
    waiting = [a.open() for _ in range(3)]
    a.bus.cancel(waiting[gone], "caller", 0.0)
    del waiting[gone]
    assert list(a.group.queue) == waiting


def test_a_slot_is_not_wasted_on_what_has_timed_out_unnoticed() -> None:
    a = Answering(1)
    running, hasty, patient = a.open(), a.open(deadline=5.0), a.open()
    a.outputs()
    a.bus.reply(running, None, 6.0)
    a.bus.released(a.responders[0], 6.0)
    assert (hasty.outcome, patient.state) == ("timed_out", "running")
    assert a.outputs() == [running, hasty, patient]


@pytest.mark.parametrize("end", ["reply", "fail", "start_reply", "cancel"])
def test_whatever_comes_at_the_deadline_has_lost(end: str) -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0)
    a.outputs()
    accepted = {
        "reply": lambda: a.bus.reply(exchange, "late", 5.0),
        "fail": lambda: a.bus.fail(exchange, ValueError(), 5.0),
        "start_reply": lambda: a.bus.start_reply(exchange, 5.0),
        "cancel": lambda: a.bus.cancel(exchange, "caller", 5.0),
    }[end]()
    assert not accepted
    assert (exchange.outcome, exchange.reply, exchange.error) == ("timed_out", None, None)
    assert a.outputs() == [exchange]
    assert a.bus.counts.replies_discarded["late"] == (end != "cancel")
    a.check()


def test_a_reply_just_before_the_deadline_wins() -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0)
    assert a.bus.reply(exchange, "ok", 4.999)
    fire(a.timers, 5.0)
    assert exchange.outcome == "replied"


def test_nobody_answers_what_nobody_was_asked() -> None:
    a = Answering(1)
    a.open()
    queued = a.open()
    with pytest.raises(LocalProtocolError, match=r"^reply for .* nobody has been asked"):
        a.bus.reply(queued, None, 0.0)
    with pytest.raises(LocalProtocolError, match=r"^fail for .* nobody has been asked"):
        a.bus.fail(queued, ValueError(), 0.0)
    with pytest.raises(LocalProtocolError, match=r"^start_reply for .* nobody has been asked"):
        a.bus.start_reply(queued, 0.0)
    assert queued.state == "queued"


def test_one_that_ends_before_it_was_started_gives_its_slot_back_itself() -> None:
    a = Answering(1)
    exchange, waiting = a.open(), a.open()
    assert a.bus.cancel(exchange, "disconnect", 0.0)
    assert a.outputs() == [exchange, waiting]
    assert (exchange.started, exchange.outcome, waiting.started) == (False, "cancelled", True)
    assert a.responders[0].running == 1
    a.check()


# --- streams ---


def test_a_stream_meets_its_deadline_with_the_head_and_ends_later() -> None:
    a = Answering(1)
    exchange, waiting = a.open(deadline=5.0), a.open()
    a.outputs()
    assert a.bus.start_reply(exchange, 4.0)
    assert (exchange.state, exchange.response_started) == ("streaming", True)
    assert a.outputs() == []
    fire(a.timers, 50.0)
    assert not a.bus.expire(exchange, 50.0)
    a.bus.released(a.responders[0], 50.0)
    assert a.outputs() == [waiting], "the slot was needed until the head only"
    assert a.bus.reply(exchange, None, 60.0)
    assert (exchange.outcome, a.outputs()) == ("replied", [exchange])
    a.check()


def test_an_untimed_stream_has_no_deadline_left() -> None:
    a = Answering(1)
    exchange = a.open(deadline=5.0, timed=False)
    assert a.bus.start_reply(exchange, 4.0)
    assert exchange.deadline == INFINITY


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_stream_may_break(end: str) -> None:
    a = Answering(1)
    exchange = a.open()
    a.outputs()
    a.bus.start_reply(exchange, 1.0)
    if end == "fail":
        assert a.bus.fail(exchange, ValueError(), 2.0)
    else:
        assert a.bus.cancel(exchange, "disconnect", 2.0)
    assert exchange.outcome == ("failed" if end == "fail" else "cancelled")
    assert exchange.response_started


def test_at_most_one_head() -> None:
    a = Answering(1)
    exchange = a.open()
    assert a.bus.start_reply(exchange, 1.0)
    assert not a.bus.start_reply(exchange, 1.0)
    assert a.bus.counts.replies_discarded["duplicate"] == 1
    assert exchange.state == "streaming"


# --- discarded replies ---


@pytest.mark.parametrize(
    ("end", "why", "outcome"),
    [
        ("reply", "duplicate", "replied"),
        ("fail", "duplicate", "failed"),
        ("expire", "late", "timed_out"),
        ("cancel", "late", "cancelled"),
    ],
)
def test_replies_after_the_end_are_counted_and_visible(end: str, why: str, outcome: str) -> None:
    a = Answering(1)
    seen = a.bus.subscribe("pipebus.reply.*", 0.0)
    exchange = a.open(deadline=5.0)
    if end == "reply":
        a.bus.reply(exchange, 1, 1.0)
    elif end == "fail":
        a.bus.fail(exchange, ValueError(), 1.0)
    elif end == "expire":
        a.bus.expire(exchange, 5.0)
    else:
        a.bus.cancel(exchange, "caller", 1.0)
    before = exchange.reply
    assert not a.bus.reply(exchange, 2, 6.0)
    assert not a.bus.fail(exchange, ValueError(), 6.0)
    assert not a.bus.start_reply(exchange, 6.0)
    assert exchange.reply is before
    events = take_all(a.bus, seen)
    assert [event.type for event in events] == [f"pipebus.reply.{why}"] * 3
    assert events[0].data == ReplyDiscarded(exchange.id, "q", outcome)
    assert events[0].correlation_id == exchange.id
    assert a.bus.counts.replies_discarded == {"late": 0, "duplicate": 0, "unknown": 0, why: 3}
    assert a.bus.counts.outcomes[exchange.outcome or pytest.fail("open")] == 1


def test_an_unknown_id_is_counted_and_visible() -> None:
    a = Answering(1)
    seen = a.bus.subscribe("pipebus.>", 0.0)
    exchange = a.open()
    assert a.bus.find(exchange.id, 0.0) is exchange
    a.bus.reply(exchange, None, 0.0)
    assert a.bus.find(exchange.id, 0.0) is None
    assert a.bus.find("x-1", 0.0) is None
    assert a.bus.counts.replies_discarded["unknown"] == 2
    assert [event.data for event in take_all(a.bus, seen)] == [
        ReplyDiscarded(exchange.id, "", ""),
        ReplyDiscarded("x-1", "", ""),
    ]


# --- drain and shutdown ---


def test_drain_refuses_new_work_and_serves_what_is_in_flight() -> None:
    a = Answering(1)
    running = a.open()
    queued = a.open()
    a.outputs()
    a.bus.drain(0.0)
    refused = a.open()
    assert (refused.outcome, a.bus.draining) == ("drained", True)
    nested = a.open(cause=running.request)
    assert nested.state == "queued"
    a.bus.reply(running, None, 1.0)
    a.bus.released(a.responders[0], 1.0)
    assert queued.state == "running"
    a.check()


def test_settled_when_nothing_is_open_and_lossless_queues_are_empty() -> None:
    a = Answering(1)
    settled = [a.bus.settled]
    exchange = a.open()
    settled.append(a.bus.settled)
    a.bus.reply(exchange, None, 0.0)
    settled.append(a.bus.settled)
    tap = a.bus.subscribe("x", 0.0, kind="tap")
    sub = a.bus.subscribe("x", 0.0)
    a.bus.publish("x", None, 0.0, publisher=Publisher("p"))
    settled.append(a.bus.settled)
    take_all(a.bus, sub)
    settled.append(a.bus.settled)
    assert settled == [True, False, True, False, True]
    assert tap.queued == 1


def test_shutdown_ends_everything_once_and_nothing_parks_after_it() -> None:
    a = Answering(1)
    publisher = Publisher("p")
    sub = a.bus.subscribe("x", 0.0, maxsize=1)
    for n in range(3):
        a.bus.publish("x", n, 0.0, publisher=publisher)
    started = a.open()
    assert a.bus.next_output() is sub
    assert a.bus.next_output() is started
    queued = a.open()
    a.bus.shutdown(1.0)
    assert outputs(a.bus) == [queued, started, publisher]
    assert {(e.outcome, e.cancel_reason) for e in (started, queued)} == {("cancelled", "shutdown")}
    assert (sub.dropped, a.bus.open_exchanges) == ({"shutdown": 3}, 0)
    assert a.open(cause=started.request).outcome == "drained"
    for n in range(3):
        a.bus.publish("x", n, 2.0, publisher=publisher)
    assert (publisher.paused, sub.queued, sub.dropped) == (False, 1, {"shutdown": 5})
    a.bus.publish_nowait("x", 9, 2.0, publisher=publisher)
    a.bus.shutdown(3.0)
    assert (sub.queued, sub.dropped) == (0, {"shutdown": 7})
    a.check()


def test_shutdown_starts_nothing_on_the_slots_it_frees() -> None:
    a = Answering(1)
    unstarted, queued = a.open(), a.open()
    a.bus.shutdown(0.0)
    assert not any(exchange.started for exchange in a.outputs())
    assert (unstarted.outcome, queued.outcome) == ("cancelled", "cancelled")
    assert a.responders[0].running == 0


def test_names_in_reprs() -> None:
    a = Answering(1)
    exchange = a.open()
    assert repr(exchange) == "<Exchange e-1 q running>"
    a.bus.reply(exchange, None, 0.0)
    assert repr(exchange) == "<Exchange e-1 q replied>"
    assert repr(a.responders[0]) == "<Responder q running=0/1>"
    assert repr(a.group) == "<Group q queued=0 active=0>"


def test_a_thousand_requests_leave_nothing_behind() -> None:
    a = Answering(None)
    for n in range(1_000):
        exchange = a.open(float(n), deadline=n + 30.0)
        a.outputs()
        a.bus.reply(exchange, n, float(n))
        a.outputs()
        a.bus.released(a.responders[0], float(n))
    assert (len(a.timers), a.bus.open_exchanges, len(a.group.active)) == (0, 0, 0)
    assert len(a.timers._heap) < 200
