"""Whether a call is made at all, and whether it is made again: breakers and retries of a client."""

from collections.abc import Callable
from typing import Final

from pipebus.errors import (
    BreakerOpen,
    ClientError,
    ConnectError,
    ConnectTimeout,
    ReadTimeout,
    TotalTimeout,
    UpstreamProtocolError,
    WriteTimeout,
)
from pipebus.http.client_response import ClientResponse
from pipebus.http.retry_after import retry_after
from pipebus.http.wire import RawHeaders
from pipebus.resilience.circuit_breaker import Breakers, CircuitBreaker
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.resilience.retry import RetryBudget, delay
from pipebus.wall_clock import WallClock

FAILED_STATUSES: Final = frozenset({500, 502, 503, 504})
"""Responses that are failures of the server; what else is wrong with a request is ours."""

_FAILURES: Final = (
    ConnectError,
    ConnectTimeout,
    ReadTimeout,
    UpstreamProtocolError,
    WriteTimeout,
)


class Attempts:
    """What a client with a guard remembers of one call."""

    __slots__ = ("began", "breaker", "count", "error", "response", "ticket")

    def __init__(self) -> None:
        self.count: int = 0
        """How many have begun."""
        self.began: float = 0.0
        """When the last one did."""
        self.breaker: CircuitBreaker | None = None
        self.ticket: int = 0
        """The breaker's; 0: it was told how the attempt ended."""
        self.error: ClientError | None = None
        """With `response`: how the last attempt ended, given to the caller if it was the last."""
        self.response: ClientResponse | None = None


class CallGuard:
    """A breaker for each origin, a retry budget for all of them; either may be missing.

    Mutators: `begin` before each attempt, `record` after it, `pause` before another one. Outputs:
    `breakers`, `budget`.
    """

    __slots__ = ("_clock", "_random", "_retry", "breakers", "budget")

    def __init__(
        self,
        breaker: BreakerPolicy | None,
        retry: RetryPolicy | None,
        random: Callable[[], float],
        clock: WallClock,
    ) -> None:
        self._retry = retry
        self._random = random
        self._clock = clock
        self.breakers: Breakers | None = None if breaker is None else Breakers(breaker, random)
        self.budget: RetryBudget | None = None if retry is None else RetryBudget(retry)

    def begin(self, attempts: Attempts, origin: str, now: float) -> BreakerOpen | None:
        """Begin an attempt, or say why it is not made."""
        if not attempts.count:
            attempts.began = now
        if self.breakers is not None:
            breaker = self.breakers.of(origin, now)
            if breaker is not None:
                attempts.ticket = breaker.acquire(now)
                if not attempts.ticket:
                    return BreakerOpen(f"{origin} fails: not called", breaker.retry_after(now))
            attempts.breaker = breaker
        attempts.count += 1
        attempts.began = now
        if self.budget is not None and attempts.count == 1:
            self.budget.request(now)
        return None

    def record(self, attempts: Attempts, ok: bool | None, now: float) -> None:
        """Tell the breaker, once, how an attempt ended; None: nothing is known of the server."""
        ticket, attempts.ticket = attempts.ticket, 0
        if ticket and attempts.breaker is not None:
            attempts.breaker.record(ticket, ok, now)

    def retries(self, status: int) -> bool:
        """Tell whether a response is worth another attempt."""
        return self._retry is not None and status in self._retry.statuses

    def pause(
        self, attempts: Attempts, headers: RawHeaders, until: float, now: float
    ) -> float | None:
        """Return how long to wait before another attempt, or None: there is none.

        `headers` are those of the response, if there is one; the call has to be over at `until`.
        """
        policy, budget = self._retry, self.budget
        if policy is None or budget is None or attempts.count >= policy.attempts:
            return None
        asked = retry_after(headers, self._clock.time(now)) or 0.0
        if asked > policy.max_retry_after:
            return None
        pause = delay(policy, attempts.count, self._random, asked)
        if now + pause >= until:
            return None
        breaker = attempts.breaker
        if breaker is not None and breaker.retry_after(now) > pause:
            return None  # it would be refused then
        return pause if budget.try_spend(now) else None


def verdict(error: ClientError | None, status: int, *, has_slot: bool) -> bool | None:
    """Return what an attempt's end says of the server: it works, it does not, or nothing.

    `has_slot` tells whether the attempt got as far as to a slot for its connection.
    """
    if error is None:
        return status not in FAILED_STATUSES
    if isinstance(error, _FAILURES) or (has_slot and isinstance(error, TotalTimeout)):
        return False
    return None  # cancelled, no slot, or a response larger than what we take
