"""Publish, request, sleep and subscribe, for handlers and for the program around them."""

from collections.abc import Callable, Mapping

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.subscription import Overflow, Subscription
from pipebus.engine.calls import Call, EventCall, Outbox, PublisherCall, RequestCall
from pipebus.engine.invocation import Invocation
from pipebus.errors import (
    NoResponder,
    PublishTimeout,
    Rejected,
    RequestCancelled,
    RequestError,
    RequestTimeout,
    ResponderFailed,
    WouldDeadlock,
    text_of,
)
from pipebus.limits import Limits

PROGRAM = "program"
"""`Event.source` of what is published outside any handler."""


def error_of(exchange: Exchange) -> RequestError:
    """Return the error that an exchange which was not answered raises at its caller."""
    topic = exchange.request.type
    if exchange.outcome == "timed_out":
        return RequestTimeout(f"no reply to {topic!r} in time")
    if exchange.outcome == "no_responder":
        return NoResponder(f"nobody answers {topic!r}")
    if exchange.outcome == "failed":
        cause = exchange.error
        assert cause is not None
        kind = type(cause).__name__
        error = ResponderFailed(f"the responder of {topic!r} failed: {kind}: {text_of(cause)}")
        error.__cause__ = cause
        return error
    if exchange.outcome == "cancelled":
        reason = exchange.cancel_reason
        return RequestCancelled(f"the request {topic!r} was cancelled: {reason}", reason)
    why = "is busy and its queue full"
    if exchange.outcome == "drained":
        why = "is draining"
    elif exchange.retry_after:
        why = f"fails: it is not asked for {exchange.retry_after:.3g} s"
    return Rejected(f"the responder of {topic!r} {why}")


class BusCalls:
    """Turns what somebody wants of the bus into calls that end when the bus says so."""

    __slots__ = ("_bus", "_closed", "_limits", "_outbox", "_readers")

    def __init__(self, bus: Bus, outbox: Outbox, limits: Limits) -> None:
        self._bus = bus
        self._outbox = outbox
        self._limits = limits
        self._readers: dict[str, EventCall] = {}
        self._closed = False

    def sender(self, origin: Invocation | None) -> Publisher:
        """Return who publishes for `origin` (None: the program) something that it awaits.

        One that is paused already has another wait of the same handler on its account, so this one
        gets an account of its own: each ends by itself.
        """
        if origin is None:
            return Publisher(PROGRAM)
        publisher = origin.publisher
        return Publisher(origin.name) if publisher.paused else publisher

    def publish(
        self,
        topic: str,
        data: object,
        now: float,
        origin: Invocation | None,
        subject: str,
        metadata: Mapping[str, str] | None,
    ) -> PublisherCall:
        """Publish; the call ends when nothing of it is parked any more."""
        publisher = self.sender(origin)
        call = PublisherCall(publisher)
        try:
            call.value = self._bus.publish(
                topic,
                data,
                now,
                publisher=publisher,
                cause=None if origin is None else origin.cause,
                trace=None if origin is None else origin.trace,
                subject=subject,
                metadata=metadata,
            )
        except WouldDeadlock as error:
            self._outbox.finish(call, error=error)
            return call
        self.settle(call, now, self._publish_expired)
        return call

    def publish_nowait(
        self,
        topic: str,
        data: object,
        now: float,
        origin: Invocation | None,
        subject: str,
        metadata: Mapping[str, str] | None,
    ) -> Event:
        """Publish to all or raise `WouldBlock`."""
        return self._bus.publish_nowait(
            topic,
            data,
            now,
            publisher=self.sender(origin),
            cause=None if origin is None else origin.cause,
            trace=None if origin is None else origin.trace,
            subject=subject,
            metadata=metadata,
        )

    def settle(
        self, call: PublisherCall, now: float, expired: Callable[[Call, float], None]
    ) -> None:
        """End a call that has all it waits for, or wait for its publisher to resume."""
        publisher = call.publisher
        if publisher.paused:
            if isinstance(publisher.owner, list):
                publisher.owner.append(call)
            else:
                publisher.owner = [call]
            self._outbox.expire_at(call, now + self._limits.publish_timeout, "publish", expired)
        else:
            self._outbox.finish(call, call.value, call.error)

    def resumed(self, publisher: Publisher) -> None:
        """Note that a publisher has nothing parked any more: end the calls that wait for it."""
        calls, publisher.owner = publisher.owner, None
        if isinstance(calls, list):
            for call in calls:
                self._outbox.finish(call, call.value, call.error)

    def _publish_expired(self, call: Call, now: float) -> None:
        assert isinstance(call, PublisherCall)
        seconds = self._limits.publish_timeout
        call.error = PublishTimeout(f"no room in a lossless queue for {seconds:g} s")
        self._bus.withdraw(call.publisher, "publish_timeout", now)

    def give_up(self, call: Call, now: float) -> None:
        """Drop what a call's publisher has parked for too long; the call ends as it would."""
        assert isinstance(call, PublisherCall)
        self._bus.withdraw(call.publisher, "publish_timeout", now)

    def request(
        self,
        topic: str,
        data: object,
        now: float,
        origin: Invocation | None,
        timeout: float | None,
        subject: str,
        metadata: Mapping[str, str] | None,
    ) -> RequestCall:
        """Ask for a reply within `timeout` seconds, capped by the origin's own deadline."""
        call = RequestCall(self.sender(origin))
        wait = self._limits.request_timeout if timeout is None else timeout
        self.open(call, topic, data, now, origin, now + wait, subject, metadata)
        return call

    def open(
        self,
        call: RequestCall,
        topic: str,
        data: object,
        now: float,
        origin: Invocation | None,
        deadline: float,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Open the exchange of a call."""
        if origin is not None and origin.deadline is not None:
            deadline = min(deadline, origin.deadline)
        try:
            exchange = self._bus.open(
                topic,
                data,
                now,
                deadline=deadline,
                publisher=call.publisher,
                cause=None if origin is None else origin.cause,
                trace=None if origin is None else origin.trace,
                owner=call,
                subject=subject,
                metadata=metadata,
            )
        except WouldDeadlock as error:
            self._outbox.finish(call, error=error)
            return
        call.exchange = exchange
        if exchange.outcome is not None:
            self.answered(call, exchange, now)
        else:
            call.publisher.waits_on = exchange

    def answered(
        self,
        call: RequestCall,
        exchange: Exchange,
        now: float,
        error: BaseException | None = None,
    ) -> None:
        """Note that a call's exchange has ended; `error` takes the place of the usual one."""
        if call.publisher.waits_on is exchange:
            call.publisher.waits_on = None
        if call.done:
            return
        if exchange.outcome == "replied":
            call.value = exchange.reply
        else:
            call.error = error or error_of(exchange)
        self.settle(call, now, self.give_up)

    def sleep(self, seconds: float, now: float) -> Call:
        """Wait `seconds`; zero or less ends at the next opportunity."""
        call = Call()
        self._outbox.expire_at(
            call, now + max(seconds, 0.0), "sleep", lambda slept, _: self._outbox.finish(slept)
        )
        return call

    def abandon(self, call: Call, now: float) -> None:
        """Note that nobody waits for a call any more: what it asked for is called off."""
        if isinstance(call, RequestCall) and call.exchange is not None:
            self._bus.cancel(call.exchange, "caller", now)
        if isinstance(call, PublisherCall):
            self.orphan(call.publisher, call, now)
        if isinstance(call, EventCall):
            self._readers.pop(call.subscription.id, None)
        self._outbox.finish(call)

    def orphan(self, publisher: Publisher, call: PublisherCall, now: float) -> None:
        """Take a call off those that wait for a publisher; without any, what it parked drops."""
        waiting = publisher.owner
        if isinstance(waiting, list) and call in waiting:
            waiting.remove(call)
        if publisher.paused and not waiting:
            self._bus.withdraw(publisher, "cancelled", now)

    def subscribe(
        self,
        pattern: str,
        now: float,
        where: Mapping[str, str] | None,
        maxsize: int | None,
        overflow: Overflow,
    ) -> Subscription:
        """Open a subscription that the program reads itself, by `next_event`."""
        return self._bus.subscribe(
            pattern, now, maxsize=maxsize, overflow=overflow, where=where, owner=self
        )

    def next_event(self, subscription: Subscription, now: float) -> EventCall:
        """Wait for the next event; one wait at a time on one subscription."""
        call = EventCall(subscription)
        event = self._bus.take(subscription, now)
        if event is not None or subscription.closed or self._closed:
            self._outbox.finish(call, event)
        elif subscription.id in self._readers:
            msg = "somebody waits for this subscription's next event already"
            raise RuntimeError(msg)
        else:
            self._readers[subscription.id] = call
        return call

    def ready(self, subscription: Subscription, now: float) -> None:
        """Note that a subscription has an event."""
        call = self._readers.pop(subscription.id, None)
        if call is not None:
            self._outbox.finish(call, self._bus.take(subscription, now))

    def unsubscribe(self, subscription: Subscription, now: float) -> None:
        """Close a subscription; who waits for its next event is told."""
        self._bus.close(subscription, now)
        call = self._readers.pop(subscription.id, None)
        if call is not None:
            self._outbox.finish(call)

    def close(self, now: float) -> None:
        """Let go of everyone who waits for an event, now or later: nothing more will come."""
        self._closed = True
        for call in list(self._readers.values()):
            self.unsubscribe(call.subscription, now)
