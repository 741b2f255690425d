"""Random graphs of handlers that publish to and ask each other always come to rest.

A small engine in virtual time runs them. Where it tells the bus all edges of the wait graph there
is no timeout at all: every wait that would never end must have been refused. Where it tells none,
the timeouts must do.
"""

import heapq
from collections import Counter, deque
from random import Random
from typing import Literal

import pytest

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group, Responder
from pipebus.bus.subscription import Subscription
from pipebus.bus.wait_graph import Node, find_cycle
from pipebus.errors import WouldDeadlock
from pipebus.limits import INFINITY
from tests.core.bus.kit import check_balance, fire, make_bus

Step = tuple[Literal["publish", "request", "sleep"], str]
PUBLISH_TIMEOUT, REQUEST_TIMEOUT = 30.0, 5.0


class Invocation:
    """One handler at work, or a task of the program."""

    def __init__(self, name: str, steps: list[Step], hops: int) -> None:
        self.publisher = Publisher(name, self)
        self.steps = deque(steps if hops else [])
        self.hops = hops
        self.subscription: Subscription | None = None
        self.exchange: Exchange | None = None
        self.awaits: Exchange | None = None
        self.asleep = False

    @property
    def blocked(self) -> bool:
        return self.publisher.paused or self.awaits is not None or self.asleep


class World:
    """An engine of sorts: it obeys the bus's outputs and lets virtual time jump."""

    def __init__(self, seed: int, *, blind: bool) -> None:
        self.random = Random(seed)
        self.blind = blind
        self.now = 0.0
        self.bus, self.timers = make_bus()
        self.programs: dict[object, list[Step]] = {}
        self.subs: list[Subscription] = []
        self.groups: list[Group] = []
        self.events = [f"t{n}" for n in range(self.random.randint(1, 4))]
        self.questions = [f"q{n}" for n in range(self.random.randint(1, 3))]
        self.ready: deque[Invocation] = deque()
        self.alarms: list[tuple[float, int, Invocation, bool]] = []
        self.alarm_serial = 0
        self.live: dict[Invocation, None] = {}
        self.seen: Counter[str] = Counter()
        for topic in [*self.events, *self.events[:2], self.questions[0]]:
            self._subscriber(topic)
        for topic in self.questions:
            self._group(topic)

    def _program(self) -> list[Step]:
        steps: list[Step] = []
        for _ in range(self.random.randint(0, 2)):
            what = self.random.choice(["publish", "publish", "request", "request", "sleep"])
            if what == "publish":
                steps.append(("publish", self.random.choice(self.events)))
            elif what == "request":
                steps.append(("request", self.random.choice(self.questions)))
            else:
                steps.append(("sleep", str(self.random.randint(0, 3))))
        return steps

    def _subscriber(self, topic: str) -> None:
        sub = self.bus.subscribe(topic, 0.0, maxsize=self.random.randint(1, 2))
        self.programs[sub] = self._program()
        self.subs.append(sub)

    def _group(self, topic: str) -> None:
        group = self.bus.group(topic, queue_size=self.random.randint(0, 4))
        self.groups.append(group)
        for _ in range(self.random.randint(1, 2)):
            slots = self.random.randint(1, 2)
            responder = self.bus.add_responder(group, concurrency=slots, handler=None)
            self.programs[responder] = self._program()

    def start(self, invocation: Invocation) -> None:
        self.live[invocation] = None
        self.ready.append(invocation)

    def run(self) -> None:
        for n in range(3):
            steps = [step for _ in range(4) for step in self._program()]
            self.start(Invocation(f"task {n}", steps, 3))
        while True:
            while self.ready:
                self.seen["steps"] += 1
                self.advance(self.ready.popleft())
                self.obey()
                if self.seen["steps"] % 37 == 0:
                    self.compare_with_the_oracle()
            times = [self.timers.next_deadline() or INFINITY]
            times.append(self.alarms[0][0] if self.alarms else INFINITY)
            if min(times) == INFINITY:
                return
            self.now = max(self.now, *[min(times)])
            fire(self.timers, self.now)
            while self.alarms and self.alarms[0][0] <= self.now:
                self.ring(*heapq.heappop(self.alarms)[2:])
            self.obey()

    def alarm(self, seconds: float, invocation: Invocation, *, is_sleep: bool) -> None:
        self.alarm_serial += 1
        entry = (self.now + seconds, self.alarm_serial, invocation, is_sleep)
        heapq.heappush(self.alarms, entry)

    def ring(self, invocation: Invocation, is_sleep: bool) -> None:
        if is_sleep:
            invocation.asleep = False
            self.ready.append(invocation)
        elif invocation.publisher.paused:
            self.seen["publish timeouts"] += 1
            self.bus.withdraw(invocation.publisher, "publish_timeout", self.now)

    def advance(self, invocation: Invocation) -> None:
        if invocation.blocked or invocation not in self.live:
            return
        if not invocation.steps:
            self.finish(invocation)
            return
        what, argument = invocation.steps.popleft()
        try:
            if what == "publish":
                self.publish(invocation, argument)
            elif what == "request":
                self.request(invocation, argument)
            else:
                invocation.asleep = True
                self.alarm(float(argument), invocation, is_sleep=True)
        except WouldDeadlock as error:
            self.refused(invocation, error)
        if invocation.publisher.paused:
            self.seen["parked"] += 1
            if self.blind:
                self.alarm(PUBLISH_TIMEOUT, invocation, is_sleep=False)
        elif not invocation.blocked:
            self.ready.append(invocation)

    def refused(self, invocation: Invocation, error: WouldDeadlock) -> None:
        assert error.path[0] == error.path[-1] == invocation.publisher.name
        self.seen["refused"] += 1

    def publish(self, invocation: Invocation, topic: str) -> None:
        self.bus.publish(topic, invocation.hops - 1, self.now, publisher=invocation.publisher)

    def request(self, invocation: Invocation, topic: str) -> None:
        patience = REQUEST_TIMEOUT if self.blind else INFINITY
        exchange = self.bus.open(
            topic,
            invocation.hops - 1,
            self.now,
            deadline=self.now + patience,
            publisher=invocation.publisher,
            owner=invocation,
        )
        self.seen[exchange.outcome or exchange.state] += 1
        if exchange.outcome is None:
            invocation.awaits = exchange
            invocation.publisher.waits_on = None if self.blind else exchange

    def finish(self, invocation: Invocation) -> None:
        del self.live[invocation]
        if invocation.exchange is not None:
            exchange = invocation.exchange
            self.bus.reply(exchange, None, self.now)
            assert exchange.responder is not None
            self.bus.released(exchange.responder, self.now)
        elif invocation.subscription is not None:
            invocation.subscription.runner = None
            self.handle_next(invocation.subscription)

    def handle_next(self, sub: Subscription) -> None:
        event = self.bus.take(sub, self.now)
        if event is not None:
            assert isinstance(event.data, int)
            invocation = Invocation(f"handler of {sub.id}", self.programs[sub], event.data)
            invocation.subscription = sub
            sub.runner = None if self.blind else invocation.publisher
            self.start(invocation)

    def obey(self) -> None:
        while (output := self.bus.next_output()) is not None:
            if isinstance(output, Subscription):
                self.handle_next(output)
            elif isinstance(output, Publisher):
                assert isinstance(output.owner, Invocation)
                self.ready.append(output.owner)
            elif output.outcome is None:
                self.answer(output)
            else:
                assert isinstance(output.owner, Invocation)
                self.seen[output.outcome] += 1
                output.owner.awaits = None
                output.owner.publisher.waits_on = None
                self.ready.append(output.owner)

    def answer(self, exchange: Exchange) -> None:
        assert isinstance(exchange.request.data, int)
        responder = exchange.responder
        assert isinstance(responder, Responder)
        invocation = Invocation("answer", self.programs[responder], exchange.request.data)
        invocation.publisher.name = f"answer {exchange.id}"
        invocation.exchange = exchange
        exchange.answering = None if self.blind else invocation.publisher
        self.start(invocation)

    def compare_with_the_oracle(self) -> None:
        origins = [invocation.publisher for invocation in self.live][:8]
        targets: list[Subscription | Group] = [*self.subs, *self.groups]
        for origin in origins:
            for target in targets:
                expected = waits_for_itself(origin, target)
                assert (find_cycle(origin, target) is not None) == expected
                self.seen[f"oracle says {expected}"] += 1


def edges(node: Node) -> list[Node]:
    if isinstance(node, Publisher):
        waits: list[Node] = [place.subscription for place in node.places]
        return [*waits, node.waits_on] if node.waits_on else waits
    if isinstance(node, Subscription):
        return [node.runner] if node.runner else []
    if isinstance(node, Group):
        slots = sum(responder.running for responder in node.responders)
        return list(node.active) if slots == len(node.active) else []
    if node.state == "queued" and node.group:
        return [node.group]
    return [node.answering] if node.state == "running" and node.answering else []


def waits_for_itself(origin: Publisher, target: Subscription | Group) -> bool:
    """Look at the whole graph again and again until nothing more is found to go on."""
    nodes: list[Node] = [target]
    for node in nodes:
        if node is not origin:
            nodes += [n for n in dict.fromkeys(edges(node)) if n not in nodes]
    goes_on: set[Node] = set()
    changed = True
    while changed:
        changed = False
        for node in nodes:
            waits = edges(node)
            enough = any if isinstance(node, Group) else all
            free = not waits or enough(n in goes_on for n in waits)
            if free and node is not origin and node not in goes_on:
                goes_on.add(node)
                changed = True
    reached: list[Node] = [] if target in goes_on else [target]
    for node in reached:
        if node is not origin:
            reached += [n for n in edges(node) if n not in goes_on and n not in reached]
    return origin in reached


def rest(seed: int, *, blind: bool) -> Counter[str]:
    world = World(seed, blind=blind)
    world.run()
    assert not world.live, f"{[i.publisher.name for i in world.live]} wait for ever"
    assert world.bus.open_exchanges == 0
    assert len(world.timers) == 0
    for sub in world.subs:
        check_balance(sub)
        assert (sub.queued, sub.parked, sub.runner) == (0, 0, None)
    for group in world.groups:
        assert (len(group.queue), len(group.active)) == (0, 0)
        assert all(responder.running == 0 for responder in group.responders)
    counts = world.bus.counts
    assert counts.opened == sum(counts.outcomes.values())
    return world.seen


@pytest.mark.parametrize("block", range(10))
def test_waits_that_would_never_end_are_refused_and_all_others_end(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * 30, block * 30 + 30):
        seen += rest(seed, blind=False)
    for what in ("parked", "queued", "refused", "rejected", "oracle says True"):
        assert seen[what], f"{what} never happened"
    assert seen["timed_out"] == seen["publish timeouts"] == 0


@pytest.mark.parametrize("block", range(4))
def test_timeouts_end_what_the_bus_cannot_see(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * 30, block * 30 + 30):
        seen += rest(seed, blind=True)
    for what in ("parked", "queued", "timed_out", "publish timeouts"):
        assert seen[what], f"{what} never happened"
    assert seen["refused"] == 0
