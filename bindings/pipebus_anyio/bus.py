"""The bus for code outside handlers: tasks around a server, and other threads."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pipebus.bus.event import Event
from pipebus.bus.subscription import Overflow, Subscription
from pipebus.engine.calls import Call
from pipebus.engine.engine import Engine
from pipebus_anyio.host import Host


class Events:
    """The events of one subscription, oldest first: iterate it, in one task at a time.

    A cancelled wait loses no event. The iteration ends when the bus closes.
    """

    __slots__ = ("_engine", "_host", "_next", "_waiting", "subscription")

    def __init__(self, host: Host, engine: Engine, subscription: Subscription) -> None:
        self._host = host
        self._engine = engine
        self._next: Call | None = None
        self._waiting = False
        self.subscription: Subscription = subscription
        """Its counts: `matched`, `delivered`, `dropped`, `queued`, `parked`."""

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        if self._waiting:
            msg = "another task waits for the next of these events"
            raise RuntimeError(msg)
        host = self._host
        if self._next is None:
            self._next = self._engine.next_event(self.subscription, host.now())
            host.pump()
        call = self._next
        self._waiting = True
        try:
            if call.done:
                await host.be_fair()
            else:
                await host.wait_done(call)
        finally:
            self._waiting = False
        self._next = None
        event: Event | None = call.result()
        if event is None:
            raise StopAsyncIteration
        return event


class ThreadBus:
    """The bus for threads that the loop does not know; every call blocks until it is done.

    Raises `RuntimeError` in the loop's own thread, and once the server has ended.
    """

    __slots__ = ("_engine", "_host")

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._engine = engine

    def publish(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish, and wait while a lossless subscription is full (`PublishTimeout` after 30 s)."""
        start = partial(self._engine.publish, topic, data, subject=subject, metadata=metadata)
        event: Event = self._host.call_from_thread(start)
        return event

    def request(self, topic: str, data: object = None, *, timeout: float | None = None) -> Any:
        """Ask the responder of a topic; other outcomes than a reply raise a `RequestError`."""
        return self._host.call_from_thread(
            partial(self._engine.request, topic, data, timeout=timeout)
        )


class ServerBus:
    """The bus of a server, for the program around it."""

    __slots__ = ("_engine", "_host", "from_thread")

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._engine = engine
        self.from_thread: ThreadBus = ThreadBus(host, engine)
        """The same for other threads, blocking."""

    async def publish(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish, and wait while a lossless subscription is full.

        Raises `PublishTimeout` after `Limits.publish_timeout`, `WouldDeadlock` where the wait would
        be for itself, `ValueError` for a bad topic.
        """
        event: Event = await self._host.call(
            partial(self._engine.publish, topic, data, subject=subject, metadata=metadata)
        )
        return event

    def publish_nowait(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish to all who listen, or raise `WouldBlock` and deliver to none."""
        try:
            return self._engine.publish_nowait(
                topic, data, self._host.now(), subject=subject, metadata=metadata
            )
        finally:
            self._host.pump()

    async def request(
        self, topic: str, data: object = None, *, timeout: float | None = None
    ) -> Any:
        """Ask the responder of a topic and return its reply's data.

        `timeout` in seconds (`Limits.request_timeout` by default). Every other outcome raises a
        `RequestError`.
        """
        return await self._host.call(partial(self._engine.request, topic, data, timeout=timeout))

    @asynccontextmanager
    async def subscribe(
        self,
        pattern: str,
        *,
        where: Mapping[str, str] | None = None,
        queue: int | None = None,
        overflow: Overflow = "block",
    ) -> AsyncIterator[Events]:
        """Listen within a block: `async with bus.subscribe("orders.>") as events`, then iterate.

        Arguments are as in `Pipeline.subscribe`. With `block` (the default), whoever publishes
        waits while `queue` events are not yet read. Leaving drops what is queued.
        """
        host, engine = self._host, self._engine
        subscription = engine.subscribe(
            pattern, host.now(), where=where, maxsize=queue, overflow=overflow
        )
        try:
            yield Events(host, engine, subscription)
        finally:
            engine.unsubscribe(subscription, host.now())
            host.pump()
