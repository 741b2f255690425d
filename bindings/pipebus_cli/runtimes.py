"""Which async library a command runs on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, Unpack

import anyio

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.observe.logs import LogFormat
from pipebus_anyio.options import ServeOptions
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.server import Server

T = TypeVar("T")

RuntimeName = Literal["asyncio", "trio"]


class Run(Protocol):
    """`run` of `pipebus_asyncio` and `pipebus_trio`."""

    def __call__(
        self,
        pipeline: Pipeline[Any],
        *,
        started: Callable[[Server], None] | None = None,
        log_level: int | str = "INFO",
        log_format: LogFormat = "text",
        **options: Unpack[ServeOptions],
    ) -> None:
        """Serve a pipeline and own the process."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One runtime: how to serve on it, how to make one, how to run a coroutine function."""

    name: RuntimeName
    serve: Run
    new_runtime: Callable[[], Runtime]

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run `main` to its end in a new loop."""
        try:
            return anyio.run(main, backend=self.name)
        except BaseExceptionGroup as group:
            # On trio Ctrl-C is raised in whichever task runs, and a nursery wraps what it sees.
            if group.split(KeyboardInterrupt)[1] is None:
                raise KeyboardInterrupt from None
            raise


def choose(name: RuntimeName) -> Choice:
    """Return a runtime; imports no other."""
    if name == "trio":
        import pipebus_trio
        from pipebus_trio.runtime import TrioRuntime

        return Choice(name, pipebus_trio.run, TrioRuntime)
    import pipebus_asyncio
    from pipebus_asyncio.runtime import AsyncioRuntime

    return Choice(name, pipebus_asyncio.run, AsyncioRuntime)
