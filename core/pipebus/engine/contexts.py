"""The contexts that handlers are given, over any host.

Nothing here waits: what a handler awaits is the coroutine that its host makes of a call, so the
same contexts serve asyncio, trio and the stepper of `pipebus.testing`.
"""

from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Literal

from pipebus.bus.event import Event
from pipebus.engine.engine import Engine
from pipebus.engine.host import Host
from pipebus.engine.http_calls import TaskClient, ThreadClient
from pipebus.engine.invocation import Invocation
from pipebus.http.message import StreamRequest
from pipebus.http.session import BodyStream


class _Base:
    """What every context has."""

    __slots__ = ("_engine", "_host", "_invocation")

    def __init__(self, engine: Engine, host: Host, invocation: Invocation) -> None:
        self._engine = engine
        self._host = host
        self._invocation = invocation

    @property
    def id(self) -> str:
        """The id of the request that this work belongs to; the event's where there is none."""
        cause = self._invocation.cause
        return cause.correlation_id or cause.id

    @property
    def state(self) -> Any:
        """What the pipeline's lifespan yielded."""
        return self._engine.state

    @property
    def deadline(self) -> float | None:
        """When the answer must be there, on the runtime's clock in seconds; or None."""
        return self._invocation.deadline

    @property
    def draining(self) -> bool:
        """Whether the program is shutting down."""
        return self._engine.draining

    def publish_nowait(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish to all, or raise `WouldBlock` and deliver to none."""
        event = self._engine.publish_nowait(
            topic,
            data,
            self._host.now(),
            origin=self._invocation,
            subject=subject,
            metadata=metadata,
        )
        self._host.pump()
        return event


class InlineHandlerContext(_Base):
    """What a plain `def` handler is given."""

    __slots__ = ()

    @property
    def mode(self) -> Literal["inline"]:
        """How the handler runs."""
        return "inline"


class TaskHandlerContext(_Base):
    """What an `async def` handler is given."""

    __slots__ = ("_client",)

    def __init__(self, engine: Engine, host: Host, invocation: Invocation) -> None:
        super().__init__(engine, host, invocation)
        self._client: TaskClient | None = None

    @property
    def mode(self) -> Literal["task"]:
        """How the handler runs."""
        return "task"

    @property
    def client(self) -> TaskClient:
        """Outgoing HTTP calls, over the shared pool."""
        if self._client is None:
            self._client = TaskClient(self._engine, self._host, self._invocation)
        return self._client

    def publish(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Coroutine[Any, Any, Event]:
        """Publish, and wait while a lossless subscription is full."""
        return self._host.call(
            lambda now: self._engine.publish(
                topic, data, now, origin=self._invocation, subject=subject, metadata=metadata
            )
        )

    def request(
        self, topic: str, data: object = None, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Ask the responder of a topic and return its reply's data."""
        return self._host.call(
            lambda now: self._engine.request(
                topic, data, now, timeout=timeout, origin=self._invocation
            )
        )

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait `seconds`."""
        return self._host.call(lambda now: self._engine.sleep(seconds, now))


class ThreadHandlerContext(_Base):
    """What a `thread=True` handler is given; its methods block."""

    __slots__ = ("_client",)

    def __init__(self, engine: Engine, host: Host, invocation: Invocation) -> None:
        super().__init__(engine, host, invocation)
        self._client: ThreadClient | None = None

    @property
    def mode(self) -> Literal["thread"]:
        """How the handler runs."""
        return "thread"

    @property
    def client(self) -> ThreadClient:
        """Outgoing HTTP calls, over the shared pool."""
        if self._client is None:
            self._client = ThreadClient(self._engine, self._host, self._invocation)
        return self._client

    def publish_nowait(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish to all, or raise `WouldBlock` and deliver to none."""
        event: Event = self._host.run_in_loop(
            lambda now: self._engine.publish_nowait(
                topic, data, now, origin=self._invocation, subject=subject, metadata=metadata
            )
        )
        return event

    def publish(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish, and block while a lossless subscription is full."""
        event: Event = self._host.call_from_thread(
            lambda now: self._engine.publish(
                topic, data, now, origin=self._invocation, subject=subject, metadata=metadata
            )
        )
        return event

    def request(self, topic: str, data: object = None, *, timeout: float | None = None) -> Any:
        """Ask the responder of a topic and return its reply's data."""
        return self._host.call_from_thread(
            lambda now: self._engine.request(
                topic, data, now, timeout=timeout, origin=self._invocation
            )
        )

    def sleep(self, seconds: float) -> None:
        """Block `seconds`."""
        self._host.call_from_thread(lambda now: self._engine.sleep(seconds, now))


class BodyReader:
    """The pieces of a request's body, for its one reader."""

    __slots__ = ("_engine", "_host", "_source")

    def __init__(self, engine: Engine, host: Host, source: BodyStream) -> None:
        self._engine = engine
        self._host = host
        self._source = source

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._host.call(lambda now: self._engine.read(self._source, now))


_CONTEXTS: dict[str, type[InlineHandlerContext | TaskHandlerContext | ThreadHandlerContext]] = {
    "inline": InlineHandlerContext,
    "task": TaskHandlerContext,
    "thread": ThreadHandlerContext,
}


def invoke(engine: Engine, host: Host, invocation: Invocation) -> Any:
    """Call an invocation's handler: the result, or for an `async def` its coroutine."""
    handler = invocation.handler
    first = invocation.arguments[0]
    if isinstance(first, StreamRequest) and invocation.kind == "route":
        body = first.body_state
        assert isinstance(body, BodyStream)
        first.read_with(lambda: BodyReader(engine, host, body))
    if handler.takes_context:
        return handler.fn(first, _CONTEXTS[invocation.mode](engine, host, invocation))
    return handler.fn(*invocation.arguments)
