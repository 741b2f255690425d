"""How other threads ask the loop for something and block until they are answered."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from pipebus.engine.calls import Call
from pipebus_anyio.runtime import Runtime

Answer = Future[Any]

_ENDED: Final = "the server has ended: nothing answers a thread any more"


class ThreadCalls:
    """The threads that wait for the loop, so that none waits for a loop that has ended.

    anyio's own `from_thread` leaves a thread waiting for ever if the loop stops before it came to
    what the thread asked for.
    """

    __slots__ = ("_ended", "_lock", "_loop_thread", "_run_soon", "_waiting")

    def __init__(self, runtime: Runtime) -> None:
        self._run_soon = runtime.run_soon
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()
        self._waiting: set[Answer] = set()
        self._ended = False

    @property
    def here(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.get_ident() == self._loop_thread

    def run(self, action: Callable[[Answer], None]) -> Any:
        """Have the loop call `action(answer)`; block until `answer` is set, and return its result.

        Raises `RuntimeError` in the loop's own thread, and once the server has ended.
        """
        if self.here:
            msg = "this blocks, and would wait for the very thread that it is called in"
            raise RuntimeError(msg)
        answer: Answer = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError(_ENDED)
            self._waiting.add(answer)
        try:
            self._run_soon(partial(_unless_done, action, answer))
            return answer.result()
        finally:
            self._waiting.discard(answer)

    def end(self) -> None:
        """Let every thread go on: nothing will be answered any more. In the loop's thread."""
        with self._lock:
            self._ended = True
            waiting = list(self._waiting)
        for answer in waiting:
            if not answer.done():
                answer.set_exception(RuntimeError(_ENDED))


def _unless_done(action: Callable[[Answer], None], answer: Answer) -> None:
    if not answer.done():
        action(answer)


class ThreadWaiter:
    """What wakes a thread that waits for a call, as a `Waiter` wakes a task."""

    __slots__ = ("_answer", "_call")

    def __init__(self, call: Call, answer: Answer) -> None:
        self._call = call
        self._answer = answer

    def wake(self) -> None:
        """Answer with the result of the call, which is done."""
        if self._answer.done():
            return
        try:
            result = self._call.result()
        except BaseException as error:  # noqa: BLE001 (raised in the thread)
            self._answer.set_exception(error)
        else:
            self._answer.set_result(result)
