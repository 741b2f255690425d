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
