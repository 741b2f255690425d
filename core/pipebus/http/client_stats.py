"""What a client counts."""


class ClientStats:
    """What a client has done so far."""

    __slots__ = (
        "backoff_retries", "breaker_rejected", "calls", "connect_failures", "evicted", "failed",
        "opened", "retries", "reused",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls: int = 0
        self.failed: int = 0
        """Calls that ended with an error, cancelled ones included."""
        self.opened: int = 0
        """Connections."""
        self.reused: int = 0
        """Requests that went out on a connection that had served before."""
        self.retries: int = 0
        """Second tries at once, where the server had closed a connection that was idle."""
        self.backoff_retries: int = 0
        """Further attempts after a wait, as `RetryPolicy` says."""
        self.breaker_rejected: int = 0
        """Attempts that were not made because a breaker was open."""
        self.connect_failures: int = 0
        """Dials that ended without a connection."""
        self.evicted: int = 0
        """Idle connections closed to make room for another origin."""
