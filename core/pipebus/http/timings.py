"""Where the time of a client's call went."""

from typing import Final

import msgspec


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Where a call's time went, in seconds; the four parts add up to `total`."""

    pool: float
    """Waiting for a connection slot."""
    connect: float
    """Name resolution, TCP and TLS; 0 on a reused connection."""
    head: float
    """From the request's first byte to the response's head."""
    body: float
    """From the head to the last byte of the body."""

    @property
    def total(self) -> float:
        """The whole call."""
        return self.pool + self.connect + self.head + self.body


NO_TIME: Final = Timings(0.0, 0.0, 0.0, 0.0)
