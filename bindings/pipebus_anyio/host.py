"""Drives an engine: the pump, the timer, and how a task or thread waits for a call."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import anyio
import anyio.lowlevel

from pipebus.engine.actions import Cancel, Drained, Flush, Report, Run, StopAccepting, Upload, Wake
from pipebus.engine.calls import Call
from pipebus.engine.engine import Engine
from pipebus.engine.host import Start
from pipebus.http.client import AbandonConnect, Connect, Resolve
from pipebus.http.message import Address
from pipebus.limits import INFINITY
from pipebus_anyio.bind import Bind
from pipebus_anyio.observe.current import ids
from pipebus_anyio.runner import Runner
from pipebus_anyio.runtime import Runtime, Waiter
from pipebus_anyio.threads import Answer, ThreadCalls, ThreadWaiter

logger: logging.Logger = logging.getLogger("pipebus")
T = TypeVar("T")

WALL_INTERVAL: Final = 60.0
"""How often the engine is told the wall time, in seconds."""

_FAIR_AFTER: Final = 32
"""Calls that were done at once before one of them yields: a loop over them stays cancellable."""


class Driver(Protocol):
    """What moves bytes: accepts connections, and carries out the actions that concern them."""

    name: str

    def start(self, host: "Host") -> None:
        """Say who pumps; before anything else."""
        ...

    async def listen(self, bind: Bind) -> list[Address]:
        """Begin to accept at every address; return them, as they really are."""
        ...

    def stop_accepting(self) -> None:
        """Take what is established already, then close the listeners."""
        ...

    def close(self) -> None:
        """Let go of what is left, after the runtime's exit."""
        ...

    def flush(self, token: object) -> None:
        """See what a link has to send, and whether it is read or closed; never blocks."""
        ...

    def resolve(self, action: Resolve) -> None:
        """Start to resolve a name."""
        ...

    def connect(self, action: Connect) -> None:
        """Start one connection attempt."""
        ...

    def abandon_connect(self, action: AbandonConnect) -> None:
        """Give up a connection attempt."""
        ...


class Wakes(Protocol):
    """What waits for a call: a task's `Waiter`, or a thread's."""

    def wake(self) -> None:
        """Say that the call is done."""
        ...


class Host:
    """The engine's hands. Implements `pipebus.engine.host.Host`.

    Everything runs in the loop's thread but `call_from_thread`, `run_in_loop` and `read`.
    """

    __slots__ = (
        "_actions", "_at_once", "_begins", "_clock", "_driver", "_engine", "_flush", "_next_action", "_next_wake", "_pumping", "_runner",
        "_runtime", "_thread_calls", "_timer_at", "_timer_waiter", "_wait_drained", "_wall",
        "_wall_due", "drained", "runtime_name",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        runtime: Runtime,
        driver: Driver,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._driver = driver
        self._wall = wall
        self._clock = runtime.now
        self._flush = driver.flush
        self._actions = engine.actions
        self._next_action = engine.next_action
        self._next_wake = engine.next_wake
        self._runner = Runner(self, engine, runtime)
        self._thread_calls = ThreadCalls(runtime)
        self._pumping = False
        self._at_once = 0
        self._wall_due = -INFINITY
        self._timer_at = INFINITY
        self._timer_waiter = runtime.new_waiter()
        self._wait_drained: list[Waiter] = []
        self._begins: Callable[[], None] | None = None
        self.drained: bool = False
        self.runtime_name: str = runtime.name
        runtime.spawn(self._keep_time)

    def now(self) -> float:
        """Return the runtime's monotonic clock; about once a minute tell the wall time first."""
        now = self._clock()
        if now >= self._wall_due:
            self._wall_due = now + WALL_INTERVAL
            self._engine.set_wall_clock(self._wall(), now)
        return now

    def pump(self) -> None:
        """Carry out every action of the engine; a nested call leaves them to the outer one."""
        if self._pumping:
            return
        self._pumping = True
        actions, next_action, flush = self._actions, self._next_action, self._flush
        try:
            while action := actions.popleft() if actions else next_action():
                if isinstance(action, Flush):
                    flush(action.link.token)
                elif isinstance(action, Run):
                    self._runner.run(action.invocation)
                elif isinstance(action, Wake):
                    waiter: Wakes | None = action.call.waiter  # type: ignore[assignment]  # ours
                    if waiter is not None:
                        waiter.wake()
                elif isinstance(action, Cancel):
                    self._runner.cancel(action.work)
                elif isinstance(action, Upload):
                    self._runner.upload(action)
                elif isinstance(action, Resolve):
                    self._driver.resolve(action)
                elif isinstance(action, Connect):
                    self._driver.connect(action)
                elif isinstance(action, AbandonConnect):
                    self._driver.abandon_connect(action)
                elif isinstance(action, Report):
                    said = ids(action.invocation)  # who pumps may be another request
                    level = logging.WARNING if action.error is None else logging.ERROR
                    logger.log(level, "%s", action.message, exc_info=action.error, extra=said)
                elif isinstance(action, StopAccepting):
                    self._driver.stop_accepting()
                    self._engine.drain(self.now())
                    if self._begins is not None:
                        self._begins()
                else:
                    self._note_drained(action)
        finally:
            self._pumping = False
        wake_at = self._next_wake()
        if wake_at < self._timer_at:
            self._timer_at = wake_at
            self._timer_waiter.wake()

    async def call(self, start: Start) -> Any:
        """Start a call, wait for it and return its result; abandon it when cancelled."""
        call = start(self.now())
        self.pump()
        try:
            if call.done:
                await self.be_fair()
            else:  # what `wait_done` does, without a coroutine for it
                waiter = call.waiter = self._runtime.new_waiter()
                while not call.done:
                    await waiter.wait()
        except BaseException:
            self._abandon(call)  # its result is lost to whoever waited for it: see `wait`
            raise
        return call.result()

    async def be_fair(self) -> None:
        """Now and then yield after a call that was done at once."""
        self._at_once += 1
        if self._at_once >= _FAIR_AFTER:
            self._at_once = 0
            await anyio.lowlevel.checkpoint()

    async def wait(self, call: Call) -> Any:
        """Wait for a call that was started, and return its result; abandon it when cancelled."""
        try:
            await self.wait_done(call)
        except BaseException:
            # Also when it is done: the cancellation overtook the wake, and a response that has
            # begun to stream must let go of its connection.
            self._abandon(call)
            raise
        return call.result()

    def _abandon(self, call: Call) -> None:
        self._engine.abandon(call, self.now())
        self.pump()

    async def wait_done(self, call: Call) -> None:
        """Wait until a call is done; when cancelled, leave it: somebody will wait again."""
        waiter = self._runtime.new_waiter()
        call.waiter = waiter
        while not call.done:
            await waiter.wait()

    def call_from_thread(self, start: Start) -> Any:
        """Do what `call` does, blocking the calling thread (which must not be the loop's)."""
        return self._thread_calls.run(partial(self._start_for_thread, start))

    def _start_for_thread(self, start: Start, answer: Answer) -> None:
        try:
            call = start(self.now())
        except BaseException as error:  # noqa: BLE001 (raised in the thread)
            answer.set_exception(error)
            return
        finally:
            self.pump()
        waiter = ThreadWaiter(call, answer)
        if call.done:
            waiter.wake()
        else:
            call.waiter = waiter

    def run_in_loop(self, action: Callable[[float], T]) -> T:
        """Run `action(now)` in the loop's thread, pump, and return its result, blocking."""
        result: T = self._thread_calls.run(partial(self._act_for_thread, action))
        return result

    def read(self, what: Callable[[], T]) -> T:
        """Return `what()`, called in the loop's thread, which this may be; else it blocks."""
        return what() if self._thread_calls.here else self.run_in_loop(lambda now: what())

    def _act_for_thread(self, action: Callable[[float], T], answer: Answer) -> None:
        try:
            result = action(self.now())
        except BaseException as error:  # noqa: BLE001 (raised in the thread)
            answer.set_exception(error)
        else:
            answer.set_result(result)
        self.pump()

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that ends with the server at the latest; what it raises is logged."""

        async def task() -> None:
            await fn(*args)

        self._runtime.spawn(task)

    def leave(self, begins: Callable[[], None] | None = None) -> None:
        """Begin the drain after `Limits.drain_delay`; harmless when that was said before.

        `begins` is called at its begin.
        """
        self._begins = begins or self._begins
        self._engine.leave(self.now())
        self.pump()

    def close(self) -> None:
        """End everything now: what is open is cut, what is queued is dropped and counted."""
        self._engine.close(self.now())
        self.pump()

    def end(self) -> None:
        """Let threads go on that wait for the loop: it has ended, as far as they are concerned."""
        self._thread_calls.end()

    @property
    def threads(self) -> list[str]:
        """The names of handlers whose threads run still."""
        return sorted(invocation.name for invocation in list(self._runner.threads))

    async def wait_drained(self) -> None:
        """Wait until the drain is over."""
        waiter = self._runtime.new_waiter()
        self._wait_drained.append(waiter)
        try:
            while not self.drained:
                await waiter.wait()
        finally:
            self._wait_drained.remove(waiter)

    def _note_drained(self, _: Drained) -> None:
        self.drained = True
        for waiter in self._wait_drained:
            waiter.wake()

    async def _keep_time(self) -> None:
        """Call `handle_timeout` when the next deadline is due; the only task that watches time."""
        engine = self._engine
        while True:
            self._timer_at = engine.next_wake()
            with anyio.CancelScope(deadline=self._timer_at):
                await self._timer_waiter.wait()
            engine.handle_timeout(self.now())
            self.pump()
