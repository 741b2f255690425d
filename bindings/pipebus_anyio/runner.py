"""Runs handlers: in the pump, in a task of their own, or in a worker thread."""

import math
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from pipebus.engine.actions import OutgoingBody, Upload
from pipebus.engine.contexts import invoke
from pipebus.engine.engine import Engine
from pipebus.engine.invocation import Invocation
from pipebus_anyio.runtime import Runtime, Task

if TYPE_CHECKING:
    from pipebus_anyio.host import Host

T = TypeVar("T")


class Runner:
    """Carries out `Run` and `Cancel` for a `Host`.

    Every path reports `begin`, then `complete` or `fail`, then `ended` as the task or thread is
    really gone. What a handler raises is the engine's to judge and to report; a cancellation is no
    result, and `ended` alone settles what it leaves.
    """

    __slots__ = ("_engine", "_host", "_limiter", "_runtime", "threads")

    def __init__(self, host: "Host", engine: Engine, runtime: Runtime) -> None:
        self._host = host
        self._engine = engine
        self._runtime = runtime
        self.threads: dict[Invocation, None] = {}
        """Whose threads run; one that was abandoned stays until its call returns."""
        # The engine bounds threads per responder (`Limits.thread_concurrency`). A second bound
        # here could make an invocation that the engine calls running wait without its knowing.
        self._limiter = anyio.CapacityLimiter(math.inf)

    def run(self, invocation: Invocation) -> None:
        """Start `invocation` as its mode says; an inline one is over when this returns."""
        mode = invocation.mode
        if mode == "inline":
            self._run_inline(invocation)
        elif mode == "task":
            invocation.task = self._runtime.spawn(self._run_task, invocation)
        else:
            invocation.task = self._runtime.spawn(self._run_thread, invocation)

    def upload(self, upload: Upload) -> None:
        """Start to send the body of an outgoing request."""
        upload.task = self._runtime.spawn(self._send_upload, upload)

    def cancel(self, work: Invocation | Upload) -> None:
        """Cancel its task. A thread cannot be cancelled, only what streams its response."""
        task: Task | None = work.task  # type: ignore[assignment]  # ours to set
        if task is None:
            return
        if isinstance(work, Upload) or work.mode != "thread" or work.state == "streaming":
            self._runtime.cancel(task)

    def _run_inline(self, invocation: Invocation) -> None:
        engine, now = self._engine, self._host.now
        body = None
        try:
            if engine.begin(invocation, now()):
                try:
                    result = invoke(engine, self._host, invocation)
                except Exception as error:  # noqa: BLE001 (the engine answers and reports it)
                    engine.fail(invocation, error, now())
                else:
                    body = engine.complete(invocation, result, now())
        finally:
            if body is None:
                engine.ended(invocation, now())
        if body is not None:
            invocation.task = self._runtime.spawn(self._stream_and_end, body)

    async def _run_task(self, invocation: Invocation) -> None:
        engine, host = self._engine, self._host
        try:
            if engine.begin(invocation, host.now()):
                try:
                    result = await invoke(engine, host, invocation)
                except Exception as error:  # noqa: BLE001 (the engine answers and reports it)
                    engine.fail(invocation, error, host.now())
                else:
                    body = engine.complete(invocation, result, host.now())
                    if body is not None:
                        await self._stream(body)
        finally:
            engine.ended(invocation, host.now())
            host.pump()

    async def _run_thread(self, invocation: Invocation) -> None:
        engine, host = self._engine, self._host
        try:
            if engine.begin(invocation, host.now()):
                self.threads[invocation] = None
                # Abandoned only when the runtime exits: until then a cancelled invocation's
                # task waits for its thread, and so `ended` frees the slot when it is true.
                result, error = await anyio.to_thread.run_sync(
                    self._call_in_thread, invocation, abandon_on_cancel=True, limiter=self._limiter
                )
                if error is not None:
                    engine.fail(invocation, error, host.now())
                else:
                    body = engine.complete(invocation, result, host.now())
                    if body is not None:
                        await self._stream(body)
        finally:
            engine.ended(invocation, host.now())
            host.pump()

    def _call_in_thread(self, invocation: Invocation) -> tuple[Any, BaseException | None]:
        """Return the result, or the exception: SystemExit in a thread, too, ends only this call."""
        try:
            return invoke(self._engine, self._host, invocation), None
        except BaseException as error:  # noqa: BLE001 (carried over to the loop)
            return None, error
        finally:
            self.threads.pop(invocation, None)

    async def _stream_and_end(self, body: OutgoingBody) -> None:
        try:
            await self._stream(body)
        finally:
            self._engine.ended(body.invocation, self._host.now())
            self._host.pump()

    async def _stream(self, body: OutgoingBody) -> None:
        """Iterate a streamed response's body into the engine, at the peer's pace."""
        engine, host, invocation = self._engine, self._host, body.invocation
        host.pump()  # the head goes out before the first chunk exists
        try:
            await self._send_chunks(invocation, body.chunks)
        except Exception as error:  # noqa: BLE001 (the engine cuts the response and reports it)
            engine.body_failed(invocation, error, host.now())
        else:
            engine.body_end(invocation, host.now())

    async def _send_chunks(self, invocation: Invocation, chunks: AsyncIterable[object]) -> None:
        engine, host = self._engine, self._host
        async with closing(aiter(chunks)) as pieces:
            async for chunk in pieces:
                room = engine.body_chunk(invocation, chunk, host.now())
                host.pump()
                if room is not None:
                    await host.wait(room)

    async def _send_upload(self, upload: Upload) -> None:
        engine, host, call = self._engine, self._host, upload.call
        try:
            async with closing(aiter(upload.chunks)) as pieces:
                while await host.call(partial(engine.upload_ready, call)):
                    chunk = await anext(pieces, None)
                    if chunk is None:
                        engine.upload_end(call, host.now())
                        break
                    engine.upload_chunk(call, chunk, host.now())
                    host.pump()
        except Exception as error:  # noqa: BLE001 (the call that it belongs to raises it)
            engine.upload_failed(call, error, host.now())
        finally:
            host.pump()


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a generator that is left in the middle: here, now, and in this task.

    Otherwise the garbage collector would have it closed at some other time, in another task.
    """
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
