"""What the bus tests share: a bus with its clock and timers, and how an engine would drive it."""

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.pubsub import Output
from pipebus.bus.subscription import Subscription
from pipebus.limits import Limits
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

FAR = 1_000.0


def make_bus(limits: Limits | None = None) -> tuple[Bus, TimerQueue]:
    timers = TimerQueue()
    clock = WallClock()
    clock.set(5_000.0, 0.0)
    return Bus(id_prefix="e-", limits=limits or Limits(), timers=timers, clock=clock), timers


def outputs(bus: Bus) -> list[Output]:
    found: list[Output] = []
    while (output := bus.next_output()) is not None:
        found.append(output)
    return found


def fire(timers: TimerQueue, now: float) -> None:
    while (timed := timers.next_due(now)) is not None:
        timed.handle_timeout(now)
        assert timed.deadline > now
        timers.watch(timed)


def take_all(bus: Bus, sub: Subscription, now: float = 0.0) -> list[Event]:
    events: list[Event] = []
    while (event := bus.take(sub, now)) is not None:
        events.append(event)
    return events


def data_of(events: list[Event]) -> list[object]:
    return [event.data for event in events]


def check_balance(sub: Subscription) -> None:
    lost = sum(sub.dropped.values())
    assert sub.matched == sub.delivered + lost + sub.queued + sub.parked
    assert sub.queued <= sub.maxsize
    assert not sub.parked or sub.queued == sub.maxsize


def open_one(bus: Bus, topic: str = "q", now: float = 0.0, **options: object) -> Exchange:
    settings: dict[str, object] = {"deadline": FAR, "publisher": Publisher("caller")} | options
    return bus.open(topic, None, now, **settings)  # type: ignore[arg-type] # one place for options
