"""The life of every call of a handler, from its `Run` to `ended`."""

from collections import deque
from typing import Any, Protocol

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.subscription import Subscription
from pipebus.engine.actions import Cancel, OutgoingBody, Report, Run
from pipebus.engine.calls import Outbox, RoomCall
from pipebus.engine.handler_spans import end_span, start_span
from pipebus.engine.invocation import OPEN, Invocation
from pipebus.engine.responder_breakers import judge
from pipebus.errors import LocalProtocolError, StreamInterrupted
from pipebus.http.dispatch import Dispatch
from pipebus.http.problem import answer_for_error
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline, ResponderDecl, RouteDecl, SubscriberDecl
from pipebus.telemetry.trace import Tracing

_STOPPED = "the handler's task was cancelled from outside"


class CheckEnds(Protocol):
    """What the life of a health check is told to."""

    def completed(self, invocation: Invocation, result: object, now: float) -> None:
        """Take what a check returned."""
        ...

    def failed(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Take what a check raised."""
        ...

    def ended(self, invocation: Invocation, now: float) -> None:
        """Note that its task or thread is really gone."""
        ...


class Handlers:
    """Makes invocations of exchanges and events, and results of what comes back.

    Inputs: `start` (an exchange that has a responder), `ready` (a subscription that has an event),
    `exchange_ended`, `begin`, `complete`, `fail`, `ended`, `body_chunk`, `body_end`, `body_failed`.
    """

    __slots__ = (
        "_bus", "_dispatch", "_limits", "_number", "_outbox", "_pipeline", "_prefix", "_rooms",
        "_tap_budget", "_taps", "_tracing", "checks", "running",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Pipeline[Any],
        bus: Bus,
        dispatch: Dispatch,
        outbox: Outbox,
        limits: Limits,
        id_prefix: str,
        tracing: Tracing | None,
    ) -> None:
        self._pipeline = pipeline
        self._bus = bus
        self._dispatch = dispatch
        self._outbox = outbox
        self._limits = limits
        self._tracing = tracing
        self._prefix = f"{id_prefix}i"
        self._number = 0
        self._taps: deque[Subscription] = deque()
        self._tap_budget = limits.taps_per_sweep
        self._rooms: dict[Exchange, RoomCall] = {}
        self.running: dict[Invocation, None] = {}
        """Every invocation that has not ended."""
        self.checks: CheckEnds
        """Who is told of the ends of invocations of kind `check`."""

    def _id(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number}"

    def run(self, invocation: Invocation, now: float) -> None:
        """Have it run."""
        if self._tracing is not None:
            start_span(self._tracing, invocation, now)
        self.running[invocation] = None
        self._outbox.actions.append(Run(invocation))

    # --- what is to run ------------------------------------------------------------------------

    def start(self, exchange: Exchange, now: float) -> None:
        """Run the handler that a responder of `exchange` stands for."""
        responder = exchange.responder
        assert responder is not None
        declared = responder.handler
        event = exchange.request
        if isinstance(declared, RouteDecl):
            invocation = Invocation(
                self._id(), "route", declared.handler, (event.data,), event, exchange, responder,
            )  # fmt: skip
        else:
            assert isinstance(declared, ResponderDecl)
            invocation = Invocation(
                self._id(), "respond", declared.handler, (event,), event, exchange, responder,
            )  # fmt: skip
            if declared.timeout is not None and now + declared.timeout < exchange.deadline:
                exchange.deadline = now + declared.timeout
                self._outbox.timers.watch(exchange)
        exchange.invocation = invocation
        self.run(invocation, now)

    def ready(self, subscription: Subscription, now: float) -> None:
        """Run a declared subscriber for its next event, now, or a tap after the sweep's writes."""
        if subscription.kind == "tap":
            self._taps.append(subscription)
        else:
            self._next(subscription, now)

    def _next(self, subscription: Subscription, now: float) -> None:
        event = self._bus.take(subscription, now)
        if event is None:
            return
        declared = subscription.owner
        assert isinstance(declared, SubscriberDecl)
        self.run(
            Invocation(
                self._id(),
                declared.kind,
                declared.handler,
                (event,),
                event,
                subscription=subscription,
            ),
            now,
        )

    def run_a_tap(self, now: float) -> bool:
        """Run one tap if one waits and the sweep's budget allows; False ends the sweep."""
        while self._taps:
            if self._tap_budget == 0:
                break
            self._tap_budget -= 1
            self._next(self._taps.popleft(), now)
            if self._outbox.actions:
                return True
        self._tap_budget = self._limits.taps_per_sweep
        return False

    @property
    def taps_wait(self) -> bool:
        """Whether taps were left for the next sweep."""
        return bool(self._taps)

    def lossless(self) -> int:
        """Count the subscribers at work: a drain waits for them, not for taps."""
        return sum(1 for invocation in self.running if invocation.kind == "subscriber")

    # --- what became of it ---------------------------------------------------------------------

    def begin(self, invocation: Invocation, now: float) -> bool:
        """Note that it runs; False: it was cancelled before, do not run it (but say `ended`)."""
        if invocation.cancelled or invocation.state != "created":
            return False
        invocation.state = "running"
        exchange = invocation.exchange
        if exchange is not None and invocation.kind == "route":
            self._dispatch.handler_began(exchange, now)
        return True

    def complete(self, invocation: Invocation, result: object, now: float) -> OutgoingBody | None:
        """Take what a handler returned; an `OutgoingBody` is to be iterated by its runner."""
        if invocation.state != "running":
            return None
        exchange = invocation.exchange
        if exchange is None:
            invocation.state = "finished"
            if invocation.kind == "check":
                self.checks.completed(invocation, result, now)
        elif invocation.kind == "respond":
            invocation.state = "finished"
            self._bus.reply(exchange, result, now)
        elif not isinstance(result, Response):
            kind = type(result).__name__
            self.fail(invocation, TypeError(f"{invocation.name} returned {kind}, no Response"), now)
        elif result.stream_body is None:
            invocation.state = "finished"
            self._bus.reply(exchange, result, now)
        else:
            return self._stream(invocation, exchange, result, now)
        return None

    def _stream(
        self, invocation: Invocation, exchange: Exchange, response: Response, now: float
    ) -> OutgoingBody | None:
        assert response.stream_body is not None
        if not self._dispatch.start_stream(exchange, response, now):
            invocation.state = "finished"
            if exchange.outcome == "failed" and exchange.error is not None:
                self._report(invocation, exchange.error)
            return None
        invocation.state = "streaming"
        if exchange.ticket:
            # Here and not at the end: a stream may have none, and a probe waits for it.
            judge(exchange, response.status < 500, now)
        self._release(invocation, now)
        return OutgoingBody(invocation, response.stream_body)

    def fail(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Take what a handler raised."""
        if invocation.state != "running":
            return
        invocation.failed = type(error).__name__
        invocation.state = "finished"
        exchange = invocation.exchange
        if exchange is None:
            self._fail_unanswered(invocation, error, now)
            return
        if invocation.kind == "route" and exchange.outcome is None:
            handler = self._pipeline.error_handler(type(error))
            if handler is not None:
                answer = Invocation(
                    self._id(), "error", handler, (error, exchange.request.data),
                    exchange.request, exchange=exchange,
                )  # fmt: skip
                exchange.invocation = answer
                self.run(answer, now)
                return
        told_so = exchange.outcome is not None and isinstance(error, StreamInterrupted)
        if (
            invocation.kind != "respond"
            and not told_so  # its peer has gone: that is no fault of the handler's
            and answer_for_error(error).status == 500
        ):
            self._report(invocation, error)
        self._bus.fail(exchange, error, now)

    def _fail_unanswered(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Take the failure of one that answers nobody."""
        if invocation.kind == "check":
            self.checks.failed(invocation, error, now)
            return
        self._bus.handler_error(error, invocation.cause, invocation.name, now)
        self._report(invocation, error)

    def _report(self, invocation: Invocation, error: BaseException) -> None:
        cause = invocation.cause
        request = cause.correlation_id or cause.id  # a problem answer's `instance`
        message = f"{invocation.kind} {invocation.name} failed on {cause.type} ({request})"
        self._outbox.actions.append(Report(message, error, invocation))

    def ended(self, invocation: Invocation, now: float) -> None:
        """Note that its task, thread or inline call is really gone; always the last word."""
        if invocation.state == "ended":
            return
        del self.running[invocation]
        if invocation.state in OPEN:
            self._stopped(invocation, now)
        invocation.state = "ended"
        if invocation.span is not None:
            end_span(invocation, now)
        self._release(invocation, now)
        exchange = invocation.exchange
        if exchange is not None and exchange.invocation is invocation:
            exchange.invocation = None  # no circle: the body is let go of without the collector
        subscription = invocation.subscription
        if subscription is None:
            if exchange is None:
                self.checks.ended(invocation, now)
            return
        subscription.runner = None
        if subscription.kind == "tap":
            self._taps.append(subscription)
        else:
            self._next(subscription, now)

    def _stopped(self, invocation: Invocation, now: float) -> None:
        """Settle what a handler leaves open that ended without a word: it was cancelled."""
        exchange = invocation.exchange
        if invocation.cancelled or (exchange is not None and exchange.outcome is not None):
            return
        error = RuntimeError(_STOPPED)
        if exchange is None:
            self._fail_unanswered(invocation, error, now)
            return
        self._report(invocation, error)
        if invocation.state == "streaming":
            self._dispatch.stream_failed(exchange, error, now)
        else:
            self._bus.fail(exchange, error, now)

    def _release(self, invocation: Invocation, now: float) -> None:
        responder, invocation.responder = invocation.responder, None
        if responder is not None:
            self._bus.released(responder, now)

    def exchange_ended(self, exchange: Exchange) -> None:
        """Cancel whoever still works on an exchange that has ended."""
        if self._rooms and (room := self._rooms.pop(exchange, None)) is not None:
            self._outbox.finish(
                room, error=StreamInterrupted("the response was cut: nobody reads it any more")
            )
        invocation = exchange.invocation
        if isinstance(invocation, Invocation) and invocation.state in OPEN:
            self.cancel(invocation)

    def unsendable(self, exchange: Exchange) -> None:
        """Report a response that was changed after it was made, so that it cannot be sent."""
        invocation, error = exchange.invocation, exchange.error
        if exchange.outcome == "replied" and error is not None:
            assert isinstance(invocation, Invocation)
            self._report(invocation, error)

    def cancel(self, invocation: Invocation) -> None:
        """Have its task cancelled, once; a thread runs on, and an inline call cannot stop."""
        if invocation.cancelled:
            return
        invocation.cancelled = True
        if invocation.mode == "task" or invocation.state == "streaming":
            self._outbox.actions.append(Cancel(invocation))

    # --- streamed responses --------------------------------------------------------------------

    def body_chunk(self, invocation: Invocation, chunk: object, now: float) -> RoomCall | None:
        """Send a piece; a call that is returned is to be waited for before the next.

        Raises `StreamInterrupted` when nobody reads the response any more, `LocalProtocolError` for
        more bytes than were announced, and `TypeError` for a piece that is no bytes.
        """
        exchange = invocation.exchange
        if exchange is None or invocation.state != "streaming":
            msg = "this response has ended"
            raise StreamInterrupted(msg)
        if not isinstance(chunk, bytes):
            msg = f"a streamed body is made of bytes, not {type(chunk).__name__}"
            raise TypeError(msg)
        if self._dispatch.stream_chunk(exchange, chunk, now):
            return None
        room = self._rooms[exchange] = RoomCall(exchange)
        return room

    def writable(self, exchange: Exchange) -> None:
        """Note that a streamed response may be written again."""
        room = self._rooms.pop(exchange, None)
        if room is not None:  # else its waiter has gone
            self._outbox.finish(room, value=True)

    def body_end(self, invocation: Invocation, now: float) -> None:
        """End a streamed response."""
        exchange = invocation.exchange
        if exchange is not None and invocation.state == "streaming":
            invocation.state = "finished"
            self._dispatch.stream_end(exchange, now)
            if isinstance(exchange.error, LocalProtocolError):  # shorter than its content_length
                self._report(invocation, exchange.error)

    def body_failed(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Cut a streamed response whose body raised `error`."""
        exchange = invocation.exchange
        if exchange is None or invocation.state != "streaming":
            return
        invocation.state = "finished"
        if not isinstance(error, StreamInterrupted):
            self._report(invocation, error)
        self._dispatch.stream_failed(exchange, error, now)

    def forget_room(self, room: RoomCall) -> None:
        """Note that nobody waits for room any more."""
        if isinstance(room.target, Exchange):
            self._rooms.pop(room.target, None)
        self._outbox.finish(room)
