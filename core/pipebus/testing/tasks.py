"""Handlers as coroutines that are stepped by hand, with nothing behind them but their context."""

import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import CoroutineType
from typing import Any

from pipebus.engine.calls import Call
from pipebus.errors import NeedsRuntime, text_of


class StepCancelled(BaseException):
    """Thrown into a handler that is cancelled, where a runtime throws its own cancellation."""


class Waiting:
    """What a stepped coroutine yields: it goes on when the call is done."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call = call

    def __await__(self) -> Generator["Waiting", None, None]:
        yield self


class StepTask:
    """A coroutine, stepped until it waits for a call, returns or raises."""

    __slots__ = ("_coroutine", "_done", "cancelled", "finished", "name")

    def __init__(
        self,
        name: str,
        coroutine: Coroutine[Any, Any, Any],
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        self.name: str = name
        self._coroutine = coroutine
        self._done = done
        self.cancelled: bool = False
        self.finished: bool = False

    def step(self) -> None:
        """Run to the next wait; a cancellation is thrown in where it waits now."""
        if self.finished:
            return
        try:
            if self.cancelled:
                self.cancelled = False
                yielded = self._coroutine.throw(StepCancelled())
            else:
                yielded = self._coroutine.send(None)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as error:  # noqa: BLE001 (whatever it is, `done` decides)
            self._end(None, needs_runtime(self.name, error) or error)
        else:
            if isinstance(yielded, Waiting):
                yielded.call.waiter = self
            else:
                self._refuse(yielded)

    def discard(self) -> None:
        """Throw it away where it stands, and what it raises then as well."""
        self.finished = True
        with suppress(Exception):
            self._coroutine.close()

    def _refuse(self, yielded: object) -> None:
        where = where_it_waits(self._coroutine)
        self._coroutine.close()
        kind = type(yielded).__name__
        self._end(None, NeedsRuntime(f"{self.name} awaits a {kind} at {where}: {HINT}"))

    def _end(self, value: Any, error: BaseException | None) -> None:
        self.finished = True
        self._done(value, error)


HINT = (
    "here it may await only what its context gives;"
    " test it with pipebus_asyncio.testing or pipebus_trio.testing"
)
_NO_LOOP = (
    "no running event loop",
    "must be called from async context",
    "not currently running",
    "unknown async library",
)


def where_it_waits(coroutine: Any) -> str:
    """Return file and line of the innermost `await` that a suspended coroutine stands in."""
    while isinstance(coroutine.cr_await, CoroutineType):
        coroutine = coroutine.cr_await
    frame = coroutine.cr_frame
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def needs_runtime(name: str, error: BaseException) -> NeedsRuntime | None:
    """Return the error to raise in place of a library's complaint that no event loop runs."""
    kind = type(error).__name__
    text = text_of(error)
    if kind not in ("AsyncLibraryNotFoundError", "NoEventLoopError") and not (
        isinstance(error, RuntimeError) and any(sign in text for sign in _NO_LOOP)
    ):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and "/lib/python" not in frame.filename
    ]
    frame = (own or frames)[-1]
    wanted = NeedsRuntime(f"{name} needs an event loop at {frame.filename}:{frame.lineno}: {HINT}")
    wanted.__cause__ = error
    return wanted
