"""The trio runtime: a pool of nursery tasks, each in one `CancelScope`."""

import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVarTuple

import trio

from pipebus_anyio.reader import AnyioReader, SocketReader
from pipebus_anyio.runtime import EXIT_TIMEOUT, Task, Waiter

Args = TypeVarTuple("Args")
logger: logging.Logger = logging.getLogger("pipebus")


IDLE_WORKERS: Final = 64
"""The most workers that are kept for the next call."""


class TrioTask:
    """A spawned call's handle."""

    __slots__ = ("name", "worker")

    def __init__(self, name: str, worker: "Worker") -> None:
        self.name: str = name
        self.worker: Worker | None = worker
        """Who runs it; None once it has ended."""


class Worker:
    """A nursery task that runs one call after the other: a task of its own costs twice as much.

    One scope is around all of them, so a cancelled worker ends with the call that it was cancelled
    for. It is shielded: when the code around the runtime is cancelled, that code's own exit ends
    the calls in order, as it does on asyncio.
    """

    __slots__ = ("call", "handle", "scope", "task")

    def __init__(self) -> None:
        self.scope: trio.CancelScope = trio.CancelScope(shield=True)
        self.task: trio.lowlevel.Task | None = None
        self.handle: TrioTask | None = None
        self.call: Callable[[], Awaitable[None]] | None = None


class TrioWaiter:
    """A `Waiter` that parks the task itself, without an object in between."""

    __slots__ = ("_task", "_woken")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._woken = False

    def wake(self) -> None:
        """End the current or the next `wait`."""
        self._woken = True
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Sleep until woken."""
        if not self._woken:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._woken = False

    def _abort(self, raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class TrioRuntime:
    """A `Runtime` in a nursery of its own."""

    name = "trio"

    def __init__(self) -> None:
        self._manager: AbstractAsyncContextManager[trio.Nursery, bool | None]
        self._nursery: trio.Nursery
        self._context = copy_context()
        self._token = trio.lowlevel.current_trio_token()
        self._tasks: set[TrioTask] = set()
        self._idle: list[Worker] = []
        self._exiting = False
        self._ended = TrioWaiter()
        self.on_stuck: Callable[[list[str]], None] | None = None
        # `trio.current_time` looks this clock up at each call, four times the cost of asking it.
        self.now: Callable[[], float] = trio.lowlevel.current_clock().current_time

    def spawn(self, fn: Callable[[*Args], Awaitable[None]], *args: *Args) -> TrioTask:
        """Start a task."""
        worker = self._idle.pop() if self._idle else Worker()
        handle = TrioTask(fn.__qualname__, worker)
        self._tasks.add(handle)
        worker.handle = handle
        worker.call = partial(fn, *args)
        task = worker.task
        if task is None:
            self._context.run(
                partial(self._nursery.start_soon, self._work, worker, name=handle.name)
            )
        else:
            # Between two steps of a task: the call's variables are its own, like a new task's.
            task.context = self._context.copy()
            task.name = handle.name
            trio.lowlevel.reschedule(task)
        return handle

    async def _work(self, worker: Worker) -> None:
        worker.task = trio.lowlevel.current_task()

        def leave(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._idle.remove(worker)
            return trio.lowlevel.Abort.SUCCEEDED

        with worker.scope:
            while True:
                await self._run(worker)
                if worker.scope.cancel_called or self._exiting or len(self._idle) >= IDLE_WORKERS:
                    return
                self._idle.append(worker)
                await trio.lowlevel.wait_task_rescheduled(leave)

    async def _run(self, worker: Worker) -> None:
        handle, call = worker.handle, worker.call
        assert handle is not None
        assert call is not None
        try:
            await call()
        except Exception:
            logger.exception("unexpected exception in %s", handle.name)
        finally:
            handle.worker = worker.handle = worker.call = None
            self._tasks.discard(handle)
            if not self._tasks:
                self._ended.wake()

    def cancel(self, task: Task) -> None:
        """Ask a task to end."""
        assert isinstance(task, TrioTask)
        if task.worker is not None:
            task.worker.scope.cancel()

    def run_soon(self, fn: Callable[[], None]) -> None:
        """Call `fn` in the loop's thread."""
        self._token.run_sync_soon(fn)

    def new_waiter(self) -> Waiter:
        """Return a new waiter."""
        return TrioWaiter()

    def new_reader(self, sock: socket.socket) -> SocketReader:
        """Return anyio's, which is trio's own."""
        return AnyioReader(sock)

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Call `ready` as long as `fd` is readable."""
        return partial(self.cancel, self.spawn(_watch, fd, ready))

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exiting = True
        for worker in self._idle.copy():
            worker.scope.cancel()
        for handle in self._tasks.copy():
            self.cancel(handle)
        with trio.move_on_after(EXIT_TIMEOUT, shield=True):
            while self._tasks:
                await self._ended.wait()
        if self._tasks:
            names = sorted(handle.name for handle in self._tasks)
            logger.error("tasks that did not end when cancelled: %s", ", ".join(names))
            if self.on_stuck is not None:
                self.on_stuck(names)
        # The nursery is not told of an exception of the block: it would wrap it in a group. What
        # it raises itself can only be the end of the program (see `_run`), which comes out as is.
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            raise _innermost(group) from None


async def _watch(fd: int, ready: Callable[[], None]) -> None:
    while True:
        await trio.lowlevel.wait_readable(fd)
        ready()


def _innermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group that is no group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
