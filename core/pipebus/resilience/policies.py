"""What operators set of rate limits, circuit breakers and retries; checked when it is set."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

_SLOWEST: Final = 1e-6
_FASTEST: Final = 1e6


def _refuse(policy: object, field: str, what: str) -> ValueError:
    value = getattr(policy, field)
    return ValueError(f"{type(policy).__name__}.{field} must be {what}, not {value!r}")


def _is_number(value: object, least: float, most: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and least <= value <= most  # never true of a NaN
    )


def _is_count(value: object, least: int, most: int) -> bool:
    return _is_number(value, least, most) and isinstance(value, int)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many requests a client may make: a token bucket for each key.

    `rate` requests a second on average (from one in ten days to a million), and `burst` of them at
    once after a rest: by default what `rate` gives in a second, one at least. Raises `ValueError`
    for a field that is not right.
    """

    rate: float
    burst: int | None = None
    key: Callable[[Any], str | None] | None = None
    """Takes the `RequestInfo`, returns whose bucket to take from; None: the client address's.

    It decides by itself whether a request counts for somebody: it must be quick and must not
    raise (that is counted, and the client's address is the key)."""

    def __post_init__(self) -> None:
        if not _is_number(self.rate, _SLOWEST, _FASTEST):
            raise _refuse(self, "rate", f"a number from {_SLOWEST:g} to {_FASTEST:g}, per second")
        if self.burst is not None and not _is_count(self.burst, 1, int(_FASTEST)):
            raise _refuse(self, "burst", f"a whole number from 1 to {_FASTEST:g}, or None")
        if self.key is not None and not callable(self.key):
            raise _refuse(self, "key", "callable, or None")

    @property
    def size(self) -> int:
        """How many tokens a full bucket has."""
        return max(1, ceil(self.rate)) if self.burst is None else self.burst


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When calls to a server that fails are no longer made, and when it is tried again.

    Raises `ValueError` for a field that is not right.
    """

    window: float = 10.0
    """Seconds that are looked back at; a tenth of it is the grain."""
    failure_ratio: float = 0.5
    """It opens when at least this part of the window's calls failed; more than 0, at most 1."""
    min_calls: int = 20
    """But not before the window has so many: one failure of two calls says nothing."""
    open_time: float = 5.0
    """Seconds until one call may try how it is."""
    jitter: float = 0.2
    """`open_time` is changed by up to this part of it, either way, so that many clients of a server
    that comes back do not try it all at once; 0 to 1."""

    def __post_init__(self) -> None:
        if not _is_number(self.window, 1e-3, 1e6):
            raise _refuse(self, "window", "a number of seconds from 0.001 to 1e6")
        if not _is_number(self.failure_ratio, 1e-6, 1.0):
            raise _refuse(self, "failure_ratio", "a number, more than 0 and at most 1")
        if not _is_count(self.min_calls, 1, 1_000_000):
            raise _refuse(self, "min_calls", "a whole number from 1 to 1e6")
        if not _is_number(self.open_time, 1e-3, 1e6):
            raise _refuse(self, "open_time", "a number of seconds from 0.001 to 1e6")
        if not _is_number(self.jitter, 0.0, 1.0):
            raise _refuse(self, "jitter", "a number from 0 to 1")


RETRY_STATUSES: Final = frozenset({429, 502, 503, 504})
"""Those that say "later" (429, 503) or that a gateway did not get an answer (502, 504).

Not 500: a request that makes a program fail will most likely do so again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Which calls are made again, when, and how many.

    Only what cannot be done twice by it: idempotent methods (RFC 9110 section 9.2.2), and any
    request of which nothing was sent. Raises `ValueError` for a field that is not right.
    """

    attempts: int = 3
    """In total, the first one included."""
    base: float = 0.1
    """Seconds before the second attempt, at most; twice that before each further one. The wait is
    drawn evenly from zero to that ("full jitter"): clients that failed together come back apart."""
    cap: float = 5.0
    """Seconds that it does not grow beyond."""
    statuses: frozenset[int] = RETRY_STATUSES
    """Responses that are worth another attempt, where the method allows it."""
    max_retry_after: float = 30.0
    """A server's `Retry-After` is waited for, and the drawn time on top; a longer one is not: the
    response is given to the caller."""
    budget: float = 0.2
    """Retries for each call, over `budget_window`: what bounds the load that they add when all
    calls fail. 0 to 1."""
    budget_min: int = 10
    """Retries in a window that are allowed however few calls there are."""
    budget_window: float = 10.0
    """Seconds."""

    def __post_init__(self) -> None:
        if not _is_count(self.attempts, 1, 100):
            raise _refuse(self, "attempts", "a whole number from 1 to 100")
        if not _is_number(self.base, 0.0, 1e6):
            raise _refuse(self, "base", "a number of seconds from 0 to 1e6")
        if not _is_number(self.cap, self.base, 1e6):
            raise _refuse(self, "cap", "a number of seconds from `base` to 1e6")
        if not all(_is_count(status, 400, 599) for status in self.statuses):
            raise _refuse(self, "statuses", "a set of statuses from 400 to 599")
        if not _is_number(self.max_retry_after, 0.0, 1e6):
            raise _refuse(self, "max_retry_after", "a number of seconds from 0 to 1e6")
        if not _is_number(self.budget, 0.0, 1.0):
            raise _refuse(self, "budget", "a number from 0 to 1")
        if not _is_count(self.budget_min, 0, 1_000_000):
            raise _refuse(self, "budget_min", "a whole number from 0 to 1e6")
        if not _is_number(self.budget_window, 1e-3, 1e6):
            raise _refuse(self, "budget_window", "a number of seconds from 0.001 to 1e6")
