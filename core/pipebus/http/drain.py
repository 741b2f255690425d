"""Shutting down without losing an answer: the states of a drain."""

from collections.abc import Callable
from typing import Literal

from pipebus.limits import INFINITY
from pipebus.timers import Timed

DrainState = Literal["serving", "draining", "closing", "drained"]


class Drain(Timed):
    """`serving` -> `draining` (up to `grace`) -> `closing` (up to `linger`) -> `drained`.

    `leave` announces it: for `delay` seconds all is `serving` as ever, but `leaving`; then
    `on_left` is called, and whoever hears it stops accepting and says `begin`. In `draining` what is in flight is finished and a request on a connection that was not yet told
    `Connection: close` is served. `closing` begins when grace is over: what still runs is
    cancelled and answered 503, and the answers get `linger` seconds to leave. When all work is
    gone the drain ends at once, whichever state it is in.

    Inputs: `leave`, `begin`, `cut`. Mutator: `settle`. Time: `handle_timeout`. Outputs: `state`,
    `leaving`.
    """

    __slots__ = (
        "_delay", "_grace", "_linger", "leaving", "on_grace_over", "on_left", "others", "state",
    )  # fmt: skip

    def __init__(self, grace: float, linger: float, *, delay: float = 0.0) -> None:
        super().__init__()
        self._delay = delay
        self._grace = grace
        self._linger = linger
        self.state: DrainState = "serving"
        self.leaving: bool = False
        """It was announced, or has begun: nobody should send new connections here."""
        self.on_left: Callable[[], None] = _ignore
        """The engine's: the time is over that was given for looking elsewhere."""
        self.on_grace_over: Callable[[float], None] | None = None
        """The dispatch's: cut what is left, when grace is over."""
        self.others: Callable[[], int] = _nobody
        """The engine's: how many handlers run that the dispatch knows nothing of."""

    @property
    def drained(self) -> bool:
        """Whether the drain has ended."""
        return self.state == "drained"

    def leave(self, now: float) -> None:
        """Announce the drain; harmless when that was done, or it has begun."""
        if self.leaving:
            return
        self.leaving = True
        if self._delay > 0.0:
            self.deadline = now + self._delay
            self.deadline_reason = "drain_delay"
        else:
            self.on_left()

    def begin(self, now: float) -> bool:
        """Start draining at `now`; False if that had happened before."""
        if self.state != "serving":
            return False
        self.leaving = True
        self.state = "draining"
        self.deadline = now + self._grace
        self.deadline_reason = "grace"
        return True

    def cut(self, now: float) -> None:
        """End it at once: grace is over, and nobody waits for the last answers to leave."""
        if self.state in ("serving", "draining"):
            self.leaving = True
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
        if self.state == "serving":
            self.deadline = INFINITY
            self.on_left()
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
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""


def _nobody() -> int:
    return 0


def _ignore() -> None:
    pass
