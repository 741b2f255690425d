"""How calls get a connection and how they end: the half of the client that knows no response."""

from collections import deque
from collections.abc import Callable
from typing import Final

from pipebus.errors import (
    CallCancelled,
    ClientError,
    ConnectTimeout,
    LocalProtocolError,
    PoolTimeout,
    TotalTimeout,
)
from pipebus.http.call_attempts import CallAttempts
from pipebus.http.client_call import (
    BACKOFF,
    CONNECTING,
    DONE,
    RESOLVING,
    SENDING,
    WAITING,
    ClientCall,
)
from pipebus.http.client_connection import ClientConnection
from pipebus.http.dial import Dial, Dialer
from pipebus.http.dial_actions import AbandonConnect, Connect, Resolve
from pipebus.http.pool import Pool
from pipebus.http.server_events import Close
from pipebus.http.wire import WireCodec
from pipebus.limits import INFINITY, ClientLimits
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.telemetry.client_metrics import ClientMetrics
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

_HAS_NO_CONNECTION: Final = frozenset({WAITING, RESOLVING, CONNECTING})


class CallScheduler(CallAttempts):
    """Slots, dials and ends. Each step of a call is one synchronous change.

    A slot is freed in the same step in which its connection or dial is given up, and `_settle`
    hands it on before the step ends.
    """

    __slots__ = (
        "_call_expired",
        "_calls",
        "_closed",
        "_connections",
        "_dial_expired",
        "_dialer",
        "_id_prefix",
        "_limits",
        "_serial",
        "_wire",
        "dialing",
        "metrics",
        "pool",
    )

    def __init__(
        self,
        limits: ClientLimits,
        wire: WireCodec,
        timers: TimerQueue,
        *,
        id_prefix: str,
        breaker: BreakerPolicy | None = None,
        retry: RetryPolicy | None = None,
        random: Callable[[], float] | None = None,
        clock: WallClock | None = None,
    ) -> None:
        """Begin with nothing open; `random` and `clock` are those of `CallAttempts`."""
        super().__init__(timers, breaker, retry, random, clock)
        self._limits = limits
        self._wire = wire
        self._id_prefix = id_prefix
        self._serial = 0
        self._closed = False
        self._calls: dict[ClientCall, None] = {}
        self._connections: dict[ClientConnection, None] = {}
        self._dialer = Dialer(timers, stagger=limits.connect_stagger, id_prefix=id_prefix)
        self.dialing: deque[Resolve | Connect | AbandonConnect] = self._dialer.outputs
        """With `outputs`: for looking whether `next_output` may have something, which costs less
        than to ask."""
        # Bound once: one would be made for every call otherwise.
        self._call_expired = self._on_call_timeout
        self._dial_expired = self._on_dial_timeout
        self.pool: Pool = Pool(limits)
        """For looking at: `slots`, `idle`, `blocked`."""
        self.metrics: ClientMetrics = ClientMetrics()

    # --- to a connection ---------------------------------------------------------------------

    def _enqueue(self, call: ClientCall, now: float, *, again: bool = False) -> None:
        self.pool.enter(call, first=again)
        self._settle(now)
        if call.state is not WAITING:
            return
        if len(self.pool.blocked) > self._limits.max_waiting:
            waiting = self._limits.max_waiting
            self._give_up(call, PoolTimeout(f"{waiting} calls wait for a connection"), now)
            return
        limit = call.timeouts.pool
        call.deadline, call.deadline_reason = call.total, "total"
        if limit is not None and now + limit < call.total:
            call.deadline, call.deadline_reason = now + limit, "pool"
        self._timers.watch(call)

    def _settle(self, now: float) -> None:
        """Give slots to blocked calls, oldest first, while there are some or can be made."""
        blocked = self.pool.blocked
        while blocked and not self._closed:
            call = next(iter(blocked))
            spare = self.pool.spare_of(call.origin)
            if spare is not None:
                self.pool.remove_spare(spare)
                self._attach(spare, call, now)
            elif self.pool.has_room:
                self.pool.take_slot(call.origin)
                dial = Dial(call.request.target, self._dial_expired)
                self._dialer.start(dial, now)
                self._attach(dial, call, now)
            elif not self._make_room():
                return

    def _make_room(self) -> bool:
        spare = self.pool.spare()
        if spare is not None:
            self._drop_dial(spare)
            return True
        conn = self.pool.least_recent()
        if conn is None:
            return False
        self.stats.evicted += 1
        self._drop(conn)
        return True

    def _attach(self, dial: Dial, call: ClientCall, now: float) -> None:
        """Let a dial be for `call`."""
        dial.owner = call
        call.dial = dial
        call.slot_at = now
        call.state = RESOLVING if dial.resolve_id else CONNECTING
        call.deadline, call.deadline_reason = call.total, "total"
        self._timers.watch(call)
        self.pool.unblock(call)
        limit = call.timeouts.connect
        self._dialer.set_deadline(dial, INFINITY if limit is None else now + limit)

    def _start(self, call: ClientCall, conn: ClientConnection, now: float) -> None:
        """Send the request; the connection watches the call's time from here on."""
        if call.deadline < INFINITY:
            self._timers.forget(call)
        call.connection = conn
        conn.owner = call
        call.connection_at = now
        if call.slot_at == INFINITY:
            call.slot_at = now
        call.state = SENDING
        call.reused = conn.served > 0
        if call.reused:
            self.stats.reused += 1
        request = call.request
        conn.send_request(request, call.timeouts, call.total, now)
        if request.streams:
            self._start_upload(call, conn, now)
        if conn.deadline < conn.queued_at:
            self._timers.watch(conn)
        if not conn.noted:
            conn.noted = True
            self.outputs.append(conn)

    def _start_upload(self, call: ClientCall, conn: ClientConnection, now: float) -> None:
        """Ask for the streamed body; what was sent too early for a connection goes first."""
        early, call.unsent = call.unsent, []
        try:
            for chunk in early:
                call.upload_started = True
                conn.send_body(chunk, now)
            if call.upload_done:
                conn.end_body(now)
        except LocalProtocolError as error:
            self._body_failed(call, error, now)
            return
        call.upload_paused = not conn.has_room
        self._note(call)

    def _dial_moved(self, dial: Dial | None, now: float) -> None:
        if dial is None:
            return
        call = dial.owner
        if dial.failed:
            self._dial_failed(dial, dial.error(), now)
        elif isinstance(call, ClientCall):
            call.state = CONNECTING

    def _dial_failed(self, dial: Dial, error: ClientError, now: float) -> None:
        self.stats.connect_failures += 1
        call = dial.owner
        if isinstance(call, ClientCall):
            call.dial = None
            self.pool.leave(call)
            if not self._keep_error(call, error, now, sent=False):
                self._end(call, error, now)
        self._drop_dial(dial)
        self._settle(now)

    def _pass_on(self, dial: Dial, now: float, *, spare: bool) -> None:
        """Give a dial that lost its call to the next; else drop it, or keep it as a spare."""
        heir = self.pool.first_blocked(dial.url.origin)
        if heir is not None:
            self._attach(dial, heir, now)
        elif spare and not self._draining:
            dial.owner = None
            self.pool.add_spare(dial)
        else:
            self._drop_dial(dial)

    # --- ends --------------------------------------------------------------------------------

    def _give_up(self, call: ClientCall, error: ClientError, now: float) -> None:
        """End a call in whatever state, and free what it holds."""
        if call.done:
            return
        conn, dial = call.connection, call.dial
        if conn is not None:
            call.connection = None
            conn.close(abort=True)
            self._drop(conn)
        elif call.state in _HAS_NO_CONNECTION:
            call.dial = None
            self.pool.leave(call)
            if dial is not None:
                self._pass_on(dial, now, spare=False)
        self._end(call, error, now)
        self._settle(now)

    def _body_failed(self, call: ClientCall, error: BaseException, now: float) -> None:
        failure = CallCancelled("the request's body failed")
        failure.__cause__ = error
        self._give_up(call, failure, now)

    def _end(self, call: ClientCall, error: ClientError | None, now: float) -> None:
        """Give the call its one end."""
        if call.attempts is not None:
            self._end_attempt(call, call.attempts, error, now)
        call.state = DONE
        call.done = True
        call.error = error
        call.upload_done = True
        call.upload_paused = False
        call.measure(now)
        if error is None:
            call.body_done = True
        else:
            self.stats.failed += 1
            call.body = None
        call.unsent.clear()
        status = 0 if call.head is None else call.head.status
        why = "" if error is None else type(error).__name__
        self.metrics.ended(
            call.origin, call.request.method, status, why, now - call.started_at, call.timings.pool
        )
        if call.deadline < INFINITY:
            self._timers.forget(call)
        del self._calls[call]
        if not call.noted:
            call.noted = True
            self.outputs.append(call)

    def _release(self, conn: ClientConnection, now: float) -> None:
        """Give a free connection to the next call, keep it idle, or close it to make room."""
        call = self.pool.next_for(conn.origin_key)
        if call is not None:
            dial, call.dial = call.dial, None
            self.pool.leave(call)
            self._start(call, conn, now)
            if dial is not None:
                self._pass_on(dial, now, spare=True)
                self._settle(now)
        elif self._draining or self.pool.blocked:
            self._drop(conn)
            self._settle(now)
        else:
            conn.set_idle(self._limits.idle_timeout, now)
            if conn.deadline < conn.queued_at:
                self._timers.watch(conn)
            surplus = self.pool.put_idle(conn)
            if surplus is not None:
                self._drop(surplus)

    def _drop(self, conn: ClientConnection) -> None:
        """Close a connection and free its slot; `_settle` is the caller's."""
        if conn.wants_close is Close.NO:
            conn.close()
        conn.owner = None
        self._timers.forget(conn)
        del self._connections[conn]
        self.pool.remove_idle(conn)
        self.pool.free_slot(conn.origin_key)
        self._note(conn)

    def _drop_dial(self, dial: Dial) -> None:
        self._dialer.abandon(dial)
        self.pool.remove_spare(dial)
        self.pool.free_slot(dial.url.origin)

    # --- attempts ----------------------------------------------------------------------------

    def _try_again(self, call: ClientCall, now: float) -> None:
        guard = self._guard
        assert guard is not None
        if self._begin_attempt(call, guard, now) is not None:
            self._end_kept(call, now)
            return
        self.stats.backoff_retries += 1
        call.state = WAITING
        call.retried = call.reused = False
        call.head = None
        call.slot_at = call.connection_at = call.head_at = call.ended_at = INFINITY
        conn = self.pool.checkout(call.origin)
        if conn is not None:
            self._start(call, conn, now)
        else:
            self._enqueue(call, now)

    def _end_kept(self, call: ClientCall, now: float) -> None:
        """End a call with what its last attempt ended with."""
        attempts = call.attempts
        assert attempts is not None
        response = attempts.response
        self._end(call, attempts.error, now)
        if response is not None:
            call.response = response
            response.timings = call.timings

    # --- timers and news ---------------------------------------------------------------------

    def _on_call_timeout(self, call: ClientCall, now: float) -> None:
        if call.state is BACKOFF:
            self._try_again(call, now)
        elif call.deadline_reason == "pool":
            self._give_up(call, PoolTimeout(f"no slot within {call.timeouts.pool} s"), now)
        else:
            self._give_up(call, TotalTimeout("the call took longer than its total timeout"), now)

    def _on_dial_timeout(self, dial: Dial, now: float) -> None:
        if now >= dial.connect_deadline:
            self._dial_failed(
                dial, ConnectTimeout(f"no connection to {dial.url.origin} in time"), now
            )
        else:
            self._dialer.try_next(dial, now)

    def _set_reading(self, conn: ClientConnection, now: float, *, reading: bool) -> None:
        if conn.wants_read != reading:
            conn.set_reading(now, reading=reading)
            self._timers.watch(conn)
            self._note(conn)
