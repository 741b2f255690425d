"""How late the event loop is, as far as can be known without asking it.

Two things tell. A driver that serves many sockets in one go says when it asked which are ready
(`polled`): what it comes to later has waited since then at least. And a timer that comes late was
kept waiting by whatever ran: tasks, other drivers. One late timer is a burst that may be over; only
when every one of the last `WINDOW` seconds was late does work wait as a matter of course (the idea
of CoDel, RFC 8289: a queue that never empties, not one that is long now and then).
"""

from collections import deque
from typing import Final

from pipebus.limits import INFINITY
from pipebus.timers import Timed

PROBE_EVERY: Final = 0.01
"""Seconds between two looks at how late the loop is, while requests come."""
WINDOW: Final = 0.1
"""Seconds that lateness is looked back at."""
_LEAST: Final = 3
"""Looks that a verdict needs."""


class LoopLag:
    """Inputs: `polled`, `late`. Output: `lag`."""

    __slots__ = ("_looks", "_polled", "_standing", "_stands_until")

    def __init__(self) -> None:
        self._polled = INFINITY
        self._looks: deque[tuple[float, float]] = deque()
        self._standing = 0.0
        self._stands_until = -INFINITY

    def polled(self, now: float) -> None:
        """Note that the driver asks at `now` which sockets are ready; infinity: it has served them.

        What comes from elsewhere then, such as a request behind one that was answered only now,
        waited for no socket's turn.
        """
        self._polled = now

    def late(self, by: float, now: float) -> None:
        """Note that a timer came `by` seconds late, at `now`."""
        looks = self._looks
        looks.append((now, by))
        while looks[0][0] < now - WINDOW:
            looks.popleft()
        # Here and not in `lag`, which is asked for every request.
        self._standing = min(by for _, by in looks) if len(looks) >= _LEAST else 0.0
        self._stands_until = now + WINDOW

    def lag(self, now: float) -> float:
        """Return for how many seconds, at least, what is looked at now has waited."""
        waited = now - self._polled if self._polled < now else 0.0
        if waited < self._standing and now <= self._stands_until:
            return self._standing
        return waited


class LagProbe(Timed):
    """A timer that tells by how much it came late."""

    __slots__ = ("asked", "lag")

    def __init__(self, lag: LoopLag) -> None:
        super().__init__()
        self.deadline_reason = "loop_lag"
        self.lag: LoopLag = lag
        self.asked: bool = False
        """A request has come since it went off: an idle loop is not woken for this."""

    def handle_timeout(self, now: float) -> None:
        """Tell by how much it is late, and go on while requests come."""
        if now < self.deadline:
            return
        self.lag.late(now - self.deadline, now)
        self.deadline: float = now + PROBE_EVERY if self.asked else INFINITY
        self.asked = False
