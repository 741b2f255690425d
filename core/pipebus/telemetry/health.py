"""Health checks in the background: when each is due, and what it found."""

from collections.abc import Callable
from typing import Final, Literal

from pipebus.limits import INFINITY
from pipebus.timers import Timed

CheckState = Literal["unknown", "passing", "failing"]

NOT_RUN: Final = "has not run yet"


class HealthCheck(Timed):
    """One check: `unknown` -> `passing` <-> `failing`, again every `interval` seconds.

    Inputs: `begin` (the program is up), `passed`, `failed` (its handler ended), `gone` (whatever
    ran it is really gone), `stop`. Time: `handle_timeout` asks for a run by `on_due`, or gives one
    up that has taken more than `timeout` by `on_late`. Outputs: `state`, `detail`.
    """

    __slots__ = (
        "_answered", "_interval", "_on_due", "_on_late", "_running", "_stopped", "detail", "handler",
        "name", "state", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        interval: float,
        timeout: float,
        on_due: Callable[["HealthCheck", float], None],
        on_late: Callable[["HealthCheck", float], None],
        handler: object = None,
    ) -> None:
        super().__init__()
        self.name: str = name
        self.handler: object = handler
        """What to run; opaque here."""
        self.state: CheckState = "unknown"
        self.detail: str = NOT_RUN
        """Why it does not pass; empty while it does."""
        self._on_due = on_due
        self._on_late = on_late
        self.timeout: float = timeout
        self._interval = interval
        self._running = False
        self._answered = False
        self._stopped = False

    def begin(self, now: float) -> None:
        """Have it run for the first time at `now`."""
        self.deadline = now
        self.deadline_reason = "health_check"

    def stop(self) -> None:
        """Have it run no more; what runs now is given up with the rest of the program."""
        self._stopped = True
        self.deadline = INFINITY

    def passed(self) -> bool:
        """Note that it passed; True if it did not before."""
        return self._answer("passing", "")

    def failed(self, detail: str) -> bool:
        """Note that it failed, and why; True if it did not before."""
        return self._answer("failing", detail)

    def _answer(self, state: CheckState, detail: str) -> bool:
        if self._answered:  # too late: it was said to have failed
            return False
        self._answered = True
        changed = self.state != state
        self.state = state
        self.detail = detail
        return changed

    def gone(self, now: float) -> None:
        """Note that nothing runs it any more: only then it may run again."""
        self._running = False
        if not self._stopped:
            self.deadline = now + self._interval
            self.deadline_reason = "health_check"

    def handle_timeout(self, now: float) -> None:
        """Run it, or give up what runs it."""
        if now < self.deadline:
            return
        if not self._running:
            self._running = True
            self._answered = False
            self.deadline: float = now + self.timeout
            self.deadline_reason: str = "health_check_timeout"
            self._on_due(self, now)
        else:
            self.deadline = INFINITY
            self._on_late(self, now)
