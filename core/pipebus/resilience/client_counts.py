"""How many of something each client has at a time: connections, or requests in flight."""


class ClientCounts:
    """At most `limit` for each key. Mutators: `enter`/`leave`. Counters: `refused`, `keys`.

    Only keys that have some are remembered, so the table is no larger than what is counted.
    """

    __slots__ = ("_counts", "limit", "refused")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._counts: dict[str, int] = {}
        self.refused: int = 0

    @property
    def keys(self) -> int:
        """How many clients have some."""
        return len(self._counts)

    def count(self, key: str) -> int:
        """Return how many the client has."""
        return self._counts.get(key, 0)

    def enter(self, key: str) -> bool:
        """Count one in, to be followed by one `leave`; False (counted): there are enough."""
        count = self._counts.get(key, 0)
        if count >= self.limit:
            self.refused += 1
            return False
        self._counts[key] = count + 1
        return True

    def leave(self, key: str) -> None:
        """Count one out; `KeyError` if none is in."""
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]
