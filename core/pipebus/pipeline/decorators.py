"""The types of the decorators: they tell a wrong pairing of handler and context to a type checker.

`M` is what the handler is given (a request, an event), `R` what it returns, `S` the state.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, overload

from pipebus.http.message import RequestInfo
from pipebus.http.response import Response
from pipebus.pipeline.context import Context, InlineContext, ThreadContext

if TYPE_CHECKING:
    # Only a type checker needs the default (PEP 696); at run time that needs Python 3.13.
    from typing_extensions import TypeVar

    S = TypeVar("S", default=None)
else:
    from typing import TypeVar

    S = TypeVar("S")

# An invariant TypeVar where mypy would have a variant one: the decorators are made, never passed on.
M = TypeVar("M")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)


class Decorator(Protocol[M, R, S]):
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


class TaskDecorator(Protocol[M, R, S]):
    """Takes `async def` only, with `Context` or without."""

    @overload
    def __call__(self, fn: Callable[[M], Awaitable[R]], /) -> Callable[[M], Awaitable[R]]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, Context[S]], Awaitable[R]], /
    ) -> Callable[[M, Context[S]], Awaitable[R]]: ...


class ThreadDecorator(Protocol[M, R, S]):
    """Takes `def` that runs in a worker thread, with `ThreadContext` or without."""

    @overload
    def __call__(self, fn: Callable[[M], R], /) -> Callable[[M], R]: ...
    @overload
    def __call__(
        self, fn: Callable[[M, ThreadContext[S]], R], /
    ) -> Callable[[M, ThreadContext[S]], R]: ...


class CheckDecorator(Protocol[S]):
    """Takes a health check: `async def` or `def`, with its context or without."""

    @overload
    def __call__(
        self, fn: Callable[[], Awaitable[object]], /
    ) -> Callable[[], Awaitable[object]]: ...
    @overload
    def __call__(
        self, fn: Callable[[Context[S]], Awaitable[object]], /
    ) -> Callable[[Context[S]], Awaitable[object]]: ...
    @overload
    def __call__(self, fn: Callable[[], object], /) -> Callable[[], object]: ...
    @overload
    def __call__(
        self, fn: Callable[[InlineContext[S]], object], /
    ) -> Callable[[InlineContext[S]], object]: ...


class ThreadCheckDecorator(Protocol[S]):
    """Takes a health check, a `def` that runs in a worker thread, with its context or without."""

    @overload
    def __call__(self, fn: Callable[[], object], /) -> Callable[[], object]: ...
    @overload
    def __call__(
        self, fn: Callable[[ThreadContext[S]], object], /
    ) -> Callable[[ThreadContext[S]], object]: ...


class ErrorDecorator(Protocol[E]):
    """Takes `def` or `async def`: the exception and the request in, a `Response` out."""

    @overload
    def __call__(
        self, fn: Callable[[E, RequestInfo], Awaitable[Response]], /
    ) -> Callable[[E, RequestInfo], Awaitable[Response]]: ...
    @overload
    def __call__(
        self, fn: Callable[[E, RequestInfo], Response], /
    ) -> Callable[[E, RequestInfo], Response]: ...
