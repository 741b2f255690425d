"""What the user's own code raised: in one line, and where it was."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from traceback import FrameSummary, TracebackException, walk_tb
from typing import Any, Final

from pipebus.pipeline.declare import Pipeline
from pipebus_cli.errors import CliError

_HIDDEN: Final = frozenset(
    {
        "_frozen_importlib", "_frozen_importlib_external", "anyio", "asyncio", "contextlib",
        "importlib", "pipebus", "pipebus_anyio", "pipebus_asyncio", "pipebus_cli", "pipebus_trio",
        "trio",
    }
)  # fmt: skip
"""Packages that call the user's code: how they got there helps nobody to mend it."""


def failure(what: str, error: BaseException) -> CliError:
    """Say in a line what failed, why and where, with a traceback of the user's own frames."""
    trace = TracebackException.from_exception(error)
    _hide(trace, error)
    if isinstance(error, SyntaxError):
        text, where = error.msg, _place(error.filename, error.lineno)
    else:
        text, where = str(error), _last_place(trace.stack)
    kind = type(error).__name__
    line = f"{what}: {kind}: {text}{where}" if text else f"{what}: {kind}{where}"
    return CliError(line, trace="".join(trace.format()))


def explain_lifespan(pipeline: Pipeline[Any]) -> None:
    """Have a lifespan that fails end the command by `failure`; what others raise passes it by."""
    new = pipeline.lifespan
    if new is not None:
        pipeline.lifespan = _explained(new)


def _explained(
    new: Callable[[], AbstractAsyncContextManager[Any]],
) -> Callable[[], AbstractAsyncContextManager[Any]]:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        served: BaseException | None = None
        try:
            async with new() as state:
                try:
                    yield state
                except BaseException as error:
                    served = error
                    raise
        except Exception as error:
            if error is served:
                raise
            raise failure("the lifespan failed", error) from error

    return lifespan


def _hide(trace: TracebackException, error: BaseException) -> None:
    """Take what is not the user's out of a traceback, and out of those of its causes."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    trace.stack[:] = [
        summary
        for summary, frame in zip(trace.stack, frames, strict=False)
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _HIDDEN
    ]
    for inner, of in ((trace.__cause__, error.__cause__), (trace.__context__, error.__context__)):
        if inner is not None and of is not None:
            _hide(inner, of)
    if isinstance(error, BaseExceptionGroup):
        for inner, of in zip(trace.exceptions or (), error.exceptions, strict=False):
            _hide(inner, of)


def _last_place(stack: Sequence[FrameSummary]) -> str:
    """Say where the user's code was: a library that it called is deeper, and seldom to blame."""
    here = [
        one
        for one in stack
        if Path(one.filename).is_relative_to(Path.cwd()) and "site-packages" not in one.filename
    ]
    for last in (here or stack)[-1:]:
        return _place(last.filename, last.lineno)
    return ""


def _place(filename: str | None, line: int | None) -> str:
    if filename is None:
        return ""
    path = Path(filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f" ({path}:{line})"
