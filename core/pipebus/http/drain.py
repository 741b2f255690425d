"""Shutting down without losing an answer: the states of a drain."""

from collections.abc import Callable
from typing import Literal

from pipebus.timers import Timed

DrainState = Literal["serving", "draining", "closing", "drained"]


class Drain(Timed):
    """`serving` -> `draining` (up to `grace`) -> `closing` (up to `linger`) -> `drained`.

    In `draining` what is in flight is finished and a request on a connection that was not yet told
    `Connection: close` is served. `closing` begins when grace is over: what still runs is
    cancelled and answered 503, and the answers get `linger` seconds to leave. When all work is
    gone the drain ends at once, whichever state it is in.

    Inputs: `begin`, `cut`. Mutator: `settle`. Time: `handle_timeout`. Output: `state`.
    """

    __slots__ = ("_grace", "_linger", "on_grace_over", "others", "state")

    def __init__(self, grace: float, linger: float) -> None:
        super().__init__()
        self._grace = grace
        self._linger = linger
        self.state: DrainState = "serving"
        self.on_grace_over: Callable[[float], None] | None = None
        """The dispatch's: cut what is left, when grace is over."""
        self.others: Callable[[], int] = _nobody
        """The engine's: how many handlers run that the dispatch knows nothing of."""

    @property
    def drained(self) -> bool:
        """Whether the drain has ended."""
        return self.state == "drained"

    def begin(self, now: float) -> bool:
        """Start draining at `now`; False if that had happened before."""
        if self.state != "serving":
            return False
        self.state = "draining"
        self.deadline = now + self._grace
        self.deadline_reason = "grace"
        return True

    def cut(self, now: float) -> None:
        """End it at once: grace is over, and nobody waits for the last answers to leave."""
        if self.state in ("serving", "draining"):
            self._close(now)
        self._end()

    def settle(self, work: int) -> None:
        """Say how much is left (connections, requests in flight, lossless events); 0 ends it."""
        if work == 0 and self.others() == 0 and self.state in ("draining", "closing"):
            self._end()

    def handle_timeout(self, now: float) -> None:
        """Go on to `closing` when grace is over, to `drained` when the lingering is."""
        if now < self.deadline:
            return
        if self.state == "draining":
            self._close(now)
        if now >= self.deadline:
            self._end()

    def _close(self, now: float) -> None:
        self.state = "closing"
        self.deadline = now + self._linger
        self.deadline_reason = "linger"
        if self.on_grace_over is not None:
            self.on_grace_over(now)

    def _end(self) -> None:
        self.state = "drained"
        self.deadline: float = float("inf")
        self.deadline_reason: str = ""


def _nobody() -> int:
    return 0
