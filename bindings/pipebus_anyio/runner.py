"""Runs handlers: in the pump, in a task of their own, or in a worker thread."""

import math
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from pipebus.engine.actions import OutgoingBody, Upload
from pipebus.engine.contexts import invoke
from pipebus.engine.engine import Engine
from pipebus.engine.invocation import Invocation
from pipebus.http.response import Response
from pipebus_anyio.observe.current import activate, current_invocation, enter
from pipebus_anyio.runtime import Runtime, Task

if TYPE_CHECKING:
    from pipebus_anyio.host import Host

T = TypeVar("T")

_ENDS_PROGRAM: Final = (KeyboardInterrupt, SystemExit)


class Runner:
    """Carries out `Run` and `Cancel` for a `Host`.

    Every path reports `begin`, then `complete` or `fail`, then `ended` as the task or thread is
    really gone. What a handler raises is the engine's to judge and to report; a cancellation is no
    result, and `ended` alone settles what it leaves. Each call has context variables of its own,
    copies of those that the host was made with: whoever happens to pump may be another request.
    """

    __slots__ = ("_context", "_engine", "_host", "_limiter", "_runtime", "threads")

    def __init__(self, host: "Host", engine: Engine, runtime: Runtime) -> None:
        self._host = host
        self._engine = engine
        self._runtime = runtime
        self._context = copy_context()
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
        engine, host = self._engine, self._host
        body = None
        now = host.now()
        try:
            if engine.begin(invocation, now):
                try:
                    context = self._context.copy()
                    context.run(current_invocation.set, invocation)  # `enter`, a frame cheaper
                    if invocation.span is not None:
                        context.run(activate, invocation.span)
                    result = context.run(invoke, engine, host, invocation)
                except _ENDS_PROGRAM:
                    raise
                except BaseException as error:  # noqa: BLE001 (the engine answers and reports it)
                    now = host.now()
                    engine.fail(invocation, error, now)
                else:
                    now = host.now()
                    body = engine.complete(invocation, result, now)
                    if (
                        body is None
                        and isinstance(result, Response)
                        and result.stream_body is not None
                    ):
                        self._runtime.spawn(_close_unread, result)
        finally:
            if body is None:
                engine.ended(invocation, now)
        if body is not None:
            invocation.task = self._runtime.spawn(self._stream_and_end, body)

    async def _run_task(self, invocation: Invocation) -> None:
        engine, host = self._engine, self._host
        try:
            if engine.begin(invocation, host.now()):
                try:
                    enter(invocation)
                    result = await invoke(engine, host, invocation)
                except BaseException as error:
                    if not _is_failure(error):
                        raise
                    engine.fail(invocation, error, host.now())
                else:
                    await self._complete(invocation, result)
        finally:
            engine.ended(invocation, host.now())
            host.pump()

    async def _run_thread(self, invocation: Invocation) -> None:
        engine, host = self._engine, self._host
        try:
            if engine.begin(invocation, host.now()):
                self.threads[invocation] = None
                enter(invocation)  # the thread, too, has a copy of this task's context variables
                # Abandoned only when the runtime exits: until then a cancelled invocation's
                # task waits for its thread, and so `ended` frees the slot when it is true.
                result, error = await anyio.to_thread.run_sync(
                    self._call_in_thread, invocation, abandon_on_cancel=True, limiter=self._limiter
                )
                if error is not None:
                    engine.fail(invocation, error, host.now())
                else:
                    await self._complete(invocation, result)
        finally:
            engine.ended(invocation, host.now())
            host.pump()

    async def _complete(self, invocation: Invocation, result: object) -> None:
        body = self._engine.complete(invocation, result, self._host.now())
        if body is not None:
            await self._stream(body)
        elif isinstance(result, Response):
            await _close_unread(result)

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
            enter(body.invocation)
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
        except BaseException as error:
            if not _is_failure(error):
                raise
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
        if upload.origin is not None:
            enter(upload.origin)
        try:
            async with closing(aiter(upload.chunks)) as pieces:
                while await host.call(partial(engine.upload_ready, call)):
                    chunk = await anext(pieces, None)
                    if chunk is None:
                        engine.upload_end(call, host.now())
                        break
                    engine.upload_chunk(call, chunk, host.now())
                    host.pump()
        except BaseException as error:
            # Whatever it is, the call that it belongs to must not wait for the rest.
            engine.upload_failed(call, error, host.now())
            if not _is_failure(error):
                raise
        finally:
            host.pump()


def _is_failure(error: BaseException) -> bool:
    """Whether what a task raised is its code's failure, and not the end of the task or the program.

    Not every failure is an `Exception`: pytest's outcomes, for one, are not.
    """
    ends = (*_ENDS_PROGRAM, anyio.get_cancelled_exc_class())
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(ends) is None
    return not isinstance(error, ends)


async def _close_unread(response: Response) -> None:
    """Close a body that nobody will iterate: the answer to HEAD has none, or it came too late."""
    if response.stream_body is not None:
        async with closing(aiter(response.stream_body)):
            pass


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
