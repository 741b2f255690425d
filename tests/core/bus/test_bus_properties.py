"""The bus under random use: nothing lost, nothing left, order kept, one outcome each."""

from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Responder
from pipebus.bus.subscription import Subscription
from pipebus.errors import WouldBlock
from pipebus.limits import Limits
from tests.core.bus.kit import check_balance, fire, make_bus

TOPICS = st.sampled_from(["a", "b", "q.x", "pipebus.test"])
REQUESTS = st.sampled_from(["q.x", "q.y", "q.z", "a"])
PATTERNS = st.sampled_from(["a", "b", "*", ">", "q.*", "pipebus.>"])
OVERFLOWS = st.sampled_from(["block", "block", "drop_oldest", "drop_newest"])
PUBLISHERS = st.integers(0, 2)
PICK = st.integers(0, 1_000)


class BusMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bus, self.timers = make_bus(Limits(topic_memo=2))
        self.publishers = [Publisher(f"p{n}") for n in range(3)]
        self.subs: list[Subscription] = []
        self.taken: defaultdict[Subscription, list[tuple[str, int]]] = defaultdict(list)
        self.number = 0
        self.group = self.bus.group("q.*", queue_size=2)
        for slots in (1, 1):
            self.bus.add_responder(self.group, concurrency=slots, handler=None)
        self.exchanges: list[Exchange] = []
        self.ends: Counter[str] = Counter()
        self.owed: list[Responder] = []
        """Slots of handlers that run: for streams until the head, else until the handler goes."""
        self.running: list[Exchange] = []
        self.awake: set[Subscription] = set()
        self.paused: set[Publisher] = set()

    # --- events ---

    @rule(pattern=PATTERNS, overflow=OVERFLOWS, maxsize=st.integers(1, 3), filtered=st.booleans())
    @precondition(lambda self: len(self.subs) < 6)
    def subscribe(self, pattern: str, overflow: str, maxsize: int, filtered: bool) -> None:
        sub = self.bus.subscribe(
            pattern,
            self.now,
            maxsize=maxsize,
            overflow=overflow,  # type: ignore[arg-type] # sampled from its values
            where={"source": "p1"} if filtered else None,
        )
        self.subs.append(sub)

    @rule(topic=TOPICS, who=PUBLISHERS, nowait=st.booleans())
    def publish(self, topic: str, who: int, nowait: bool) -> None:
        self.number += 1
        publisher = self.publishers[who]
        before = [sub.matched for sub in self.subs]
        publish = self.bus.publish_nowait if nowait else self.bus.publish
        try:
            publish(topic, self.number, self.now, publisher=publisher)
        except WouldBlock:
            assert [sub.matched for sub in self.subs] == before
        if publisher.paused:
            self.paused.add(publisher)

    @rule(pick=PICK)
    @precondition(lambda self: self.awake)
    def take(self, pick: int) -> None:
        ready = [sub for sub in self.subs if sub in self.awake]
        if ready:
            self._take(ready[pick % len(ready)])

    def _take(self, sub: Subscription) -> bool:
        event = self.bus.take(sub, self.now)
        if event is None:
            self.awake.discard(sub)
            return False
        if isinstance(event.data, int):
            self.taken[sub].append((event.source, event.data))
        return True

    @rule(pick=PICK)
    @precondition(lambda self: self.subs)
    def close(self, pick: int) -> None:
        self.bus.close(self.subs[pick % len(self.subs)], self.now)

    @rule(who=PUBLISHERS, reason=st.sampled_from(["publish_timeout", "cancelled"]))
    def withdraw(self, who: int, reason: str) -> None:
        self.bus.withdraw(self.publishers[who], reason, self.now)
        assert not self.publishers[who].paused

    # --- requests ---

    @rule(who=PUBLISHERS, patience=st.integers(0, 4), timed=st.booleans(), topic=REQUESTS)
    def open(self, who: int, patience: int, timed: bool, topic: str) -> None:
        self.number += 1
        publisher = self.publishers[who]
        exchange = self.bus.open(
            topic,
            self.number,
            self.now,
            deadline=self.now + patience,
            publisher=publisher,
            timed=timed,
        )
        if publisher.paused:
            self.paused.add(publisher)
        if exchange.outcome is None:
            self.exchanges.append(exchange)
        else:
            self.ends[exchange.id] += 1

    @rule(pick=PICK, how=st.sampled_from(["reply", "fail", "head"]))
    @precondition(lambda self: self.running)
    def answer(self, pick: int, how: str) -> None:
        exchange = self.running[pick % len(self.running)]
        over = exchange.outcome is not None or self.now >= exchange.deadline
        head_was_out = exchange.response_started
        if how == "reply":
            accepted = self.bus.reply(exchange, None, self.now)
        elif how == "fail":
            accepted = self.bus.fail(exchange, ValueError(), self.now)
        else:
            accepted = self.bus.start_reply(exchange, self.now)
            over = over or head_was_out
        assert accepted != over

    @rule(pick=PICK)
    @precondition(lambda self: self.owed)
    def handler_goes(self, pick: int) -> None:
        responder = self.owed.pop(pick % len(self.owed))
        self.bus.released(responder, self.now)

    @rule(pick=PICK, reason=st.sampled_from(["disconnect", "caller"]))
    @precondition(lambda self: self.exchanges)
    def cancel(self, pick: int, reason: str) -> None:
        exchange = self.exchanges[pick % len(self.exchanges)]
        was_open = exchange.outcome is None and self.now < exchange.deadline
        assert self.bus.cancel(exchange, reason, self.now) == was_open

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        fire(self.timers, self.now)

    @rule()
    def openers_watch_their_own(self) -> None:
        for exchange in self.exchanges:
            self.bus.expire(exchange, self.now)

    @rule()
    @precondition(lambda self: len(self.exchanges) > 6)
    def drain(self) -> None:
        self.bus.drain(self.now)

    @rule()
    @precondition(lambda self: len(self.exchanges) > 8)
    def shutdown(self) -> None:
        self.bus.shutdown(self.now)

    # --- outputs ---

    @rule()
    def pull(self) -> None:
        while (output := self.bus.next_output()) is not None:
            if isinstance(output, Subscription):
                assert not output.closed
                self.awake.add(output)
            elif isinstance(output, Publisher):
                assert not output.paused
                self.paused.discard(output)
            elif output.outcome is None:
                assert output.responder is not None
                assert output.started
                self.running.append(output)
                self.owed.append(output.responder)
            else:
                self.ends[output.id] += 1

    # --- what always holds ---

    @invariant()
    def subscriptions_balance(self) -> None:
        for sub in self.subs:
            check_balance(sub)
        parked = sum(sub.parked for sub in self.subs)
        assert parked == sum(publisher.parked for publisher in self.publishers)

    @invariant()
    def outcomes_add_up(self) -> None:
        counts = self.bus.counts
        assert counts.opened == sum(counts.outcomes.values()) + self.bus.open_exchanges
        assert self.bus.open_exchanges == sum(e.outcome is None for e in self.exchanges)

    @invariant()
    def slots_are_kept(self) -> None:
        unstarted = sum(e.state == "running" and not e.started for e in self.exchanges)
        taken = sum(responder.running for responder in self.group.responders)
        assert taken == len(self.owed) + unstarted
        for responder in self.group.responders:
            assert responder.concurrency is not None
            assert responder.running <= responder.concurrency
        assert not self.group.queue or taken == 2

    @invariant()
    def order_is_kept_per_publisher(self) -> None:
        for events in self.taken.values():
            for publisher in ("p0", "p1", "p2"):
                numbers = [number for source, number in events if source == publisher]
                assert numbers == sorted(numbers)

    def teardown(self) -> None:
        """Let everything come to rest: nothing may be left of it."""
        self.now += 100.0
        fire(self.timers, self.now)
        self.openers_watch_their_own()
        self.pull()
        while self.owed:
            self.handler_goes(0)
            self.pull()
        for exchange in self.exchanges:
            self.bus.cancel(exchange, "caller", self.now)
        self.pull()
        while self.awake:
            for sub in [one for one in self.subs if one in self.awake]:
                self._take(sub)
            self.pull()
        assert not self.paused
        assert not any(publisher.paused for publisher in self.publishers)
        assert not any(sub.queued or sub.parked for sub in self.subs)
        assert self.bus.open_exchanges == 0
        assert len(self.timers) == 0
        assert not self.group.active
        assert set(self.ends.values()) <= {1}, "each was told once"
        assert len(self.ends) == self.bus.counts.opened
        self.subscriptions_balance()
        self.order_is_kept_per_publisher()


BusMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBus = BusMachine.TestCase
