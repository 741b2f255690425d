"""What a user declares: data only. Nothing here runs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Generic, Literal, Unpack, overload

from pipebus.bus.event import Event
from pipebus.errors import RegistrationError
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.http.route_pattern import with_prefix
from pipebus.http.routes import Routes
from pipebus.pipeline.declarations import INHERIT as INHERIT
from pipebus.pipeline.declarations import CallOptions as CallOptions
from pipebus.pipeline.declarations import CheckDecl as CheckDecl
from pipebus.pipeline.declarations import Inherit as Inherit
from pipebus.pipeline.declarations import Overflow as Overflow
from pipebus.pipeline.declarations import ResponderDecl as ResponderDecl
from pipebus.pipeline.declarations import RouteDecl as RouteDecl
from pipebus.pipeline.declarations import RouteOptions as RouteOptions
from pipebus.pipeline.declarations import SubscriberDecl as SubscriberDecl
from pipebus.pipeline.decorators import (
    CheckDecorator,
    Decorator,
    E,
    ErrorDecorator,
    S,
    TaskDecorator,
    ThreadCheckDecorator,
    ThreadDecorator,
)
from pipebus.pipeline.handlers import Handler as Handler
from pipebus.pipeline.handlers import Mode as Mode
from pipebus.pipeline.handlers import inspect_check, inspect_handler


class Pipeline(Generic[S]):
    """Handlers and what they answer or listen to; generic in the state that `lifespan` yields.

    `name` is used in reports. `lifespan` is called without arguments and returns an async context
    manager: entered before the first connection is accepted, left after the drain. What it yields
    is `ctx.state`.

    Declaring is done by decorators that return the function unchanged: `route`, `respond`,
    `subscribe`, `tap`, `on_error`, `check`; `include` takes over another pipeline. The outcome is
    data: `routes`, `responders`, `subscribers`, `error_handlers`, `checks`.
    """

    def __init__(
        self,
        name: str = "pipeline",
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[S]] | None = None,
    ) -> None:
        self.name: str = name
        self.lifespan: Callable[[], AbstractAsyncContextManager[S]] | None = lifespan
        self.routes: list[RouteDecl] = []
        self.responders: list[ResponderDecl] = []
        self.subscribers: list[SubscriberDecl] = []
        self.error_handlers: dict[type[Exception], Handler] = {}
        self.checks: dict[str, CheckDecl] = {}
        self._table: Routes[RouteDecl] = Routes()

    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[False] = False,
        thread: Literal[False] = False,
        **options: Unpack[RouteOptions],
    ) -> Decorator[Request, Response, S]: ...
    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[True],
        thread: Literal[False] = False,
        **options: Unpack[RouteOptions],
    ) -> TaskDecorator[StreamRequest, Response, S]: ...
    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[False] = False,
        thread: Literal[True],
        **options: Unpack[RouteOptions],
    ) -> ThreadDecorator[Request, Response, S]: ...
    def route(
        self,
        pattern: str,
        *,
        stream: bool = False,
        thread: bool = False,
        **options: Unpack[RouteOptions],
    ) -> Any:
        """Declare what answers requests that match a pattern (grammar: `pipebus.http.routes`).

        The handler is given a `Request`, with `stream=True` (only `async def`) a `StreamRequest`
        whose body arrives while it runs, and returns a `Response`. `thread=True` runs a `def` in a
        worker thread. The other options are those of `RouteOptions`.
        Raises `RegistrationError` for a bad pattern, a conflict with another route, or a function
        that cannot be such a handler.
        """

        def declare(fn: Callable[..., Any]) -> Callable[..., Any]:
            handler = inspect_handler(fn, f"route {pattern!r}", thread=thread)
            self._add_route(RouteDecl(pattern, handler, stream, **options))
            return fn

        return declare

    @overload
    def respond(
        self,
        topic: str,
        *,
        thread: Literal[False] = False,
        **options: Unpack[CallOptions],
    ) -> Decorator[Event, object, S]: ...
    @overload
    def respond(
        self,
        topic: str,
        *,
        thread: Literal[True],
        **options: Unpack[CallOptions],
    ) -> ThreadDecorator[Event, object, S]: ...
    def respond(
        self,
        topic: str,
        *,
        thread: bool = False,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Declare what answers requests for a topic (a pattern with `*` and `>` will do).

        The handler is given an `Event` and returns the reply's data. Of several responders of one
        topic one is picked for each request. `thread=True` runs a `def` in a worker thread. The
        other options are those of `CallOptions`.
        """

        def declare(fn: Callable[..., Any]) -> Callable[..., Any]:
            handler = inspect_handler(fn, f"responder of {topic!r}", thread=thread)
            self._add_responder(ResponderDecl(topic, handler, **options))
            return fn

        return declare

    @overload
    def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
        thread: Literal[False] = False,
    ) -> Decorator[Event, None, S]: ...
    @overload
    def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
        thread: Literal[True],
    ) -> ThreadDecorator[Event, None, S]: ...
    def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
        thread: bool = False,
    ) -> Any:
        """Declare what is told of every event that matches, in order, one at a time.

        `where` filters further (`source`, `subject`, `metadata.<key>` -> value). `queue` events
        wait (`Limits.subscription_queue`, 64); when it is full, `overflow` says who yields:
        `block` (the publisher waits, nothing is lost), `drop_oldest` or `drop_newest`.
        """
        return self._listen("subscriber", pattern, where, queue, overflow, thread=thread)

    @overload
    def tap(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        thread: Literal[False] = False,
    ) -> Decorator[Event, None, S]: ...
    @overload
    def tap(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        thread: Literal[True],
    ) -> ThreadDecorator[Event, None, S]: ...
    def tap(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        thread: bool = False,
    ) -> Any:
        """Declare who watches, without ever making anyone wait: a full queue drops its oldest.

        `where` and `queue` are as in `subscribe`. It runs after the answers have been written; a
        slow one belongs in a thread.
        """
        return self._listen("tap", pattern, where, queue, "drop_oldest", thread=thread)

    def on_error(self, kind: type[E]) -> ErrorDecorator[E]:
        """Declare how an exception that a route's handler did not catch is answered.

        The handler, `def` or `async def`, is given the exception and the request. The most specific
        class wins; without one the table in `pipebus.http.problem` applies.
        """
        if not _is_exception_class(kind):
            msg = f"on_error takes a class of exceptions, not {kind!r}"
            raise RegistrationError(msg)

        def declare(fn: Callable[..., Any]) -> Callable[..., Any]:
            role = f"on_error({kind.__qualname__})"
            self._add_error_handler(kind, inspect_handler(fn, role, context=False))
            return fn

        return declare

    @overload
    def check(
        self,
        name: str,
        *,
        interval: float = 10.0,
        timeout: float = 5.0,
        thread: Literal[False] = False,
    ) -> CheckDecorator[S]: ...
    @overload
    def check(
        self, name: str, *, interval: float = 10.0, timeout: float = 5.0, thread: Literal[True]
    ) -> ThreadCheckDecorator[S]: ...
    def check(
        self, name: str, *, interval: float = 10.0, timeout: float = 5.0, thread: bool = False
    ) -> Any:
        """Declare a health check: `/readyz` is 200 while all of them pass.

        It runs in the background, first at the start and then `interval` seconds after its last
        end; who asks is answered by what it found last. It fails by an exception, by returning
        False, or by taking more than `timeout` seconds. It is given the context of its kind
        (`Context`, `InlineContext`; `thread=True`: `ThreadContext`), or nothing.
        """

        def declare(fn: Callable[..., Any]) -> Callable[..., Any]:
            handler = inspect_check(fn, f"check {name!r}", thread=thread)
            self._add_check(CheckDecl(name, handler, interval, timeout))
            return fn

        return declare

    def error_handler(self, kind: type[BaseException]) -> Handler | None:
        """Return the error handler for an exception's class, the most specific one, or None."""
        for base in kind.__mro__:
            handler = self.error_handlers.get(base)
            if handler is not None:
                return handler
        return None

    def include(
        self,
        other: "Pipeline[S] | Pipeline[object] | Pipeline[None]",
        prefix: str = "",
    ) -> None:
        """Take over what another pipeline has declared so far, its routes under `prefix`."""
        if other is self:
            msg = f"pipeline {self.name!r} cannot include itself"
            raise RegistrationError(msg)
        if other.lifespan is not None:
            msg = (
                f"pipeline {other.name!r} has a lifespan, so it cannot be included: "
                "the state is the outermost pipeline's"
            )
            raise RegistrationError(msg)
        for route in other.routes:
            self._add_route(replace(route, pattern=with_prefix(prefix, route.pattern)))
        for responder in other.responders:
            self._add_responder(responder)
        self.subscribers += other.subscribers
        for kind, handler in other.error_handlers.items():
            self._add_error_handler(kind, handler)
        for check in other.checks.values():
            self._add_check(check)

    def _add_route(self, route: RouteDecl) -> None:
        self._table.add(route.pattern, route)
        self.routes.append(route)

    def _add_responder(self, responder: ResponderDecl) -> None:
        for other in self.responders:
            if other.topic != responder.topic:
                continue
            what = "queue, and do not agree on its size" if other.queue != responder.queue else ""
            if other.breaker != responder.breaker:
                what = "breaker, and do not agree on its policy"
            if what:
                msg = (
                    f"{other.handler.name} and {responder.handler.name} share {responder.topic!r} "
                    f"and its {what}"
                )
                raise RegistrationError(msg)
        self.responders.append(responder)

    def _add_error_handler(self, kind: type[Exception], handler: Handler) -> None:
        known = self.error_handlers.setdefault(kind, handler)
        if known is not handler:
            msg = f"{known.name} and {handler.name} both handle {kind.__qualname__}"
            raise RegistrationError(msg)

    def _add_check(self, check: CheckDecl) -> None:
        known = self.checks.setdefault(check.name, check)
        if known is not check:
            msg = f"{known.handler.name} and {check.handler.name} are both check {check.name!r}"
            raise RegistrationError(msg)

    def _listen(
        self,
        kind: Literal["subscriber", "tap"],
        pattern: str,
        where: Mapping[str, str] | None,
        queue: int | None,
        overflow: Overflow,
        *,
        thread: bool,
    ) -> Any:
        def declare(fn: Callable[..., Any]) -> Callable[..., Any]:
            handler = inspect_handler(fn, f"{kind} of {pattern!r}", thread=thread)
            self.subscribers.append(SubscriberDecl(pattern, handler, kind, where, queue, overflow))
            return fn

        return declare


def _is_exception_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
