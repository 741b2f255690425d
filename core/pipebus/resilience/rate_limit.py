"""Token buckets by key, in a table of bounded size.

A bucket is one number, the time at which it will be full again (the theoretical arrival time of
the generic cell rate algorithm, ITU-T I.371): a token taken moves it on by the time that a token
takes to come back, and nothing has to be refilled.
"""

from typing import Final

from pipebus.resilience.policies import RateLimit

__all__ = ["RateLimit", "RateLimiter"]

SLACK: Final = 1e-8
"""Seconds before its time at which a token is there: times that are summed up are not exact, and
whoever waits as long as it was told must get its token. It does not add up over requests."""

_SHARED: Final = 0
"""The place of the bucket that all keys share for which there is no place."""
_LOOKS: Final = 8
"""At how many buckets is looked, at most, for one that a new key may have."""


class RateLimiter:
    """The buckets of one policy.

    Mutator: `take`. Counters: `granted`, `limited`, `overflowed` (takes from the shared bucket),
    `keys`. A bucket is given to another key only when it is full, which is what a new one would be:
    so no flood of keys gives anybody a second burst. Where no full one is found, new keys share one
    bucket; a bucket that a key is given later begins as empty as that.
    """

    __slots__ = (
        "_back_after", "_full_at", "_hand", "_max_keys", "_names", "_places", "_room", "granted",
        "limited", "overflowed", "policy",
    )  # fmt: skip

    def __init__(self, policy: RateLimit, max_keys: int = 100_000) -> None:
        self.policy: RateLimit = policy
        self._max_keys = max_keys
        self._back_after = 1.0 / policy.rate
        self._room = (policy.size - 1) * self._back_after
        """How far from full a bucket may be that has a token left."""
        # Places with a hand that goes round them, and not the order of a dict: to find the first
        # key of one from which many were taken is a walk over all that were.
        self._places: dict[str, int] = {}
        self._names: list[str] = [""]
        self._full_at: list[float] = [float("-inf")]
        self._hand = 0
        self.granted: int = 0
        self.limited: int = 0
        self.overflowed: int = 0

    @property
    def keys(self) -> int:
        """How many keys have a bucket of their own."""
        return len(self._places)

    def take(self, key: str, now: float) -> float:
        """Take a token, and return 0; or return in how many seconds there will be one."""
        place = self._places.get(key, -1)
        if place < 0:
            place = self._find_place(key, now)
        full_at = self._full_at[place]
        if full_at < now:
            full_at = now
        wait = full_at - now - self._room
        if wait > SLACK:
            self.limited += 1
            return wait
        self._full_at[place] = full_at + self._back_after
        self.granted += 1
        return 0.0

    def _find_place(self, key: str, now: float) -> int:
        full_at = self._full_at
        place = len(full_at)
        if place <= self._max_keys:
            full_at.append(full_at[_SHARED])
            self._names.append(key)
        else:
            place = self._next_full(now)
            if place == _SHARED:
                self.overflowed += 1
                return place
            del self._places[self._names[place]]
            # The key may have had all there was of the shared bucket: no second burst.
            full_at[place] = full_at[_SHARED]
            self._names[place] = key
        self._places[key] = place
        return place

    def _next_full(self, now: float) -> int:
        """Look on where the last look ended, so that each bucket's turn comes."""
        for _ in range(_LOOKS):
            self._hand = self._hand % self._max_keys + 1
            if self._full_at[self._hand] <= now:
                return self._hand
        return _SHARED
