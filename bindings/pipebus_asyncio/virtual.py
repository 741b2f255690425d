"""An asyncio event loop whose clock jumps to the next deadline when nothing else can run."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class JumpingSelector(selectors.BaseSelector):
    """Where a selector would sleep until a timeout, advances virtual time instead.

    Without any timer it really waits: only a thread or a socket can wake such a loop.
    """

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now: float = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; if that is nothing, let `timeout` seconds have passed."""
        if timeout is None:
            return self._real.select(None)
        ready = self._real.select(0)
        if not ready:
            self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a file."""
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched."""
        return self._real.get_map()

    def close(self) -> None:
        """Close the real selector."""
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop in virtual time, which starts at 0."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jumping.now
