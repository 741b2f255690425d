"""`python -m benchmarks.apps.bus_load CONTENDER`: what one event costs on a bus in this process.

A question on stdin (one line of JSON: `kind`, `subscriptions`, `seconds`) makes a fresh bus; the
answer on stdout is `null` where the contender has no such thing.
"""

import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import anyio

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

EXACT: Final = "exact"
WILDCARD: Final = "wildcard"
EXACT_NEW: Final = "exact, new topic each time"
WILDCARD_NEW: Final = "wildcard, new topic each time"
REQUEST: Final = "request"


class Counter:
    """Counts what it is given: proof that the events arrived."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


@dataclass(frozen=True)
class Work:
    """One operation, which has to deliver one event; exactly one of the two forms is given."""

    received: Callable[[], int]
    operation: Callable[[], object] | None = None
    task: Callable[[], Awaitable[object]] | None = None


Contender = Callable[[str, int], AbstractAsyncContextManager[Work] | None]


def patterns(kind: str, subscriptions: int) -> tuple[str, list[str]]:
    """Return the pattern that matches the topics of `topics(kind)`, and those that do not."""
    others = range(subscriptions - 1)
    if kind.startswith(WILDCARD):
        return "orders.*.created", [f"orders.*.other{number}" for number in others]
    # What matches a topic that nobody has seen before can only be a wildcard.
    one = "orders.*.created" if kind == EXACT_NEW else "orders.eu.created"
    return one, [f"orders.eu.other{number}" for number in others]


def topics(kind: str) -> Callable[[], str]:
    if kind in (EXACT_NEW, WILDCARD_NEW):
        numbers = count()
        return lambda: f"orders.eu{next(numbers)}.created"
    return lambda: "orders.eu.created"


@asynccontextmanager
async def core(kind: str, subscriptions: int) -> AsyncIterator[Work]:
    """The core's bus by itself: publish and take, or open, start, reply and release."""
    bus = Bus(id_prefix="b", limits=Limits(), timers=TimerQueue(), clock=WallClock())
    publisher = Publisher("bench")
    one, others = patterns(kind, subscriptions)
    received = Counter()
    topic = topics(kind)
    if kind == REQUEST:

        def responder(event: Event) -> object:
            received()
            return event.data

        for pattern in [one, *others]:
            bus.add_responder(bus.group(pattern), concurrency=1, handler=responder)

        def request() -> None:
            bus.open(topic(), None, 1.0, deadline=31.0, publisher=publisher)
            exchange = bus.next_output()
            assert isinstance(exchange, Exchange)
            assert exchange.responder is not None
            bus.reply(exchange, responder(exchange.request), 1.0)
            bus.next_output()
            bus.released(exchange.responder, 1.0)

        yield Work(lambda: received.calls, request)
        return
    subscription = bus.subscribe(one, 0.0)
    for pattern in others:
        bus.subscribe(pattern, 0.0)
    if kind in (EXACT_NEW, WILDCARD_NEW):

        def publish_new() -> None:
            bus.publish(topic(), None, 1.0, publisher=publisher)
            bus.take(subscription, 1.0)

        yield Work(lambda: subscription.delivered, publish_new)
        return

    def publish() -> None:
        bus.publish("orders.eu.created", None, 1.0, publisher=publisher)
        bus.take(subscription, 1.0)

    yield Work(lambda: subscription.delivered, publish)


def on_runtime(runtime: str) -> Contender:
    """Return the bus as a program around a server uses it, with `def` handlers."""

    @asynccontextmanager
    async def opened(kind: str, subscriptions: int) -> AsyncIterator[Work]:
        pipeline: Pipeline[None] = Pipeline("bench")
        received = Counter()
        one, others = patterns(kind, subscriptions)

        def handle(event: Event) -> None:
            received()

        declare = pipeline.respond if kind == REQUEST else pipeline.subscribe
        for pattern in [one, *others]:
            declare(pattern)(handle)

        topic = topics(kind)
        async with importlib.import_module(f"pipebus_{runtime}").serve(pipeline, bind=[]) as server:
            ask = server.bus.request if kind == REQUEST else server.bus.publish
            yield Work(lambda: received.calls, task=lambda: ask(topic()))

    return opened


def blinker(kind: str, subscriptions: int) -> AbstractAsyncContextManager[Work] | None:
    """Named signals; they know no patterns. A reply is what the receiver returns."""
    if kind not in (EXACT, REQUEST):
        return None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Work]:
        namespace = importlib.import_module("blinker").Namespace()
        received = Counter()

        def receive(sender: object, **data: object) -> None:
            received()

        one, others = patterns(kind, subscriptions)
        for name in [one, *others]:
            namespace.signal(name).connect(receive)
        yield Work(lambda: received.calls, lambda: namespace.signal(one).send("bench", data=None))

    return opened()


def pyee(kind: str, subscriptions: int) -> AbstractAsyncContextManager[Work] | None:
    """An event emitter: no patterns, no replies."""
    if kind != EXACT:
        return None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Work]:
        emitter = importlib.import_module("pyee").EventEmitter()
        received = Counter()
        one, others = patterns(kind, subscriptions)
        for name in [one, *others]:
            emitter.on(name, lambda data: received())
        yield Work(lambda: received.calls, lambda: emitter.emit(one, None))

    return opened()


def bubus(kind: str, subscriptions: int) -> AbstractAsyncContextManager[Work] | None:
    """Types of events by name, or all of them; each event is awaited, as its replies need."""
    if kind.startswith(WILDCARD):
        return None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Work]:
        module = importlib.import_module("bubus")
        bus = module.EventBus(name="bench")
        received = Counter()

        async def handle(event: object) -> str:
            received()
            return "reply"

        new = kind == EXACT_NEW
        bus.on("*" if new else "Created", handle)
        for number in range(subscriptions - 1):
            bus.on(f"Other{number}", handle)
        numbers = count()

        async def dispatch() -> None:
            name = f"Created{next(numbers)}" if new else "Created"
            event = await bus.dispatch(module.BaseEvent(event_type=name))
            if kind == REQUEST:
                assert await event.event_result() == "reply"

        try:
            yield Work(lambda: received.calls, task=dispatch)
        finally:
            await bus.stop(clear=True)  # else its task keeps the loop from ending

    return opened()


CONTENDERS: Final[dict[str, Contender]] = {
    "pipebus core": core,
    "pipebus asyncio": on_runtime("asyncio"),
    "pipebus trio": on_runtime("trio"),
    "blinker": blinker,
    "pyee": pyee,
    "bubus": bubus,
}


async def timed(work: Work, times: int) -> float:
    """Return the CPU time that the operation takes so many times over, in seconds."""
    began = time.process_time()
    if (operation := work.operation) is not None:
        for _ in range(times):
            operation()
    elif (task := work.task) is not None:
        for _ in range(times):
            await task()
    return time.process_time() - began


async def measured(opened: AbstractAsyncContextManager[Work], seconds: float) -> dict[str, float]:
    async with opened as work:
        batch = done = 1
        while await timed(work, batch) < seconds / 10:
            batch *= 2
            done += batch
        cpu, before = 0.0, done
        while cpu < seconds:
            cpu += await timed(work, batch)
            done += batch
        return {"cpu": cpu / (done - before), "failed": abs(done - work.received())}


def main() -> None:
    name = sys.argv[1]
    backend = "trio" if name.endswith("trio") else "asyncio"
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        opened = CONTENDERS[name](question["kind"], question["subscriptions"])
        answer = None
        if opened is not None:
            answer = anyio.run(measured, opened, question["seconds"], backend=backend)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
