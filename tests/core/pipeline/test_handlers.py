"""What can be a handler, and what is read off it."""

import builtins
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pipebus.errors import RegistrationError
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import BaseContext, Context, InlineContext, ThreadContext
from pipebus.pipeline.handlers import Handler, inspect_handler, name_of

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found] # only annotations name it

HERE = "tests.core.pipeline.test_handlers"


def plain(request: Request) -> Response:
    return Response()


def plain_with_context(request: Request, ctx: InlineContext) -> Response:
    return Response()


async def waiting(request: Request) -> Response:
    return Response()


async def waiting_with_context(request: Request, ctx: Context) -> Response:
    return Response()


def threaded_with_context(request: Request, ctx: ThreadContext) -> Response:
    return Response()


class Callables:
    def method(self, request: Request) -> Response:
        return Response()

    async def async_method(self, request: Request, ctx: Context) -> Response:
        return Response()

    @classmethod
    def class_method(cls, request: Request) -> Response:
        return Response()

    @staticmethod
    async def static_method(request: Request) -> Response:
        return Response()


class PlainObject:
    def __call__(self, request: Request) -> Response:
        return Response()


class AsyncObject:
    async def __call__(self, request: Request, ctx: Context) -> Response:
        return Response()


async def three(db: str, request: Request, ctx: Context) -> Response:
    return Response()


async def keyword(request: Request, *, db: str = "") -> Response:
    return Response()


def optional(request: Request, verbose: bool = False) -> Response:
    return Response()


def anything(*args: Any) -> Response:
    return Response()


def anything_more(request: Request, ctx: InlineContext, *rest: Any, **more: Any) -> Response:
    return Response()


def positional_only(request: Request, ctx: InlineContext, /) -> Response:
    return Response()


def any_context(request: Request, ctx: BaseContext) -> Response:
    return Response()


def unannotated(request, ctx):  # type: ignore[no-untyped-def] # what an untyped program writes
    return Response()


def of_a_state(request: Request, ctx: InlineContext[int]) -> Response:
    return Response()


def unresolvable(request: "Missing", ctx: "Missing") -> Response:
    return Response()


@pytest.mark.parametrize(
    ("fn", "thread", "mode", "takes_context"),
    [
        (plain, False, "inline", False),
        (plain_with_context, False, "inline", True),
        (plain, True, "thread", False),
        (threaded_with_context, True, "thread", True),
        (waiting, False, "task", False),
        (waiting_with_context, False, "task", True),
        (Callables().method, False, "inline", False),
        (Callables().async_method, False, "task", True),
        (Callables.class_method, False, "inline", False),
        (Callables.static_method, False, "task", False),
        (PlainObject(), False, "inline", False),
        (PlainObject(), True, "thread", False),
        (AsyncObject(), False, "task", True),
        (functools.partial(three, "db"), False, "task", True),
        (functools.partial(functools.partial(three, "db"), ctx=None), False, "task", False),
        (functools.partial(keyword, db="x"), False, "task", False),
        (functools.partial(AsyncObject()), False, "task", True),
        (optional, False, "inline", False),
        (anything, False, "inline", False),
        (anything_more, False, "inline", True),
        (positional_only, False, "inline", True),
        (any_context, False, "inline", True),
        (any_context, True, "thread", True),
        (unannotated, False, "inline", True),
        (of_a_state, False, "inline", True),
        (unresolvable, False, "inline", True),
    ],
)
def test_what_is_read_off(
    fn: Callable[..., Any], thread: bool, mode: str, takes_context: bool
) -> None:
    handler = inspect_handler(fn, "route 'x'", thread=thread)
    assert (handler.fn, handler.mode, handler.takes_context) == (fn, mode, takes_context)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (plain, f"{HERE}.plain"),
        (Callables().method, f"{HERE}.Callables.method"),
        (PlainObject(), f"{HERE}.PlainObject"),
        (functools.partial(three, "db"), f"{HERE}.three"),
    ],
)
def test_name(fn: Callable[..., Any], name: str) -> None:
    assert name_of(fn) == name
    assert Handler(fn, "inline", False, name).name == name


async def yields_async(request: Request) -> AsyncIterator[bytes]:
    yield b""


def yields(request: Request) -> Iterator[bytes]:
    yield b""


def nothing() -> Response:
    return Response()


def four(a: Any, b: Any, c: Any, d: Any) -> Response:
    return Response()


def needs_keyword(request: Request, *, db: str) -> Response:
    return Response()


def only_keywords(**kwargs: Any) -> Response:
    return Response()


def inline_with_task_context(request: Request, ctx: Context) -> Response:
    return Response()


def inline_with_thread_context(request: Request, ctx: ThreadContext[int]) -> Response:
    return Response()


async def task_with_inline_context(request: Request, ctx: InlineContext) -> Response:
    return Response()


async def task_with_thread_context(request: Request, ctx: "ThreadContext[int]") -> Response:
    return Response()


@pytest.mark.parametrize(
    ("fn", "thread", "why"),
    [
        (waiting, True, "thread=True runs a plain def"),
        (AsyncObject(), True, "thread=True runs a plain def"),
        (yields_async, False, "it yields"),
        (yields, False, "it yields"),
        (yields, True, "it yields"),
        (nothing, False, "1 or 2 positional parameters, not 0"),
        (only_keywords, False, "1 or 2 positional parameters, not 0"),
        (four, False, "1 or 2 positional parameters, not 4"),
        (three, False, "1 or 2 positional parameters, not 3"),
        (needs_keyword, False, "nothing is passed for its parameter 'db'"),
        (PlainObject, False, "it is not a function"),
        (5, False, "it is not a function"),
        (inline_with_task_context, False, "is annotated Context"),
        (inline_with_thread_context, False, "is annotated ThreadContext"),
        (plain_with_context, True, "with thread=True is given ThreadContext"),
        (inline_with_task_context, True, "with thread=True is given ThreadContext"),
        (task_with_inline_context, False, "as an async def is given Context"),
        (task_with_thread_context, False, "as an async def is given Context"),
        (threaded_with_context, False, "as a plain def is given InlineContext"),
        (builtins.min, False, "its parameters are not known"),
    ],
)
def test_what_cannot_be_a_handler(fn: Any, thread: bool, why: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        inspect_handler(fn, "route 'GET /x'", thread=thread)
    message = str(caught.value)
    assert why in message
    assert message.startswith("route 'GET /x' handler ")
    assert name_of(fn) in message


@pytest.mark.parametrize("fn", [four, functools.partial(four), Callables().async_method])
def test_complaint_says_where(fn: Callable[..., Any]) -> None:
    code = getattr(fn, "func", fn).__code__
    with pytest.raises(RegistrationError) as caught:
        inspect_handler(fn, "route", thread=True)
    assert f"({__file__}:{code.co_firstlineno})" in str(caught.value)


def test_complaint_about_an_object_says_where_its_call_is() -> None:
    with pytest.raises(RegistrationError) as caught:
        inspect_handler(AsyncObject(), "route", thread=True)
    line = AsyncObject.__call__.__code__.co_firstlineno
    assert f"({__file__}:{line})" in str(caught.value)


def test_error_handler_takes_just_two() -> None:
    handler = inspect_handler(lambda error, request: Response(), "on_error(X)", context=False)
    assert (handler.mode, handler.takes_context) == ("inline", False)
    for fn in (plain, four, anything):
        with pytest.raises(RegistrationError, match="it takes 2 positional parameters"):
            inspect_handler(fn, "on_error(X)", context=False)
