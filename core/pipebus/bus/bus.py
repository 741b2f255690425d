"""The bus: topics to subscriptions, requests to responders, replies to exchanges."""

from collections.abc import Mapping
from typing import Protocol

from pipebus.bus.counts import BusCounts
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group, Responder
from pipebus.bus.subscription import Kind, Overflow, Subscription
from pipebus.limits import Limits
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

Output = Subscription | Exchange | Publisher


class Lease(Protocol):
    """Memory that is counted until every holder has let go."""

    def retain(self) -> None:
        """Count one more holder."""
        ...

    def release(self) -> None:
        """Count one holder less."""
        ...


class Bus:
    """Routes events to listeners and pairs requests with replies; runs nothing itself.

    Registration: `subscribe`, `close`, `group`, `add_responder`. Mutators: `publish`,
    `publish_nowait`, `withdraw`, `hold`, `open`, `start_reply`, `reply`, `fail`, `cancel`,
    `expire`, `released`, `handler_error`, `drain`, `shutdown`. Outputs: `next_output`, then
    `take`, `find`, `listens`, `counts`, `open_exchanges`, `settled`. Time: exchanges are `Timed`
    in the queue given. After any mutator pull `next_output` until it is None.
    """

    def __init__(
        self, *, id_prefix: str, limits: Limits, timers: TimerQueue, clock: WallClock
    ) -> None:
        self.counts = BusCounts()
        self.draining = False

    @property
    def open_exchanges(self) -> int:
        """How many exchanges have not ended."""
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Whether nothing is open and every lossless queue is empty: a drain may end."""
        raise NotImplementedError

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
        raise NotImplementedError

    def close(self, sub: Subscription, now: float) -> None:
        """End a subscription; queued and parked events are dropped{closed}, publishers resume."""
        raise NotImplementedError

    def group(
        self, pattern: str, *, name: str = "", queue_size: int | None = None, routed: bool = True
    ) -> Group:
        """Register the responders of `pattern`.

        With `routed=False` it is reached by `open(group=...)` only and `pattern` is free text.
        `queue_size` defaults to `Limits.responder_queue`. Raises `RegistrationError` for a bad
        pattern or one that is taken.
        """
        raise NotImplementedError

    def add_responder(self, group: Group, *, concurrency: int | None, handler: object) -> Responder:
        """Add one responder with `concurrency` slots (None: no bound) to `group`."""
        raise NotImplementedError

    def listens(self, topic: str) -> bool:
        """Say whether any subscription matches `topic`, filters aside."""
        raise NotImplementedError

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
        traceparent: str = "",
        correlation_id: str = "",
    ) -> Event:
        """Deliver an event to every match; where a lossless queue is full it parks.

        Afterwards `publisher.paused` may be True. Raises `WouldDeadlock`, and then nothing was
        delivered; `ValueError` for a bad topic.
        """
        raise NotImplementedError

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
        traceparent: str = "",
        correlation_id: str = "",
    ) -> Event:
        """Deliver an event to every match at once, or raise `WouldBlock` and deliver to none."""
        raise NotImplementedError

    def withdraw(self, publisher: Publisher, reason: str, now: float) -> None:
        """Drop what `publisher` has parked, counted dropped{reason} and announced; it resumes."""
        raise NotImplementedError

    def take(self, sub: Subscription, now: float) -> Event | None:
        """Return the oldest queued event, and let a parked one in; None if there is none."""
        raise NotImplementedError

    def hold(self, event: Event, lease: Lease) -> None:
        """Keep `lease` while a queue or a parked place holds `event`; right after publish/open."""
        raise NotImplementedError

    def open(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        deadline: float,
        publisher: Publisher,
        group: Group | None = None,
        cause: Event | None = None,
        owner: object = None,
        timed: bool = True,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
        traceparent: str = "",
        correlation_id: str = "",
    ) -> Exchange:
        """Open an exchange: publish its request, and give it to a responder or its queue.

        `deadline` is absolute; the cause's wins if earlier. The exchange may have ended on return
        (`outcome` is set, and it is no output). Raises `WouldDeadlock` and then nothing happened;
        `ValueError` for a bad topic.
        """
        raise NotImplementedError

    def start_reply(self, exchange: Exchange, now: float) -> bool:
        """Accept the head of a streamed reply: the deadline is met. False if it came too late."""
        raise NotImplementedError

    def reply(self, exchange: Exchange, result: object, now: float) -> bool:
        """End with a reply (or the end of a streamed one); False if discarded."""
        raise NotImplementedError

    def fail(self, exchange: Exchange, error: BaseException, now: float) -> bool:
        """End with the responder's exception; False if discarded."""
        raise NotImplementedError

    def cancel(self, exchange: Exchange, reason: str, now: float) -> bool:
        """End without a reply: `reason` is disconnect, caller or shutdown. False if it is over."""
        raise NotImplementedError

    def expire(self, exchange: Exchange, now: float) -> bool:
        """End it if its deadline has passed; harmless otherwise."""
        raise NotImplementedError

    def find(self, exchange_id: str, now: float) -> Exchange | None:
        """Return the open exchange of that id; None is counted as an unknown reply."""
        raise NotImplementedError

    def released(self, responder: Responder, now: float) -> None:
        """Free one slot: a handler is really gone, or its stream's head is out.

        Owed exactly once for each exchange that `next_output` gave to start.
        """
        raise NotImplementedError

    def handler_error(
        self, error: BaseException, event: Event, handler_name: str, now: float
    ) -> None:
        """Count an exception of a subscriber or tap, and publish it once, never recursively."""
        raise NotImplementedError

    def drain(self, now: float) -> None:
        """Refuse new work: opens without a cause end `drained`; those of work in flight go on."""
        raise NotImplementedError

    def shutdown(self, now: float) -> None:
        """Grace is over: open exchanges end cancelled(shutdown), queued and parked events drop."""
        raise NotImplementedError

    def next_output(self) -> Output | None:
        """Return the next thing to act on, or None.

        A Subscription has an event to `take` (then take until None). An Exchange with no outcome:
        start it on its responder; with one: it ended, tell its owner, cancel its invocation. A
        Publisher has nothing parked any more.
        """
        raise NotImplementedError
