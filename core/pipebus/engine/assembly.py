"""The parts of the engine, and how what one says becomes an input of another."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Responder
from pipebus.bus.subscription import Subscription
from pipebus.engine.actions import Action, Drained, Flush, StopAccepting, Wake
from pipebus.engine.bus_calls import BusCalls
from pipebus.engine.calls import HttpCall, Outbox, ReadCall, RequestCall
from pipebus.engine.checks import Checks
from pipebus.engine.handlers import Handlers
from pipebus.engine.health_routes import health_pipeline
from pipebus.engine.invocation import Invocation
from pipebus.engine.outgoing import Outgoing
from pipebus.engine.responder_breakers import ResponderBreakers
from pipebus.engine.wiring import wire_responders, wire_routes, wire_subscribers
from pipebus.http.annotations import Annotations
from pipebus.http.client import (
    BreakerChange,
    ClientCall,
    ClientConnection,
    HttpClient,
    Output,
)
from pipebus.http.client_events import CLIENT_REQUEST
from pipebus.http.dispatch import Dispatch
from pipebus.http.drain import Drain
from pipebus.http.gate import Gate, new_gate
from pipebus.http.routes import Routes
from pipebus.http.session import BodyStream, RouteTarget, Session
from pipebus.http.wire import WireCodec
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.admission import Admission
from pipebus.resilience.policies import BreakerPolicy, RateLimit, RetryPolicy
from pipebus.telemetry.trace import Tracing
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock


class Assembly:
    """Bus, dispatch, client and handlers wired together: their life, their time, their outputs."""

    def __init__(
        self,
        pipeline: Pipeline[Any],
        *,
        wire: WireCodec,
        id_prefix: str,
        now: float,
        limits: Limits | None = None,
        client_limits: ClientLimits | None = None,
        timeouts: Timeouts | None = None,
        rate_limit: RateLimit | None = None,
        trusted_proxies: Sequence[str] = (),
        request_id: bool = False,
        server_timing: bool = False,
        tracing: Tracing | None = None,
        health_routes: bool = False,
        breaker: BreakerPolicy | None = None,
        retry: RetryPolicy | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        """Make the parts; raises `RegistrationError` for declarations in conflict.

        The options are those of `serve` (`pipebus_anyio.options.ServeOptions`), and `random`, which
        draws from [0, 1): `ValueError` for a `breaker` or `retry` without it.
        """
        limits = limits or Limits()
        self.limits = limits
        self.state: Any = None
        """What the lifespan yielded."""
        self.clock: WallClock = WallClock()
        self.timers: TimerQueue = TimerQueue()
        self.bus: Bus = Bus(
            id_prefix=id_prefix, limits=limits, timers=self.timers, clock=self.clock
        )
        self.admission: Admission = Admission(limits)
        self.client: HttpClient = HttpClient(
            client_limits or ClientLimits(), wire, self.timers, id_prefix=id_prefix,
            breaker=breaker, retry=retry, random=random, clock=self.clock,
        )  # fmt: skip
        self._now = now
        self._outbox = Outbox(self.timers, Wake)
        self.actions: deque[Action] = self._outbox.actions
        """What `next_action` returns first, for who asks often."""
        self._drain = Drain(limits.grace, limits.linger_timeout, delay=limits.drain_delay)
        self._drain.on_left = self._stop_accepting
        self.breakers: ResponderBreakers = ResponderBreakers(random)
        """Of routes and responders; those of the client are `client.breakers`."""
        self._breaker_changes = self.breakers.changes
        routes: Routes[RouteTarget] = Routes()
        wire_routes(routes, pipeline, self.bus, limits, self.breakers)
        self.gate: Gate | None = new_gate(
            limits,
            self.timers,
            rate_limit=rate_limit,
            trusted_proxies=trusted_proxies,
            routes_limited=any(route.rate_limit is not None for route in pipeline.routes),
        )
        """Who is let in, where anything bounds that but `admission`."""
        self.dispatch: Dispatch = Dispatch(
            self.bus,
            routes,
            limits=limits,
            wire=wire,
            timers=self.timers,
            clock=self.clock,
            admission=self.admission,
            drain=self._drain,
            gate=self.gate,
            annotations=(
                Annotations(request_id=request_id, server_timing=server_timing)
                if request_id or server_timing
                else None
            ),
            tracing=tracing,
        )
        self._calls = BusCalls(self.bus, self._outbox, limits)
        self._handlers = Handlers(
            pipeline, self.bus, self.dispatch, self._outbox, limits, id_prefix, tracing
        )
        self.checks: Checks = Checks(
            pipeline.checks, self._handlers, self.bus, self._outbox, self._drain, id_prefix
        )
        """The health checks, for looking at: `ready`, `all`."""
        if health_routes:
            wire_routes(
                routes,
                health_pipeline(lambda: self.checks, details=False),
                self.bus,
                limits,
                self.breakers,
                exempt=True,
            )
        self._outgoing = Outgoing(
            self.bus, self._calls, self.client, self._outbox, timeouts or Timeouts(), tracing
        )
        self._network: Responder | None = None
        """Who answers outgoing calls, unless the pipeline does."""
        if CLIENT_REQUEST not in wire_responders(pipeline, self.bus, limits, self.breakers):
            self._network = self._outgoing.register()
        wire_subscribers(pipeline, self.bus, now)
        self._drain.others = self._handlers.lossless
        self._readers: dict[BodyStream, ReadCall] = {}
        self._cut = False
        self._told_drained = False
        self._from_bus = self.bus.outputs
        self._from_dispatch = self.dispatch.outputs
        self._granted = self.admission.bodies.granted
        self._from_client = self.client.outputs
        self._from_dials = self.client.dialing

    # --- life ----------------------------------------------------------------------------------

    def start(self, state: object, now: float) -> None:
        """Note what the lifespan yielded: `ctx.state` from now on."""
        self.state = state
        self.checks.start(now)
        self._settle(now)

    def set_wall_clock(self, wall: float, now: float) -> None:
        """Say that it is `wall` seconds since the epoch (UTC); about once a minute."""
        self.clock.set(wall, now)

    @property
    def draining(self) -> bool:
        """Whether a drain has begun."""
        return self._drain.state != "serving"

    @property
    def running(self) -> int:
        """How many invocations have not ended."""
        return len(self._handlers.running)

    @property
    def invocations(self) -> tuple[Invocation, ...]:
        """Those that have not ended, oldest first."""
        return tuple(self._handlers.running)

    @property
    def uploads(self) -> int:
        """How many bodies of outgoing requests are being sent."""
        return self._outgoing.uploads

    def leave(self, now: float) -> None:
        """Say that the end is near: unready at once, `StopAccepting` after `Limits.drain_delay`."""
        self._drain.leave(now)
        self.timers.watch(self._drain)
        self._settle(now)

    def _stop_accepting(self) -> None:
        self.actions.append(StopAccepting())

    def drain(self, now: float) -> None:
        """Finish what is in flight within `Limits.grace`, then cut the rest; ends in `Drained`."""
        self.checks.stop()
        self.dispatch.drain(now)
        self.client.drain(now)
        self._settle(now)

    def close(self, now: float) -> None:
        """Cut everything at once: what is open is cancelled (shutdown), connections close."""
        if not self.draining:
            self.checks.stop()
            self.dispatch.drain(now)
        self._drain.cut(now)
        self._settle(now)

    def _cut_rest(self, now: float) -> None:
        """Grace is over: end every exchange, drop every queue, cancel every handler."""
        self._cut = True
        self.bus.drain(now)
        self.bus.shutdown(now)
        self.client.close(now)
        self._calls.close(now)
        for invocation in list(self._handlers.running):
            self._handlers.cancel(invocation)

    # --- time ----------------------------------------------------------------------------------

    def next_wake(self) -> float:
        """Return when to call `handle_timeout`, infinity for never; see `TimerQueue.next_wake`."""
        return self._now if self._handlers.taps_wait else self.timers.next_wake()

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` has something to do, or None."""
        if self._handlers.taps_wait:
            return self._now
        return self.timers.next_deadline()

    @property
    def deadline_reason(self) -> str:
        """What the next deadline is for."""
        return "taps" if self._handlers.taps_wait else self.timers.deadline_reason

    def handle_timeout(self, now: float) -> None:
        """Act on every deadline at or before `now`; harmless when there is none."""
        timers = self.timers
        while (timed := timers.next_due(now)) is not None:
            timed.handle_timeout(now)
            timers.watch(timed)
        self._settle(now)

    # --- actions -------------------------------------------------------------------------------

    def next_action(self) -> Action | None:
        """Return what is to be done next, or None: the sweep is over."""
        if self.actions:
            return self.actions.popleft()
        if not self._handlers.run_a_tap(self._now):
            return None
        if self._granted:  # the event that was taken held a body's bytes
            self._settle(self._now)
        return self.actions.popleft()

    def _settle(self, now: float) -> None:
        """Turn what the machines below say into actions, and into inputs for one another."""
        self._now = now
        # A queue is looked at before its owner is asked: most inputs leave most of them empty.
        if (
            self._from_bus
            or self._from_dispatch
            or self._from_client
            or self._from_dials
            or self._granted
            or self._drain.state != "serving"
        ):
            self._settle_all(now)

    def _settle_all(self, now: float) -> None:
        from_bus, from_dispatch, granted = self._from_bus, self._from_dispatch, self._granted
        draining = self._drain.state != "serving"
        while True:
            if from_bus and (output := self.bus.next_output()) is not None:
                if not isinstance(output, Exchange):
                    self._on_subscribed(output, now)
                elif output.outcome is not None:
                    self._ended(output, now)
                elif output.responder is self._network:
                    self._outgoing.start(output, now)
                else:
                    self._handlers.start(output, now)
            elif (from_dispatch or granted or draining) and (
                said := self.dispatch.next_output(now)
            ) is not None:
                if isinstance(said, Session):
                    self.actions.append(Flush(said))
                else:
                    self._on_stream(said, now)
            elif (self._from_client or self._from_dials) and (
                asked := self.client.next_output()
            ) is not None:
                self._on_client(asked, now)
            elif self._breaker_changes:
                self._outgoing.breaker_changed(self._breaker_changes.popleft(), now)
            else:
                break
        if draining:
            self._settle_drain(now)

    def _on_subscribed(self, output: Subscription | Publisher, now: float) -> None:
        if isinstance(output, Subscription):
            if output.owner is self._calls:
                self._calls.ready(output, now)
            else:
                self._handlers.ready(output, now)
        elif isinstance(output.owner, Session):
            self.dispatch.publisher_resumed(output.owner, now)
        else:
            self._calls.resumed(output)

    def _ended(self, exchange: Exchange, now: float) -> None:
        if exchange.ticket:
            self.breakers.ended(exchange, now)
        responder = exchange.responder
        if responder is not None and responder is self._network:
            self._outgoing.ended(exchange, now)  # what it publishes, its caller waits for
        else:
            self._handlers.exchange_ended(exchange)
        owner = exchange.owner
        if isinstance(owner, Session):
            self.dispatch.exchange_ended(exchange, now)
            if exchange.error is not None:
                self._handlers.unsendable(exchange)
            return
        if isinstance(owner, HttpCall):
            self._outgoing.answered(owner, exchange, now)
        else:
            assert isinstance(owner, RequestCall)
            self._calls.answered(owner, exchange, now)
        owner.exchange = None  # no circles: what is over is let go of without the collector

    def _on_client(self, asked: Output, now: float) -> None:
        if isinstance(asked, ClientCall):
            self._outgoing.news(asked, now)
        elif isinstance(asked, ClientConnection):
            self.actions.append(Flush(asked))
        elif isinstance(asked, BreakerChange):
            self._outgoing.breaker_changed(asked, now)
        else:
            self.actions.append(asked)

    def _on_stream(self, said: BodyStream | Exchange, now: float) -> None:
        if isinstance(said, Exchange):
            self._handlers.writable(said)
        else:
            read = self._readers.get(said)
            if read is not None and self._feed(said, read, now):
                del self._readers[said]

    def _settle_drain(self, now: float) -> None:
        drain = self._drain
        if drain.state != "draining" and not self._cut:
            self._cut_rest(now)
            self._settle(now)
        if drain.drained and not self._told_drained:
            self._told_drained = True
            self.actions.append(Drained())

    def _feed(self, source: BodyStream, read: ReadCall, now: float) -> bool:
        piece = source.take(now)
        if piece is None and not source.finished:
            return False
        self._outbox.finish(read, piece, None if piece is not None else source.error)
        return True
