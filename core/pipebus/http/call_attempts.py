"""Attempts at one call: what the breaker is told of each, and whether there is another one."""

from collections import deque
from collections.abc import Callable

from pipebus.errors import BreakerOpen, ClientError
from pipebus.http.call_guard import Attempts, CallGuard, verdict
from pipebus.http.client_call import BACKOFF, ClientCall
from pipebus.http.client_connection import ClientConnection
from pipebus.http.client_request import IDEMPOTENT
from pipebus.http.client_response import ClientResponse
from pipebus.http.client_stats import ClientStats
from pipebus.http.wire import RawHeaders
from pipebus.limits import INFINITY
from pipebus.resilience.circuit_breaker import BreakerChange, CircuitBreaker
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock


class CallAttempts:
    """Keeps how an attempt ended for as long as the call waits for another one.

    A call that waits holds no slot, no connection and no place in a queue: only its timer.
    """

    __slots__ = ("_draining", "_guard", "_timers", "outputs", "stats")

    def __init__(
        self,
        timers: TimerQueue,
        breaker: BreakerPolicy | None,
        retry: RetryPolicy | None,
        random: Callable[[], float] | None,
        clock: WallClock | None,
    ) -> None:
        """Begin without any.

        `random` draws from [0, 1), and `clock` reads a `Retry-After` that is a date; `ValueError`
        for a policy without `random`.
        """
        self._timers = timers
        self._draining = False
        self._guard: CallGuard | None = None
        if breaker is not None or retry is not None:
            if random is None:
                raise ValueError("a breaker or retries need `random`")
            self._guard = CallGuard(breaker, retry, random, clock or WallClock())
        self.outputs: deque[ClientConnection | ClientCall | BreakerChange] = deque()
        self.stats: ClientStats = ClientStats()

    @property
    def breakers(self) -> list[CircuitBreaker]:
        """The circuit breakers, for looking at: `name` (the origin), `state`, `rejected`."""
        guard = self._guard
        return [] if guard is None or guard.breakers is None else list(guard.breakers.all())

    def _begin_attempt(self, call: ClientCall, guard: CallGuard, now: float) -> BreakerOpen | None:
        """Begin one, or return why it is not made."""
        if call.attempts is None:
            call.attempts = Attempts()
        refused = guard.begin(call.attempts, call.origin, now)
        if refused is not None:
            self.stats.breaker_rejected += 1
        self._note_changes(guard)
        return refused

    def _end_attempt(
        self, call: ClientCall, attempts: Attempts, error: ClientError | None, now: float
    ) -> None:
        """Tell the breaker how it ended, if it was not told before."""
        guard = self._guard
        if attempts.ticket and guard is not None:
            status = 0 if call.head is None else call.head.status
            ok = verdict(error, status, has_slot=call.slot_at < INFINITY)
            guard.record(attempts, ok, now)
            self._note_changes(guard)

    def _note_changes(self, guard: CallGuard) -> None:
        if guard.breakers is not None and guard.breakers.changes:
            self.outputs.extend(guard.breakers.changes)
            guard.breakers.changes.clear()

    def _keep_error(self, call: ClientCall, error: ClientError, now: float, *, sent: bool) -> bool:
        """Keep what an attempt failed with until another one, if the call may have one."""
        attempts, request = call.attempts, call.request
        if attempts is None or call.upload_started or (call.stream and call.head is not None):
            return False
        if sent and (request.streams or request.method not in IDEMPOTENT):
            return False
        self._end_attempt(call, attempts, error, now)
        if not self._back_off(call, attempts, [], now):
            return False
        attempts.error = error
        attempts.response = None
        return True

    def _keep_response(self, call: ClientCall, response: ClientResponse, now: float) -> bool:
        """Keep a response that asks for another attempt, if the call may have one."""
        attempts, guard, request = call.attempts, self._guard, call.request
        if (
            attempts is None
            or guard is None
            or not guard.retries(response.status)
            or request.streams
            or request.method not in IDEMPOTENT
        ):
            return False
        self._end_attempt(call, attempts, None, now)
        if not self._back_off(call, attempts, response.headers.raw, now):
            return False
        attempts.error = None
        attempts.response = response
        return True

    def _back_off(
        self, call: ClientCall, attempts: Attempts, headers: RawHeaders, now: float
    ) -> bool:
        guard = self._guard
        if guard is None or self._draining:
            return False
        pause = guard.pause(attempts, headers, call.total, now)
        if pause is None:
            return False
        call.state = BACKOFF
        call.upload_paused = True
        call.body = None
        call.ended_at = min(now, call.ended_at)
        call.deadline = now + pause
        call.deadline_reason = "backoff"
        self._timers.watch(call)
        return True

    def _note(self, output: ClientConnection | ClientCall) -> None:
        if not output.noted:
            output.noted = True
            self.outputs.append(output)
