"""What a user declares: data only. Nothing here runs."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar, overload

from pipebus.errors import RegistrationError
from pipebus.http.message import Request, RequestInfo, Response, StreamRequest
from pipebus.http.routes import Routes
from pipebus.pipeline.decorators import Decorator, S, TaskDecorator, ThreadDecorator
from pipebus.pipeline.handlers import Handler, Mode, inspect_handler
from pipebus.bus.event import Event

__all__ = [
    "INHERIT",
    "Handler",
    "Inherit",
    "Mode",
    "Overflow",
    "Pipeline",
    "ResponderDecl",
    "RouteDecl",
    "SubscriberDecl",
]

E_ = TypeVar("E_", bound=Exception)

Overflow = Literal["block", "drop_oldest", "drop_newest"]


class Inherit(Enum):
    """The type of `INHERIT`: take the limit of the server, where None means no limit."""

    INHERIT = "inherit"


INHERIT: Final = Inherit.INHERIT


@dataclass(frozen=True, slots=True)
class RouteDecl:
    """A route and its handler."""

    pattern: str
    handler: Handler
    stream: bool = False
    concurrency: int | None = None
    """Calls at once; None: by the handler's mode (task 1,000, thread 40, inline 1)."""
    queue: int | None = None
    """Requests that wait for a free call; None: `Limits.responder_queue`."""
    timeout: float | None = None
    """Seconds to the response head; None: `Limits.request_timeout`."""
    max_body: int | None | Inherit = INHERIT
    """Bytes of a request body; None lifts the bound, `INHERIT` takes `Limits.max_body`."""


@dataclass(frozen=True, slots=True)
class ResponderDecl:
    """A responder of a topic. Several of one topic share the work."""

    topic: str
    handler: Handler
    concurrency: int | None = None
    """Calls at once; None: by the handler's mode (task 1,000, thread 40, inline 1)."""
    queue: int | None = None
    """Requests that wait for a free call; None: `Limits.responder_queue`."""
    timeout: float | None = None
    """Seconds to the reply; None: the caller's deadline alone."""


@dataclass(frozen=True, slots=True)
class SubscriberDecl:
    """A subscriber or a tap."""

    pattern: str
    handler: Handler
    kind: Literal["subscriber", "tap"]
    where: Mapping[str, str] | None = None
    """Further filters: `source`, `subject` or `metadata.<key>` -> the value it must have."""
    queue: int | None = None
    """Events that wait; None: `Limits.subscription_queue`."""
    overflow: Overflow = "block"


class Pipeline(Generic[S]):
    """Handlers and what they answer or listen to; generic in the state that `lifespan` yields.

    `name` is used in reports. `lifespan` is called without arguments and returns an async context
    manager: entered before the first connection is accepted, left after the drain. What it yields
    is `ctx.state`.

    Declaring is done by decorators that return the function unchanged: `route`, `respond`,
    `subscribe`, `tap`, `on_error`; `include` takes over another pipeline. The outcome is data:
    `routes`, `responders`, `subscribers`, `error_handlers`.
    """

    def __init__(
        self,
        name: str = "pipeline",
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[S]] | None = None,
    ) -> None:
        self.name = name
        self.lifespan = lifespan
        self.routes: list[RouteDecl] = []
        self.responders: list[ResponderDecl] = []
        self.subscribers: list[SubscriberDecl] = []
        self.error_handlers: dict[type[Exception], Handler] = {}
        self._table: Routes[RouteDecl] = Routes()

    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[False] = False,
        thread: Literal[False] = False,
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
        max_body: int | None | Inherit = INHERIT,
    ) -> Decorator[S, Request, Response]: ...
    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[True],
        thread: Literal[False] = False,
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
        max_body: int | None | Inherit = INHERIT,
    ) -> TaskDecorator[S, StreamRequest, Response]: ...
    @overload
    def route(
        self,
        pattern: str,
        *,
        stream: Literal[False] = False,
        thread: Literal[True],
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
        max_body: int | None | Inherit = INHERIT,
    ) -> ThreadDecorator[S, Request, Response]: ...
    def route(
        self,
        pattern: str,
        *,
        stream: bool = False,
        thread: bool = False,
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
        max_body: int | None | Inherit = INHERIT,
    ) -> Any:
        """Declare what answers requests that match a pattern (grammar: `pipebus.http.routes`).

        The handler is given a `Request`, with `stream=True` (only `async def`) a `StreamRequest`
        whose body arrives while it runs, and returns a `Response`. `thread=True` runs a `def` in a
        worker thread. `concurrency` calls at once (task 1,000, thread 40, inline 1), `queue` more
        wait (`Limits.responder_queue`, 64), `timeout` seconds to the response head
        (`Limits.request_timeout`, 30), `max_body` bytes (`Limits.max_body`, 16 MiB; None lifts it).
        Raises `RegistrationError` for a bad pattern, a conflict with another route, or a function
        that cannot be such a handler.
        """
        raise NotImplementedError

    @overload
    def respond(
        self,
        topic: str,
        *,
        thread: Literal[False] = False,
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
    ) -> Decorator[S, Event, object]: ...
    @overload
    def respond(
        self,
        topic: str,
        *,
        thread: Literal[True],
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
    ) -> ThreadDecorator[S, Event, object]: ...
    def respond(
        self,
        topic: str,
        *,
        thread: bool = False,
        concurrency: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Declare what answers requests for a topic (a pattern with `*` and `>` will do).

        The handler is given an `Event` and returns the reply's data. Of several responders of one
        topic one is picked for each request. `concurrency` calls at once (task 1,000, thread 40,
        inline 1), `queue` requests more wait (`Limits.responder_queue`, 64), `timeout` seconds cap
        the caller's.
        """
        raise NotImplementedError

    @overload
    def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
        thread: Literal[False] = False,
    ) -> Decorator[S, Event, None]: ...
    @overload
    def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
        thread: Literal[True],
    ) -> ThreadDecorator[S, Event, None]: ...
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
        raise NotImplementedError

    @overload
    def tap(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        thread: Literal[False] = False,
    ) -> Decorator[S, Event, None]: ...
    @overload
    def tap(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        thread: Literal[True],
    ) -> ThreadDecorator[S, Event, None]: ...
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
        raise NotImplementedError

    def on_error(
        self, kind: type[E_]
    ) -> Callable[
        [Callable[[E_, RequestInfo], Response | Awaitable[Response]]],
        Callable[[E_, RequestInfo], Response | Awaitable[Response]],
    ]:
        """Declare how an exception that a route's handler did not catch is answered.

        The handler, `def` or `async def`, is given the exception and the request. The most specific
        class wins; without one the table in `pipebus.http.problem` applies.
        """
        raise NotImplementedError

    def error_handler(self, kind: type[BaseException]) -> Handler | None:
        """Return the error handler for an exception's class, the most specific one, or None."""
        raise NotImplementedError

    def include(
        self,
        other: "Pipeline[S] | Pipeline[object] | Pipeline[None]",
        prefix: str = "",
    ) -> None:
        """Take over what another pipeline has declared so far, its routes under `prefix`."""
        raise NotImplementedError
