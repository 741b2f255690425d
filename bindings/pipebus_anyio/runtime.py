"""The seam between the shared binding and an async library: seven functions.

anyio's task groups and events are not used for handlers: a task group per request costs two to
three times a native task, and an anyio scope re-cancels a handler whose `finally` awaits native
asyncio code for as long as it runs.
"""

import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVarTuple

from pipebus_anyio.reader import SocketReader

Args = TypeVarTuple("Args")

EXIT_TIMEOUT: Final = 5.0
"""How long a runtime's exit waits for its cancelled tasks, in seconds."""


class Task(Protocol):
    """A handle of a spawned task, opaque but for its name."""

    @property
    def name(self) -> str:
        """What the task runs, for the log line about tasks that refuse to end."""
        ...


class Waiter(Protocol):
    """Lets one task sleep until another calls `wake`. It resets itself and can be used again.

    A wake that nobody waits for is remembered (once); a cancelled wait loses no wake.
    """

    def wake(self) -> None:
        """End the current or the next `wait`; synchronous, from the loop's thread."""
        ...

    async def wait(self) -> None:
        """Sleep until woken; return at once, without yielding, if that has happened."""
        ...


class Runtime(Protocol):
    """An owned set of tasks on one async library: enter it, spawn, leave.

    Leaving cancels every task, waits `EXIT_TIMEOUT` seconds and names those that are left in one
    log line (on trio it then goes on waiting: a nursery cannot abandon a task).
    """

    name: str
    """`asyncio` or `trio`."""
    on_stuck: Callable[[list[str]], None] | None
    """Called after that log line with the tasks' names; default None."""

    def spawn(self, fn: Callable[[*Args], Awaitable[None]], *args: *Args) -> Task:
        """Start a task. It always begins, even if cancelled before; then its first await raises.

        Its context variables are a copy of those that held where the runtime was made, not of the
        caller's: who spawns a handler's task may be another request's.

        An exception that `fn` lets out is logged and ends nothing but that task.
        """
        ...

    def cancel(self, task: Task) -> None:
        """Ask a task to end: at its next await it gets the library's cancellation exception.

        asyncio: once (edge). trio: at every await from now on (level). Harmless when it has ended.
        """
        ...

    def now(self) -> float:
        """Return the library's monotonic clock, in seconds; only in the loop's thread."""
        ...

    def run_soon(self, fn: Callable[[], None]) -> None:
        """Call `fn` in the loop's thread, soon; any thread may ask for it, and only for this.

        Raises `RuntimeError` once the loop is closed.
        """
        ...

    def new_waiter(self) -> Waiter:
        """Return a new `Waiter`."""
        ...

    def new_reader(self, sock: socket.socket) -> SocketReader:
        """Return what reads `sock` for one task."""
        ...

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Call `ready` in the loop's thread for as long as `fd` is readable, again and again.

        It must not raise. Ends when what is returned is called, or with the runtime.
        """
        ...

    async def __aenter__(self) -> Self:
        """Start owning tasks."""
        ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel what is left and wait for it."""
        ...
