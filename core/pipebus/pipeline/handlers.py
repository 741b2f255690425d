"""What a handler may be: how it runs is read off the function, once, at registration."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, Literal, get_origin

import msgspec

from pipebus.errors import RegistrationError
from pipebus.pipeline.context import Context, InlineContext, ThreadContext

Mode = Literal["inline", "task", "thread"]

_CONTEXTS: Final[dict[object, Mode]] = {
    Context: "task",
    InlineContext: "inline",
    ThreadContext: "thread",
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
    fn: Callable[..., Any], *, thread: bool, role: str, context: bool = True
) -> Handler:
    """Read off how a handler runs, or raise `RegistrationError` naming it, its file and its line.

    `role` says what it was declared as, for the message. With `context=False` both parameters are
    the role's own (an error handler's exception and request).
    """
    raise NotImplementedError
