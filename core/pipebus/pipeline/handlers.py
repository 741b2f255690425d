"""What a handler may be: how it runs is read off the function, once, at registration."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, get_origin, get_type_hints

import msgspec

from pipebus.errors import RegistrationError
from pipebus.pipeline.context import Context, InlineContext, ThreadContext

Mode = Literal["inline", "task", "thread"]

_CONTEXT: Final[dict[Mode, type]] = {
    "task": Context,
    "inline": InlineContext,
    "thread": ThreadContext,
}
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class Handler(msgspec.Struct, frozen=True):
    """A function to run, and how."""

    fn: Callable[..., Any]
    mode: Mode
    """`inline` in the loop, `task` in a task of its own, `thread` in a worker thread."""
    takes_context: bool
    """Whether it is called with a second argument, the context."""
    name: str
    """Module and qualified name, for reports and `Event.source`."""


def inspect_handler(
    fn: Callable[..., Any], role: str, *, thread: bool = False, context: bool = True
) -> Handler:
    """Read off how a handler runs, or raise `RegistrationError` naming it, its file and its line.

    `role` says what it was declared as, for the message. `async def` runs as a task, `def` inline
    or, with `thread`, in a thread. It takes one positional parameter and perhaps a second, the
    context; one with a default is left alone. With `context=False` it takes just two, which are
    the role's own (an error handler's exception and request).
    """
    mode = _mode(fn, role, thread=thread)
    required, takes = _count_parameters(fn, role)
    if not takes:
        _refuse(fn, role, "it takes 1 or 2 positional parameters, not 0")
    if not context:
        if required != 2:
            _refuse(fn, role, f"it takes 2 positional parameters, not {required}")
    elif required > 2:
        _refuse(fn, role, f"it takes 1 or 2 positional parameters, not {required}")
    elif required == 2:
        _check_context(fn, _function(fn, role), role, mode, 1)
    return Handler(fn, mode, context and required == 2, name_of(fn))


def inspect_check(fn: Callable[..., Any], role: str, *, thread: bool = False) -> Handler:
    """Read off how a health check runs: as `inspect_handler`, but its one parameter is the context.

    What is returned is called with an event, which the check does not see, and the context.
    """
    mode = _mode(fn, role, thread=thread)
    required = _count_parameters(fn, role)[0]
    if required > 1:
        _refuse(fn, role, f"it takes the context and no more, not {required} positional parameters")
    if required == 1:
        _check_context(fn, _function(fn, role), role, mode, 0)
        return Handler(lambda _, ctx: fn(ctx), mode, True, name_of(fn))
    return Handler(lambda _: fn(), mode, False, name_of(fn))


def _mode(fn: Callable[..., Any], role: str, *, thread: bool) -> Mode:
    function = _function(fn, role)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        _refuse(fn, role, "it yields (to stream a body, return Response.stream(...))")
    if not inspect.iscoroutinefunction(function):
        return "thread" if thread else "inline"
    if thread:
        _refuse(fn, role, "thread=True runs a plain def, and this is an async def")
    return "task"


def _function(fn: Callable[..., Any], role: str) -> Callable[..., Any]:
    """Return the function or method that a call of `fn` ends in."""
    if inspect.isclass(fn) or not callable(fn):
        _refuse(fn, role, "it is not a function")
    target = _without_partials(fn)
    if inspect.isroutine(target):
        return target
    call: Callable[..., Any] = type(target).__call__
    return call


def _without_partials(fn: Any) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def _count_parameters(fn: Callable[..., Any], role: str) -> tuple[int, int]:
    """Return how many positional parameters it needs, and how many it has (`*args` is one)."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except ValueError:
        _refuse(fn, role, "its parameters are not known")
    required = 0
    takes = 0
    for parameter in parameters:
        optional = parameter.default is not inspect.Parameter.empty
        if parameter.kind in _POSITIONAL:
            takes += 1
            required += not optional
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            takes += 1
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY and not optional:
            _refuse(fn, role, f"nothing is passed for its parameter {parameter.name!r}")
    return required, takes


def _check_context(
    fn: Callable[..., Any], function: Callable[..., Any], role: str, mode: Mode, index: int
) -> None:
    """Refuse a parameter that is annotated as the context of another mode."""
    name = [
        parameter.name
        for parameter in inspect.signature(fn).parameters.values()
        if parameter.kind in _POSITIONAL
    ][index]
    try:
        annotation = get_type_hints(function).get(name)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return  # a name that only the type checker sees: the type checker's to say, then
    given = get_origin(annotation) or annotation
    for other, context in _CONTEXT.items():
        if given is context and other != mode:
            why = (
                f"its parameter {name!r} is annotated {context.__name__}, and a handler that runs "
                f"{_HOW[mode]} is given {_CONTEXT[mode].__name__}"
            )
            _refuse(fn, role, why)


_HOW: Final[dict[Mode, str]] = {
    "task": "as an async def",
    "inline": "as a plain def",
    "thread": "with thread=True",
}


def name_of(fn: Callable[..., Any]) -> str:
    """Return the module and qualified name of a function, or of a callable object's class."""
    target = _without_partials(fn)
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


def _refuse(fn: Callable[..., Any], role: str, why: str) -> NoReturn:
    target = _without_partials(fn)
    code = getattr(target, "__code__", None) or getattr(type(target).__call__, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    msg = f"{role} handler {name_of(fn)}{place}: {why}"
    raise RegistrationError(msg)
