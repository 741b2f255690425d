"""The asyncio runtime: a native task per call, cancelled by `Task.cancel`."""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self, TypeVarTuple

import anyio

from pipebus_anyio.reader import SocketReader
from pipebus_anyio.runtime import EXIT_TIMEOUT, Task, Waiter
from pipebus_asyncio.reader import AsyncioReader

Args = TypeVarTuple("Args")
logger: logging.Logger = logging.getLogger("pipebus")


class AsyncioTask:
    """A spawned task's handle."""

    __slots__ = ("cancel_at_start", "name", "started", "task")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.task: asyncio.Task[None]
        self.started: bool = False
        self.cancel_at_start: bool = False


class AsyncioWaiter:
    """A `Waiter` on a future that exists only while somebody waits."""

    __slots__ = ("_future", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    def wake(self) -> None:
        """End the current or the next `wait`."""
        self._woken = True
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    async def wait(self) -> None:
        """Sleep until woken."""
        if not self._woken:
            self._future = self._loop.create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._woken = False


def _clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the loop's `time`, or what asyncio's own does: a request asks four times."""
    if type(loop).time is asyncio.BaseEventLoop.time:
        return time.monotonic
    return loop.time


class AsyncioRuntime:
    """A `Runtime` on the running event loop (asyncio's own, or uvloop's)."""

    name = "asyncio"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._tasks: set[AsyncioTask] = set()
        self.on_stuck: Callable[[list[str]], None] | None = None
        self.now: Callable[[], float] = _clock_of(self._loop)

    def spawn(self, fn: Callable[[*Args], Awaitable[None]], *args: *Args) -> AsyncioTask:
        """Start a task."""
        handle = AsyncioTask(fn.__qualname__)
        self._tasks.add(handle)
        handle.task = self._loop.create_task(
            self._run(handle, fn, *args), context=self._context.copy()
        )
        return handle

    async def _run(
        self, handle: AsyncioTask, fn: Callable[[*Args], Awaitable[None]], *args: *Args
    ) -> None:
        handle.started = True
        try:
            if handle.cancel_at_start:
                # A task that is cancelled before it began never runs a line, so its `finally`
                # would not either: begin, and let the first await raise.
                handle.task.cancel()
            await fn(*args)
        except Exception:
            logger.exception("unexpected exception in %s", handle.name)
        finally:
            self._tasks.discard(handle)

    def cancel(self, task: Task) -> None:
        """Ask a task to end."""
        assert isinstance(task, AsyncioTask)
        if task.started:
            task.task.cancel()
        else:
            task.cancel_at_start = True

    def run_soon(self, fn: Callable[[], None]) -> None:
        """Call `fn` in the loop's thread."""
        self._loop.call_soon_threadsafe(fn)

    def new_waiter(self) -> Waiter:
        """Return a new waiter."""
        return AsyncioWaiter(self._loop)

    def new_reader(self, sock: socket.socket) -> SocketReader:
        """Return a reader that stays registered."""
        return AsyncioReader(sock)

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Call `ready` as long as `fd` is readable: registered once, without a task to wake."""
        self._loop.add_reader(fd, ready)

        def stop() -> None:
            self._loop.remove_reader(fd)

        return stop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._tasks.copy():
            self.cancel(handle)
        with anyio.CancelScope(shield=True):
            cancelled = await self._wait_for_all(EXIT_TIMEOUT)
        if self._tasks:
            names = sorted(handle.name for handle in self._tasks)
            logger.error("tasks that did not end when cancelled: %s", ", ".join(names))
            if self.on_stuck is not None:
                self.on_stuck(names)
        if cancelled is not None:
            raise cancelled

    async def _wait_for_all(self, timeout: float) -> asyncio.CancelledError | None:
        """Wait until no task is left, or `timeout` seconds; tasks that end may start others.

        Return the cancellation that came meanwhile: what follows may rely on the tasks' end.
        """
        cancelled = None
        until = self.now() + timeout
        while self._tasks and (left := until - self.now()) > 0:
            tasks = [handle.task for handle in self._tasks]
            try:
                await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                cancelled = error
        return cancelled
