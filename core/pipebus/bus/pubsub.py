"""The half of the bus that delivers events to subscriptions, losslessly where they ask for it."""

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from pipebus.bus.counts import BusCounts
from pipebus.bus.diagnostics import EventsDropped, HandlerError
from pipebus.bus.event import NO_METADATA, Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Parked, Publisher
from pipebus.bus.router import Route, Router
from pipebus.bus.subscription import Kind, Overflow, Subscription
from pipebus.bus.topic import check_pattern
from pipebus.bus.wait_graph import find_cycle
from pipebus.errors import (
    LocalProtocolError,
    RegistrationError,
    WouldBlock,
    WouldDeadlock,
    text_of,
)
from pipebus.limits import Limits
from pipebus.telemetry.trace import TraceContext
from pipebus.wall_clock import WallClock

Output = Subscription | Exchange | Publisher

DIAGNOSTIC = "pipebus."
"""Topics of events about the bus itself: they never park."""
HANDLER_ERROR = "pipebus.handler.error"
EVENTS_DROPPED = "pipebus.events.dropped"


class Lease(Protocol):
    """Memory that is counted until every holder has let go."""

    def retain(self) -> None:
        """Count one more holder."""
        ...

    def release(self) -> None:
        """Count one holder less."""
        ...


class _Held:
    """A lease, and in how many places its event still is."""

    __slots__ = ("lease", "places")

    def __init__(self, lease: Lease, places: int) -> None:
        self.lease = lease
        self.places = places


class PubSub:
    """Events to subscriptions: the base of `Bus`, which describes the whole."""

    __slots__ = (
        "_clock", "_id_prefix", "_leases", "_limits", "_own", "_router", "_routes", "_serial", "_shut",
        "_sub_serial", "_subs", "counts", "outputs",
    )  # fmt: skip

    def __init__(self, *, id_prefix: str, limits: Limits, clock: WallClock) -> None:
        self._id_prefix = id_prefix
        self._serial = 0
        self._limits = limits
        self._clock = clock
        self._router = Router(limits.topic_memo)
        self._routes = self._router.routes
        self._subs: dict[int, Subscription] = {}
        self._sub_serial = 0
        self.outputs: deque[Output] = deque()
        """For looking whether `next_output` may have something, which costs less than to ask."""
        self._leases: dict[str, _Held] = {}
        self._own = Publisher("pipebus")
        self._shut = False
        self.counts: BusCounts = BusCounts()

    # --- registration ---

    def subscribe(
        self,
        pattern: str,
        now: float,
        *,
        kind: Kind = "subscriber",
        maxsize: int | None = None,
        overflow: Overflow | None = None,
        where: Mapping[str, str] | None = None,
        owner: object = None,
    ) -> Subscription:
        """Queue the events that match `pattern` from now on.

        `maxsize` events (default `Limits.subscription_queue`); `overflow` defaults to `block` for
        a subscriber and `drop_oldest` for a tap. Raises `RegistrationError`, also for a tap that
        blocks.
        """
        check_pattern(pattern)
        if overflow is None:
            overflow = "drop_oldest" if kind == "tap" else "block"
        elif kind == "tap" and overflow == "block":
            msg = f"a tap never makes anyone wait: {pattern!r} cannot block, use a subscriber"
            raise RegistrationError(msg)
        if maxsize is None:
            maxsize = self._limits.subscription_queue
        elif maxsize < 1:
            msg = f"the queue of {pattern!r} must hold at least 1 event, not {maxsize}"
            raise RegistrationError(msg)
        self._sub_serial += 1
        sub = Subscription(
            self._sub_serial,
            pattern,
            kind=kind,
            maxsize=maxsize,
            overflow=overflow,
            where=where,
            owner=owner,
        )
        self._router.add(sub)
        self._subs[sub.serial] = sub
        return sub

    @property
    def subscriptions(self) -> Iterable[Subscription]:
        """Those that are open, oldest first."""
        return self._subs.values()

    def close(self, sub: Subscription, now: float) -> None:
        """End a subscription; queued and parked events are dropped{closed}, publishers resume."""
        if not sub.closed:
            sub.closed = True
            self._router.remove(sub)
            del self._subs[sub.serial]
            self._empty(sub, "closed")

    # --- publishing ---

    @property
    def id_prefix(self) -> str:
        """What every id of this process begins with."""
        return self._id_prefix

    def listens(self, topic: str) -> bool:
        """Say whether any subscription matches `topic`, filters aside."""
        route = self._routes.get(topic) or self._router.find(topic)
        return bool(route.subscriptions)

    def publish(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        publisher: Publisher,
        cause: Event | None = None,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
        trace: TraceContext | None = None,
        correlation_id: str = "",
    ) -> Event:
        """Deliver an event to every match; where a lossless queue is full it parks.

        Afterwards `publisher.paused` may be True. Raises `WouldDeadlock`, and then nothing was
        delivered; `ValueError` for a bad topic.
        """
        route = self._routes.get(topic) or self._router.find(topic)
        event = self._event(
            topic, data, now, publisher, cause, subject, metadata, trace, correlation_id, None
        )
        for sub in route.blocking:
            if len(sub.queue) >= sub.maxsize:
                self._check_wait(sub, event, publisher)
        self.counts.published += 1
        if route.subscriptions:
            self._deliver(route, event, publisher)
        return event

    def publish_nowait(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        publisher: Publisher,
        cause: Event | None = None,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
        trace: TraceContext | None = None,
        correlation_id: str = "",
    ) -> Event:
        """Deliver an event to every match at once, or raise `WouldBlock` and deliver to none."""
        route = self._routes.get(topic) or self._router.find(topic)
        event = self._event(
            topic, data, now, publisher, cause, subject, metadata, trace, correlation_id, None
        )
        for sub in route.blocking:
            if len(sub.queue) >= sub.maxsize and self._would_park(sub, event):
                msg = f"the queue of {sub.pattern!r} is full"
                raise WouldBlock(msg)
        self.counts.published += 1
        if route.subscriptions:
            self._deliver(route, event, publisher)
        return event

    def withdraw(self, publisher: Publisher, reason: str, now: float) -> None:
        """Drop what `publisher` has parked, counted dropped{reason} and announced; it resumes."""
        count = len(publisher.places)
        if not count:
            return
        for parked in publisher.places:
            del parked.subscription.entries[parked]
            self._drop(parked.subscription, parked.event, reason)
        publisher.places.clear()
        self._resumed(publisher)
        if self.listens(EVENTS_DROPPED):
            dropped = EventsDropped(publisher.name, reason, count)
            self.publish(EVENTS_DROPPED, dropped, now, publisher=self._own)

    def handler_error(
        self, error: BaseException, event: Event, handler_name: str, now: float
    ) -> None:
        """Count an exception of a subscriber or tap, and publish it once, never recursively."""
        self.counts.handler_errors += 1
        if event.type != HANDLER_ERROR and self.listens(HANDLER_ERROR):
            about = HandlerError(
                handler_name, event.type, event.id, type(error).__name__, text_of(error)
            )
            self.publish(HANDLER_ERROR, about, now, publisher=self._own, cause=event)

    # --- taking ---

    def take(self, sub: Subscription, now: float) -> Event | None:
        """Return the oldest queued event, and let a parked one in; None if there is none.

        A lease held for the event is let go here: who handles it holds its own.
        """
        queue = sub.queue
        if not queue:
            sub.idle = True
            return None
        event = queue.popleft()
        sub.delivered += 1
        self.counts.delivered += 1
        if sub.entries:
            parked, _ = sub.entries.popitem(last=False)
            queue.append(parked.event)
            self._unpark(parked)
        if self._leases:
            self._let_go(event)
        return event

    def hold(self, event: Event, lease: Lease) -> None:
        """Retain `lease` once while any queue or parked place holds `event`.

        Call it right after the `publish` or `open` that made the event, once.
        """
        places = 0
        for sub in self._routes[event.type].subscriptions:
            if (sub.queue and sub.queue[-1] is event) or (
                sub.entries and next(reversed(sub.entries)).event is event
            ):
                places += 1
        if event.id in self._leases:
            msg = f"event {event.id} is held already"
            raise LocalProtocolError(msg)
        if places:
            lease.retain()
            self._leases[event.id] = _Held(lease, places)

    # --- inside ---

    def _event(
        self,
        topic: str,
        data: object,
        now: float,
        publisher: Publisher,
        cause: Event | None,
        subject: str,
        metadata: Mapping[str, str] | None,
        trace: TraceContext | None,
        correlation_id: str,
        deadline: float | None,
    ) -> Event:
        self._serial = serial = self._serial + 1
        event_id = f"{self._id_prefix}{serial}"
        if cause is None and not metadata:
            return Event(
                event_id, publisher.name, topic, now + self._clock.offset, data, subject,
                correlation_id or event_id, "", trace, deadline,
            )  # fmt: skip
        causation_id = ""
        if cause is not None:
            causation_id = cause.id
            correlation_id = correlation_id or cause.correlation_id
            trace = trace or cause.trace
        return Event(
            event_id,
            publisher.name,
            topic,
            now + self._clock.offset,
            data,
            subject,
            correlation_id or event_id,
            causation_id,
            trace,
            deadline,
            MappingProxyType(dict(metadata)) if metadata else NO_METADATA,
        )

    def _check_wait(self, sub: Subscription, event: Event, publisher: Publisher) -> None:
        """Raise `WouldDeadlock` if `event` would park at `sub` and its publisher wait for itself."""
        if self._would_park(sub, event):
            path = find_cycle(publisher, sub)
            if path is not None:
                raise WouldDeadlock(path)

    def _would_park(self, sub: Subscription, event: Event) -> bool:
        """Say whether an event for this full lossless queue would wait for room."""
        if self._shut or event.type.startswith(DIAGNOSTIC):
            return False
        return sub.filter is None or sub.filter.passes(event)

    def _deliver(self, route: Route, event: Event, publisher: Publisher) -> None:
        for sub in route.subscriptions:
            if sub.filter is not None and not sub.filter.passes(event):
                continue
            sub.matched += 1
            if len(sub.queue) < sub.maxsize:
                sub.queue.append(event)
                if sub.idle:
                    sub.idle = False
                    self.outputs.append(sub)
            else:
                self._overflow(sub, event, publisher)

    def _overflow(self, sub: Subscription, event: Event, publisher: Publisher) -> None:
        if sub.overflow == "drop_oldest":
            oldest = sub.queue.popleft()
            sub.queue.append(event)
            self._drop(sub, oldest, "overflow")
        elif sub.overflow == "drop_newest":
            self._drop(sub, event, "overflow")
        elif self._shut:
            self._drop(sub, event, "shutdown")
        elif event.type.startswith(DIAGNOSTIC):
            self._drop(sub, event, "diagnostic")
        else:
            parked = Parked(publisher, sub, event)
            sub.entries[parked] = None
            publisher.places[parked] = None

    def _drop(self, sub: Subscription, event: Event, reason: str) -> None:
        sub.dropped[reason] = sub.dropped.get(reason, 0) + 1
        self.counts.dropped[reason] = self.counts.dropped.get(reason, 0) + 1
        if self._leases:
            self._let_go(event)

    def _empty(self, sub: Subscription, reason: str) -> None:
        """Drop all that `sub` has queued and parked."""
        while sub.queue:
            self._drop(sub, sub.queue.popleft(), reason)
        while sub.entries:
            parked, _ = sub.entries.popitem(last=False)
            self._drop(sub, parked.event, reason)
            self._unpark(parked)

    def _unpark(self, parked: Parked) -> None:
        publisher = parked.publisher
        del publisher.places[parked]
        if not publisher.places:
            self._resumed(publisher)

    def _resumed(self, publisher: Publisher) -> None:
        if not publisher.announced:
            publisher.announced = True
            self.outputs.append(publisher)

    def _let_go(self, event: Event) -> None:
        held = self._leases.get(event.id)
        if held is not None:
            held.places -= 1
            if not held.places:
                del self._leases[event.id]
                held.lease.release()
