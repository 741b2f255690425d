"""What the bus does at once for most exchanges: as by the steps that all others are made of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group, Responder
from pipebus.bus.subscription import Subscription
from pipebus.limits import Limits
from pipebus.telemetry.trace import TraceContext
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock
from tests.core.bus.kit import FAR, fire, make_bus, open_one, outputs
from tests.core.bus.long_bus import LongBus

Step = tuple[str, int, int]


class Play:
    """A bus with three groups (one of two responders), a subscriber and a publisher for each."""

    def __init__(self, kind: type[Bus]) -> None:
        self.now = 0.0
        self.timers = TimerQueue()
        self.bus = kind(id_prefix="e-", limits=Limits(), timers=self.timers, clock=WallClock())
        for pattern, slots, queue in (("a", (1, 2), 2), ("b", (None,), 0), ("c", (1,), 1)):
            group = self.bus.group(pattern, queue_size=queue)
            for concurrency in slots:
                self.bus.add_responder(group, concurrency=concurrency, handler=pattern)
        self.bus.group("d")  # nobody answers
        self.hidden = self.bus.group("hidden", routed=False)
        self.bus.add_responder(self.hidden, concurrency=1, handler="hidden")
        self.lossless = self.bus.subscribe("a", 0.0, maxsize=2)
        self.tap = self.bus.subscribe(">", 0.0, kind="tap", maxsize=10_000)
        self.publishers = [Publisher(f"p{n}") for n in range(3)]
        self.opened: list[Exchange] = []
        self.owed: list[Responder] = []
        self.told: list[object] = []

    def run(self, step: Step) -> None:
        what, which, amount = step
        if what in ("open", "nested", "untimed"):
            self.open(what, which, amount)
        elif what == "pull":
            self.pull()
        elif what == "wait":
            self.now += amount
            fire(self.timers, self.now)
        elif what == "released":
            if self.owed:
                self.bus.released(self.owed.pop(which % len(self.owed)), self.now)
        elif what == "take":
            self.bus.take(self.lossless, self.now)
        elif what == "drain":
            self.bus.drain(self.now)
        elif what == "shutdown":
            self.bus.shutdown(self.now)
        elif self.opened:
            self.end(what, self.opened[which % len(self.opened)])

    def open(self, what: str, which: int, amount: int) -> None:
        cause = self.opened[which % len(self.opened)].request if self.opened else None
        exchange = self.bus.open(
            ("a", "a", "b", "c", "d", "e", "hidden")[which % 7],
            amount,
            self.now,
            deadline=self.now + amount,
            publisher=self.publishers[which % 3],
            group=self.hidden if which % 7 == 6 else None,
            cause=cause if what == "nested" else None,
            timed=what != "untimed",
            metadata={"n": str(amount)} if amount > 6 else None,
            trace=TraceContext("t") if amount > 7 else None,
        )
        self.opened.append(exchange)
        self.told.append((plain(exchange.request), exchange.outcome))

    def pull(self) -> None:
        while (output := self.bus.next_output()) is not None:
            if isinstance(output, Exchange):
                self.told.append((output.id, output.outcome, output.reply))
                if output.outcome is None:
                    assert output.responder is not None
                    self.owed.append(output.responder)
            elif isinstance(output, Subscription):
                self.told.append(output.pattern)
            else:
                self.told.append(output.name)

    def end(self, what: str, exchange: Exchange) -> None:
        if what == "cancel":
            self.told.append(self.bus.cancel(exchange, "caller", self.now))
        elif exchange.state == "queued":
            pass  # nobody has been asked to answer it
        elif what == "head":
            if exchange.state != "streaming":
                self.told.append(self.bus.start_reply(exchange, self.now))
        elif what == "fail":
            self.told.append(self.bus.fail(exchange, ValueError("no"), self.now))
        else:
            self.told.append(self.bus.reply(exchange, what, self.now))

    def state(self) -> list[object]:
        counts = self.bus.counts
        groups = [self.hidden, *(found.group for found in self.opened if found.group is not None)]
        return [
            self.told,
            [(e.id, e.state, e.outcome, e.deadline, e.reply, e.response_started, e.started,
              e.in_output, e.cancel_reason, repr(e.responder)) for e in self.opened],
            [(repr(group), [e.id for e in group.active], [e.id for e in group.queue], group.next,
              [responder.running for responder in group.responders]) for group in groups],
            (counts.published, counts.delivered, counts.opened, counts.outcomes, counts.dropped,
             counts.replies_discarded),
            (self.bus.open_exchanges, self.bus.settled, list(self.bus._open)),
            (self.timers.next_deadline(), len(self.timers)),
            [publisher.parked for publisher in self.publishers],
            [plain(event) for event in self.tap.queue],
        ]  # fmt: skip


def plain(event: Event) -> tuple[object, ...]:
    return tuple(getattr(event, name) for name in Event.__struct_fields__)


def steps_of(*kinds: str) -> st.SearchStrategy[Step]:
    return st.tuples(st.sampled_from(kinds), st.integers(0, 20), st.integers(0, 9))


USUAL = steps_of("open", "open", "untimed", "pull", "pull", "reply", "reply", "released")
REST = steps_of("nested", "cancel", "head", "fail", "wait", "take", "drain", "shutdown")
STEPS = st.sampled_from([USUAL, USUAL, USUAL, REST]).flatmap(lambda which: which)


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=5, max_size=50))
def test_the_short_cuts_are_the_long_way(steps: list[Step]) -> None:
    short, long = Play(Bus), Play(LongBus)
    for step in steps:
        short.run(step)
        long.run(step)
        assert short.state() == long.state(), step


def test_a_nested_request_starts_at_once_during_a_drain() -> None:
    bus, _ = make_bus()
    bus.add_responder(bus.group("q"), concurrency=1, handler=None)
    cause = bus.publish("x", None, 0.0, publisher=Publisher("p"))
    bus.drain(0.0)
    assert open_one(bus).outcome == "drained"
    nested = open_one(bus, cause=cause)
    assert (nested.state, outputs(bus)) == ("running", [nested])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(1, 3))), max_size=4),
    st.integers(0, 5),
    st.integers(1, 6),
)
def test_whose_turn_it_is(slots: list[tuple[int, int | None]], first: int, picks: int) -> None:
    """Round robin over those with room, from wherever it stands."""
    group = Group("q", "q", 1)
    group.next = first
    for running, concurrency in slots:
        responder = Responder(group, concurrency, None)
        responder.running = running
        group.responders.append(responder)
    free = [r for r in group.responders if r.concurrency is None or r.running < r.concurrency]
    start = first if first < len(slots) else 0
    order = [*group.responders[start:], *group.responders[:start]]
    expected = [responder for responder in order if responder in free]
    for number in range(picks):
        picked = group.pick()
        assert picked is (expected[number % len(expected)] if expected else None)


@given(
    metadata=st.sampled_from([None, {}, {"a": "b"}]),
    caused=st.booleans(),
    correlation=st.sampled_from(["", "own"]),
    trace=st.sampled_from([None, TraceContext("own trace")]),
)
def test_what_an_event_says_of_its_origin(
    metadata: dict[str, str] | None, caused: bool, correlation: str, trace: TraceContext | None
) -> None:
    bus, _ = make_bus()
    publisher = Publisher("p")
    first = bus.publish("x", 1, 2.0, publisher=publisher, trace=TraceContext("first trace"))
    event = bus.publish(
        "y", 2, 3.0, publisher=publisher, cause=first if caused else None, subject="s",
        metadata=metadata, trace=trace, correlation_id=correlation,
    )  # fmt: skip
    assert (event.id, event.source, event.type, event.data) == ("e-2", "p", "y", 2)
    assert (event.time, event.subject, event.deadline) == (5_003.0, "s", None)
    assert event.metadata == (metadata or {})
    assert event.causation_id == ("e-1" if caused else "")
    assert event.correlation_id == (correlation or ("e-1" if caused else "e-2"))
    assert event.traceparent == ("own trace" if trace else "first trace" if caused else "")


def test_a_reply_at_the_deadline_has_lost() -> None:
    bus, _ = make_bus()
    bus.add_responder(bus.group("q"), concurrency=1, handler=None)
    exchange = open_one(bus, deadline=FAR)
    outputs(bus)
    assert not bus.reply(exchange, "late", FAR)
    assert exchange.outcome == "timed_out"


def test_a_reply_before_it_was_started_frees_the_slot() -> None:
    bus, _ = make_bus()
    responder = bus.add_responder(bus.group("q"), concurrency=1, handler=None)
    exchange = open_one(bus)
    assert bus.reply(exchange, "early", 0.0)
    assert (exchange.outcome, responder.running) == ("replied", 0)
    assert outputs(bus) == [exchange]
