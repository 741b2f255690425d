"""The types of the decorators: they tell a wrong pairing of handler and context to a type checker.

`M` is what the handler is given (a request, an event), `R` what it returns.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, overload

from pipebus.pipeline.context import Context, InlineContext, ThreadContext

if TYPE_CHECKING:
    # Only a type checker needs the default (PEP 696); at run time that needs Python 3.13.
    from typing_extensions import TypeVar

    S = TypeVar("S", default=None)
else:
    from typing import TypeVar

    S = TypeVar("S")

M = TypeVar("M")
R = TypeVar("R")


class Decorator(Protocol[S, M, R]):
    """Takes `async def` with `Context` and `def` with `InlineContext`; each may leave it out."""

    @overload
    def __call__(self, fn: Callable[[M], Awaitable[R]], /) -> Callable[[M], Awaitable[R]]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, Context[S]], Awaitable[R]], /
    ) -> Callable[[M, Context[S]], Awaitable[R]]: ...
    @overload
    def __call__(self, fn: Callable[[M], R], /) -> Callable[[M], R]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, InlineContext[S]], R], /
    ) -> Callable[[M, InlineContext[S]], R]: ...


class TaskDecorator(Protocol[S, M, R]):
    """Takes `async def` only, with `Context` or without."""

    @overload
    def __call__(self, fn: Callable[[M], Awaitable[R]], /) -> Callable[[M], Awaitable[R]]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, Context[S]], Awaitable[R]], /
    ) -> Callable[[M, Context[S]], Awaitable[R]]: ...


class ThreadDecorator(Protocol[S, M, R]):
    """Takes `def` that runs in a worker thread, with `ThreadContext` or without."""

    @overload
    def __call__(self, fn: Callable[[M], R], /) -> Callable[[M], R]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, ThreadContext[S]], R], /
    ) -> Callable[[M, ThreadContext[S]], R]: ...
