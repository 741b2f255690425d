"""What a binding gives to the contexts of its handlers."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from pipebus.engine.calls import Call

Start = Callable[[float], Call]
"""Starts a call at `now`; run when the coroutine is first stepped, never before."""


class Host(Protocol):
    """The binding, or the stepper of `pipebus.testing`, as contexts see it."""

    def now(self) -> float:
        """Return the runtime's monotonic clock, in seconds."""
        ...

    def pump(self) -> None:
        """Carry out what the engine asks for, without waiting."""
        ...

    def call(self, start: Start) -> Coroutine[Any, Any, Any]:
        """Start a call, wait for it and return its result; abandon it when cancelled."""
        ...

    def call_from_thread(self, start: Start) -> Any:
        """Do the same from a worker thread, blocking."""
        ...

    def run_in_loop(self, action: Callable[[float], Any]) -> Any:
        """Run `action(now)` in the engine's thread, pump, and return its result, blocking."""
        ...
