"""A node: an engine driven in virtual time, its handlers stepped by hand."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any

from pipebus.engine.actions import (
    Action,
    Cancel,
    Drained,
    Flush,
    OutgoingBody,
    Report,
    Run,
    StopAccepting,
    Upload,
    Wake,
)
from pipebus.engine.calls import Call
from pipebus.engine.contexts import invoke
from pipebus.engine.engine import Engine
from pipebus.engine.host import Start
from pipebus.engine.invocation import Invocation
from pipebus.errors import NeedsRuntime
from pipebus.http.client import Connect, Resolve
from pipebus.http.response import Response
from pipebus.testing.network import Network
from pipebus.testing.tasks import HINT, StepCancelled, StepTask, Waiting, needs_runtime
from pipebus.testing.world import World


class Node:
    """Drives one engine, as a binding does, and is the host of its handlers' contexts.

    `reports` collects what a binding would log. `problems` collects `NeedsRuntime`: handlers that
    cannot be stepped; whoever drives the world raises them.
    """

    def __init__(self, name: str, engine: Engine, world: World, network: Network) -> None:
        self.name = name
        self.engine = engine
        self.world = world
        self.network = network
        self.reports: list[Report] = []
        self.problems: list[NeedsRuntime] = []
        self.drained: bool = False
        self._ready: deque[StepTask] = deque()
        self._pumping = False
        self._tasks: dict[StepTask, None] = {}
        world.add(self)

    # --- host ----------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the world's time."""
        return self.world.now

    async def call(self, start: Start) -> Any:
        """Start a call and wait for it; abandon it when cancelled."""
        return await self._wait(start(self.now()))

    async def _wait(self, call: Call) -> Any:
        self.pump()
        while not call.done:
            try:
                await Waiting(call)
            except BaseException:
                self.engine.abandon(call, self.now())
                self.pump()
                raise
        return call.result()

    def call_from_thread(self, start: Start) -> Any:
        """Start a call that is answered at once; a thread cannot be stepped, so it cannot wait."""
        call = start(self.now())
        self.pump()
        while not call.done and self.run():
            pass
        if not call.done:
            self.engine.abandon(call, self.now())
            self.pump()
            msg = "a thread handler waits: " + HINT
            raise NeedsRuntime(msg)
        return call.result()

    def run_in_loop(self, action: Callable[[float], Any]) -> Any:
        """Run `action(now)` and pump."""
        result = action(self.now())
        self.pump()
        return result

    # --- driving -------------------------------------------------------------------------------

    def spawn(
        self,
        name: str,
        coroutine: Coroutine[Any, Any, Any],
        done: Callable[[Any, BaseException | None], None],
    ) -> StepTask:
        """Have a coroutine stepped; `done(value, error)` hears of its end."""
        task = StepTask(name, coroutine, done)
        self._tasks[task] = None
        self._ready.append(task)
        return task

    def cancel(self, task: StepTask) -> None:
        """Throw `StepCancelled` into a task at its next step."""
        task.cancelled = True
        self._ready.append(task)

    def discard(self) -> None:
        """Throw away all tasks, so that no failed test leaves any for the next one to trip over."""
        while self._tasks:
            self._tasks.popitem()[0].discard()

    @property
    def tasks(self) -> int:
        """How many coroutines have not ended."""
        return len(self._tasks)

    def next_deadline(self) -> float | None:
        """Return the engine's."""
        return self.engine.next_deadline()

    def tick(self) -> None:
        """Act on what is due."""
        self.engine.handle_timeout(self.now())
        self.pump()

    def run(self) -> bool:
        """Step every task that can go on now, once; say whether any did.

        What they make possible is for the next call, so that tasks which wake each other for ever
        cannot hold up the world.
        """
        self.pump()
        ran = False
        for _ in range(len(self._ready)):
            if not self._ready:  # a thread handler has run the others while it waited
                break
            ran = True
            task = self._ready.popleft()
            try:
                task.step()
            finally:
                if task.finished:
                    self._tasks.pop(task, None)
            self.pump()
        return ran

    def pump(self) -> None:
        """Carry out what the engine asks for."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (action := self.engine.next_action()) is not None:
                self._act(action)
        finally:
            self._pumping = False

    def _act(self, action: Action) -> None:
        if isinstance(action, Run):
            self._run(action.invocation)
        elif isinstance(action, Flush):
            self.network.flush(action.link)
        elif isinstance(action, Wake):
            waiter = action.call.waiter
            if isinstance(waiter, StepTask):  # else it has given up meanwhile
                self._ready.append(waiter)
        elif isinstance(action, Cancel):
            task = action.work.task
            assert isinstance(task, StepTask), "what is cancelled was spawned here"
            self.cancel(task)
        elif isinstance(action, Upload):
            action.task = self.spawn("upload", self._upload(action), self._note_end)
        elif isinstance(action, Report):
            self.reports.append(action)
        elif isinstance(action, StopAccepting):
            self.network.close_listeners(self)
            self.engine.drain(self.now())
        elif isinstance(action, Drained):
            self.drained = True
        elif isinstance(action, Resolve):
            self.network.resolve(self, action)
        elif isinstance(action, Connect):
            self.network.connect(self, action)
        else:
            self.network.abandon(action.attempt_id)

    def _note_end(self, value: Any, error: BaseException | None) -> None:
        """Take the end of a task that has told the engine itself what became of it.

        Its own exceptions have been dealt with; what is left is a test's, such as pytest's.
        """
        if isinstance(error, NeedsRuntime):
            self.problems.append(error)
        elif error is not None and not isinstance(error, StepCancelled):
            raise error

    def _run(self, invocation: Invocation) -> None:
        if invocation.mode != "inline":  # a thread's function is one step: it cannot be suspended
            invocation.task = self.spawn(
                invocation.name,
                self._handle(invocation),
                lambda _, error: self._ended(invocation, error),
            )
            return
        engine = self.engine
        body: OutgoingBody | None = None
        if engine.begin(invocation, self.now()):
            try:
                result = invoke(engine, self, invocation)
            except Exception as error:  # noqa: BLE001 (the engine's to answer)
                self._failed(invocation, error)
            else:
                body = engine.complete(invocation, result, self.now())
                if body is None and isinstance(result, Response):
                    self.spawn("close", _close_unread(result), self._note_end)
        if body is None:
            engine.ended(invocation, self.now())
        else:
            invocation.task = self.spawn(
                invocation.name,
                self._send_body(body),
                lambda _, error: self._ended(invocation, error),
            )

    async def _handle(self, invocation: Invocation) -> None:
        engine = self.engine
        if not engine.begin(invocation, self.now()):
            return
        try:
            result = invoke(engine, self, invocation)
            if invocation.mode == "task":
                result = await result
        except Exception as error:  # noqa: BLE001 (the engine's to answer)
            self._failed(invocation, error)
            return
        body = engine.complete(invocation, result, self.now())
        if body is not None:
            await self._send_body(body)
        else:
            await _close_unread(result)

    def _failed(self, invocation: Invocation, error: Exception) -> None:
        self._note_problem(invocation, error)
        self.engine.fail(invocation, error, self.now())

    def _note_problem(self, invocation: Invocation, error: Exception) -> None:
        wanted = error if isinstance(error, NeedsRuntime) else needs_runtime(invocation.name, error)
        if wanted is not None:
            self.problems.append(wanted)

    async def _send_body(self, body: OutgoingBody) -> None:
        engine, invocation = self.engine, body.invocation
        try:
            async with _Closing(body.chunks) as pieces:
                async for piece in pieces:
                    room = engine.body_chunk(invocation, piece, self.now())
                    self.pump()
                    if room is not None:
                        await self._wait(room)
        except Exception as error:  # noqa: BLE001 (the engine's to answer)
            self._note_problem(invocation, error)
            engine.body_failed(invocation, error, self.now())
        else:
            engine.body_end(invocation, self.now())

    async def _upload(self, upload: Upload) -> None:
        engine, call = self.engine, upload.call
        try:
            async with _Closing(upload.chunks) as pieces:
                while await self.call(lambda now: engine.upload_ready(call, now)):
                    try:
                        piece = await anext(pieces)
                    except StopAsyncIteration:
                        engine.upload_end(call, self.now())
                        break
                    engine.upload_chunk(call, piece, self.now())
                    self.pump()
        except Exception as error:  # noqa: BLE001 (the engine's to tell)
            engine.upload_failed(call, error, self.now())

    def _ended(self, invocation: Invocation, error: BaseException | None) -> None:
        if isinstance(error, NeedsRuntime):
            self.engine.fail(invocation, error, self.now())
        self.engine.ended(invocation, self.now())
        self._note_end(None, error)


class _Closing:
    """A body to be iterated once; closed at the end, if it has an `aclose`."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._iterator = aiter(chunks)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._iterator

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        close = getattr(self._iterator, "aclose", None)
        # One that is thrown away in the middle, after a test has failed, can await nothing.
        if close is not None and kind is not GeneratorExit:
            await close()


async def _close_unread(result: object) -> None:
    """Close a body that nobody will iterate: the answer to HEAD has none, or it came too late."""
    if isinstance(result, Response) and result.stream_body is not None:
        async with _Closing(result.stream_body):
            pass
