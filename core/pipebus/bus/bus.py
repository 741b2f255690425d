"""The bus: topics to subscriptions, requests to responders, replies to exchanges."""

from collections.abc import Mapping
from typing import Final

from pipebus.bus.counts import Discard
from pipebus.bus.diagnostics import ReplyDiscarded
from pipebus.bus.event import Event
from pipebus.bus.exchange import TRANSITIONS, Exchange, Input, Outcome, State
from pipebus.bus.publisher import Publisher
from pipebus.bus.pubsub import Output, PubSub
from pipebus.bus.responders import Group, Responder
from pipebus.bus.topic import check_pattern
from pipebus.bus.wait_graph import find_cycle
from pipebus.errors import LocalProtocolError, RegistrationError, WouldDeadlock
from pipebus.limits import INFINITY, Limits
from pipebus.resilience.circuit_breaker import CircuitBreaker
from pipebus.telemetry.trace import TraceContext
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

_STARTED: Final = TRANSITIONS["opening", "start"][0]
_REPLIED: Final = TRANSITIONS["running", "reply"]

_REPLY: Final[dict[Discard, str]] = {
    "late": "pipebus.reply.late",
    "duplicate": "pipebus.reply.duplicate",
    "unknown": "pipebus.reply.unknown",
}


class Bus(PubSub):
    """Routes events to listeners and pairs requests with replies; runs nothing itself.

    Registration: `subscribe`, `close`, `group`, `add_responder`. Mutators: `publish`,
    `publish_nowait`, `withdraw`, `hold`, `open`, `start_reply`, `reply`, `fail`, `cancel`,
    `expire`, `released`, `handler_error`, `drain`, `shutdown`. Outputs: `next_output`, then
    `take`, `find`, `listens`, `counts`, `open_exchanges`, `settled`. Time: exchanges are `Timed`
    in the queue given. After any mutator, and after timers, pull `next_output` until it is None.
    """

    __slots__ = ("_open", "_patterns", "_timers", "draining", "groups")

    def __init__(
        self, *, id_prefix: str, limits: Limits, timers: TimerQueue, clock: WallClock
    ) -> None:
        super().__init__(id_prefix=id_prefix, limits=limits, clock=clock)
        self._timers = timers
        self._open: dict[str, Exchange] = {}
        self.draining: bool = False
        self.groups: list[Group] = []
        """Every one that was registered."""

    @property
    def open_exchanges(self) -> int:
        """How many exchanges have not ended."""
        return len(self._open)

    @property
    def settled(self) -> bool:
        """Whether nothing is open and every lossless queue is empty: a drain may end."""
        return not self._open and not any(
            sub.queue for sub in self._subs.values() if sub.overflow == "block"
        )

    def group(
        self, pattern: str, *, name: str = "", queue_size: int | None = None, routed: bool = True
    ) -> Group:
        """Register the responders of `pattern`.

        With `routed=False` it is reached by `open(group=...)` only and `pattern` is free text.
        `queue_size` defaults to `Limits.responder_queue`. Raises `RegistrationError` for a bad
        pattern or one that is taken.
        """
        if queue_size is None:
            queue_size = self._limits.responder_queue
        elif queue_size < 0:
            msg = f"the queue of {pattern!r} must hold 0 or more requests, not {queue_size}"
            raise RegistrationError(msg)
        group = Group(pattern, name or pattern, queue_size)
        if routed:
            check_pattern(pattern)
            self._router.add_group(group)
        self.groups.append(group)
        return group

    def add_responder(self, group: Group, *, concurrency: int | None, handler: object) -> Responder:
        """Add one responder with `concurrency` slots (None: no bound) to `group`."""
        if concurrency is not None and concurrency < 1:
            msg = f"a responder of {group.name!r} needs at least 1 slot, not {concurrency}"
            raise RegistrationError(msg)
        responder = Responder(group, concurrency, handler)
        group.responders.append(responder)
        return responder

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
        trace: TraceContext | None = None,
        correlation_id: str = "",
    ) -> Exchange:
        """Open an exchange: publish its request, and give it to a responder or its queue.

        `deadline` is absolute. A caller that itself has one passes the smaller: only it knows
        whether it answers the cause or merely watches it. The exchange may have ended on return
        (`outcome` is set, and it is no output). Raises `WouldDeadlock` and then nothing happened;
        `ValueError` for a bad topic.
        """
        route = self._routes.get(topic) or self._router.find(topic)
        if group is None:
            group = route.group
        event = self._event(
            topic, data, now, publisher, cause, subject, metadata, trace, correlation_id,
            deadline if deadline < INFINITY else None,
        )  # fmt: skip
        for sub in route.blocking:
            if len(sub.queue) >= sub.maxsize:
                self._check_wait(sub, event, publisher)
        exchange = Exchange(event, deadline, self, group, publisher, owner, timed)
        if (
            group is None
            or group.queue
            or group.breaker is not None
            or self.draining
            or now >= deadline
            or (responder := group.pick()) is None
        ):
            self._admit(exchange, now, nested=cause is not None)
        else:  # what `_enlist` and `_start` do: most exchanges start at once
            exchange.state = _STARTED
            self.counts.opened += 1
            self._open[exchange.id] = exchange
            if timed:
                self._timers.watch(exchange)
            responder.running += 1
            exchange.responder = responder
            group.active[exchange] = None
            exchange.in_output = True
            self.outputs.append(exchange)
        self.counts.published += 1
        if route.subscriptions:
            self._deliver(route, event, publisher)
        return exchange

    def start_reply(self, exchange: Exchange, now: float) -> bool:
        """Accept the head of a streamed reply: the deadline is met. False if discarded."""
        if not self._move(exchange, "start_reply", now):
            return self._discard(exchange, now)
        exchange.response_started = True
        self._clear_deadline(exchange)
        return True

    def reply(self, exchange: Exchange, result: object, now: float) -> bool:
        """End with a reply (or the end of a streamed one); False if discarded."""
        if exchange.state == "running" and now < exchange.deadline and not exchange.in_output:
            # what `_move` and `_end` do: most exchanges end like this
            exchange.state, exchange.outcome = _REPLIED
            group = exchange.group
            assert group is not None, "a responder of its group answers it"
            del group.active[exchange]
            self.counts.outcomes["replied"] += 1
            del self._open[exchange.id]
            if exchange.timed:
                self._timers.forget(exchange)
            else:
                exchange.deadline = INFINITY
            exchange.in_output = True
            self.outputs.append(exchange)
        elif not self._move(exchange, "reply", now):
            return self._discard(exchange, now)
        exchange.response_started = True
        exchange.reply = result
        return True

    def fail(self, exchange: Exchange, error: BaseException, now: float) -> bool:
        """End with the responder's exception; False if discarded."""
        if not self._move(exchange, "fail", now):
            return self._discard(exchange, now)
        exchange.error = error
        return True

    def cancel(self, exchange: Exchange, reason: str, now: float) -> bool:
        """End without a reply: `reason` is disconnect, caller or shutdown. False if it is over."""
        if not self._move(exchange, "cancel", now):
            return False
        exchange.cancel_reason = reason
        return True

    def expire(self, exchange: Exchange, now: float) -> bool:
        """End it if its deadline has passed; harmless otherwise."""
        return now >= exchange.deadline and self._move(exchange, "expire", now)

    def find(self, exchange_id: str, now: float) -> Exchange | None:
        """Return the open exchange of that id; None is counted as an unknown reply.

        For who holds no `Exchange`. One that has ended is unknown too: nothing is kept of it.
        """
        exchange = self._open.get(exchange_id)
        if exchange is None:
            self._discarded("unknown", exchange_id, "", "", None, now)
        return exchange

    def released(self, responder: Responder, now: float) -> None:
        """Free one slot: a handler is really gone, or its stream's head is out.

        Owed exactly once for each exchange that `next_output` gave to start.
        """
        if not responder.running:
            msg = f"{responder!r} has no slot taken"
            raise LocalProtocolError(msg)
        responder.running -= 1
        group = responder.group
        while group.queue:
            waiting = group.queue[0]
            if self.expire(waiting, now):
                continue
            free = group.pick()
            if free is None:
                return
            self._move(waiting, "start", now)
            self._start(waiting, free)

    def drain(self, now: float) -> None:
        """Refuse new work: opens without a cause end `drained`; those of work in flight go on."""
        self.draining = True

    def shutdown(self, now: float) -> None:
        """Grace is over: open exchanges end cancelled(shutdown), subscribers' events are dropped.

        Taps, for whom nobody waits, keep theirs: they are to see how it ended. From now on every
        open ends `drained` and nothing parks. May be called again.
        """
        self.draining = True
        self._shut = True
        # the youngest first, so that a slot given back does not start what is cancelled next
        for exchange in reversed(list(self._open.values())):
            self.cancel(exchange, "shutdown", now)
        for sub in self._subs.values():
            if sub.kind == "subscriber":
                self._empty(sub, "shutdown")

    def next_output(self) -> Output | None:
        """Return the next thing to act on, or None.

        A Subscription has an event to `take` (then take until None). An Exchange with no outcome:
        start it on its responder; with one: it ended, tell its owner, cancel its invocation. A
        Publisher has nothing parked any more.
        """
        while self.outputs:
            output = self.outputs.popleft()
            if isinstance(output, Exchange):
                output.in_output = False
                output.started = output.started or output.outcome is None
                return output
            if isinstance(output, Publisher):
                output.announced = False
                if not output.paused:
                    return output
            elif not output.closed:
                return output
        return None

    # --- inside ---

    def _admit(self, exchange: Exchange, now: float, *, nested: bool) -> None:
        """Decide where an opening exchange goes."""
        group = exchange.group
        if self.draining and (self._shut or not nested):
            self._refuse(exchange, "drain")
        elif group is None or not group.responders:
            self._refuse(exchange, "refuse")
        elif now >= exchange.deadline:
            self._refuse(exchange, "expire")
        elif group.breaker is not None and not self._let_through(exchange, group.breaker, now):
            self._refuse(exchange, "reject")
        elif not group.queue and (responder := group.pick()) is not None:
            self._enlist(exchange, "start")
            self._start(exchange, responder)
        elif len(group.queue) < group.queue_size:
            path = find_cycle(exchange.publisher, group)
            if path is not None:
                self._give_ticket_back(exchange, now)
                raise WouldDeadlock(path)
            self._enlist(exchange, "queue")
            group.queue.append(exchange)
        else:
            self._give_ticket_back(exchange, now)
            self._refuse(exchange, "reject")

    @staticmethod
    def _let_through(exchange: Exchange, breaker: CircuitBreaker, now: float) -> bool:
        exchange.ticket = breaker.acquire(now)
        if not exchange.ticket:
            exchange.retry_after = breaker.retry_after(now)
        return exchange.ticket > 0

    @staticmethod
    def _give_ticket_back(exchange: Exchange, now: float) -> None:
        group = exchange.group
        if exchange.ticket and group is not None and group.breaker is not None:
            group.breaker.record(exchange.ticket, None, now)
            exchange.ticket = 0

    def _refuse(self, exchange: Exchange, given: Input) -> None:
        """End an exchange that is opening: the opener has it in hand, so it is no output."""
        exchange.state, outcome = TRANSITIONS["opening", given]
        assert outcome is not None, "every refusal in the table has its outcome"
        exchange.outcome = outcome
        exchange.deadline = INFINITY
        self.counts.opened += 1
        self.counts.outcomes[outcome] += 1

    def _enlist(self, exchange: Exchange, given: Input) -> None:
        exchange.state, _ = TRANSITIONS["opening", given]
        self.counts.opened += 1
        self._open[exchange.id] = exchange
        if exchange.timed:
            self._timers.watch(exchange)

    def _start(self, exchange: Exchange, responder: Responder) -> None:
        """Take a slot and ask the engine to start."""
        responder.running += 1
        exchange.responder = responder
        responder.group.active[exchange] = None
        exchange.in_output = True
        self.outputs.append(exchange)

    def _move(self, exchange: Exchange, given: Input, now: float) -> bool:
        """Make a transition, the deadline first: what comes at or after it has lost.

        False where the table has none and the sender could not know.
        """
        if now >= exchange.deadline and given != "expire":
            self._move(exchange, "expire", now)
        was = exchange.state
        step = TRANSITIONS.get((was, given))
        if step is None:
            if was == "queued":
                msg = f"{given} for {exchange!r}: nobody has been asked to answer it"
                raise LocalProtocolError(msg)
            return False
        exchange.state, outcome = step
        group = exchange.group
        assert group is not None, "only an exchange that is opening may have none"
        if was == "running":
            del group.active[exchange]
        elif was == "queued":
            group.queue.remove(exchange)
        if outcome is not None:
            self._end(exchange, was, outcome, now)
        return True

    def _end(self, exchange: Exchange, was: State, outcome: Outcome, now: float) -> None:
        exchange.outcome = outcome
        self.counts.outcomes[outcome] += 1
        del self._open[exchange.id]
        self._clear_deadline(exchange)
        if not exchange.in_output:
            exchange.in_output = True
            self.outputs.append(exchange)
        else:  # never started: nobody else gives the slot back
            assert exchange.responder is not None, "it is in the output because it has a slot"
            self.released(exchange.responder, now)

    def _clear_deadline(self, exchange: Exchange) -> None:
        if exchange.timed:
            self._timers.forget(exchange)
        else:
            exchange.deadline = INFINITY

    def _discard(self, exchange: Exchange, now: float) -> bool:
        """Count and publish a reply that changes nothing."""
        answered = exchange.outcome in (None, "replied", "failed")  # None: it is streaming
        self._discarded(
            "duplicate" if answered else "late",
            exchange.id,
            exchange.request.type,
            exchange.outcome or exchange.state,
            exchange.request,
            now,
        )
        return False

    def _discarded(
        self,
        why: Discard,
        exchange_id: str,
        topic: str,
        outcome: str,
        cause: Event | None,
        now: float,
    ) -> None:
        self.counts.replies_discarded[why] += 1
        if self.listens(_REPLY[why]):
            about = ReplyDiscarded(exchange_id, topic, outcome)
            self.publish(_REPLY[why], about, now, publisher=self._own, cause=cause)
