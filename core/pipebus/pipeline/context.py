"""What handlers are given as their second argument: Protocols, generic in the pipeline's state.

`async def` handlers get a `Context`, plain `def` an `InlineContext`, `thread=True` a
`ThreadContext`. Their `mode` differs, so a wrong pairing is a type error.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipebus.bus.event import Event
from pipebus.pipeline.client_protocol import BlockingHttpClientProtocol, HttpClientProtocol

if TYPE_CHECKING:
    # Only a type checker needs the default (PEP 696); at run time that needs Python 3.13.
    from typing_extensions import TypeVar

    S_co = TypeVar("S_co", covariant=True, default=None)
else:
    from typing import TypeVar

    S_co = TypeVar("S_co", covariant=True)


class BaseContext(Protocol[S_co]):
    """What every handler may use, however it runs."""

    @property
    def id(self) -> str:
        """The id of the request that this work belongs to; the event's where there is none."""
        ...

    @property
    def state(self) -> S_co:
        """What the pipeline's lifespan yielded; None without one."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the answer must be there, on the runtime's monotonic clock in seconds; or None."""
        ...

    @property
    def draining(self) -> bool:
        """Whether the program is shutting down: a long stream should end now."""
        ...

    def publish_nowait(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish to all who listen, or raise `WouldBlock` and deliver to none."""
        ...


class Context(BaseContext[S_co], Protocol[S_co]):
    """What an `async def` handler is given."""

    @property
    def mode(self) -> Literal["task"]:
        """How the handler runs."""
        ...

    @property
    def client(self) -> HttpClientProtocol:
        """Outgoing HTTP calls, over the shared pool."""
        ...

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
        be for this handler itself.
        """
        ...

    async def request(
        self, topic: str, data: object = None, *, timeout: float | None = None
    ) -> Any:
        """Ask the responder of a topic and return its reply's data.

        `timeout` in seconds (`Limits.request_timeout` by default); this handler's own deadline caps
        it. Every other outcome raises a `RequestError`.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, in virtual time under test."""
        ...


class InlineContext(BaseContext[S_co], Protocol[S_co]):
    """What a plain `def` handler is given: it runs in the loop, so nothing here waits."""

    @property
    def mode(self) -> Literal["inline"]:
        """How the handler runs."""
        ...


class ThreadContext(BaseContext[S_co], Protocol[S_co]):
    """What a `thread=True` handler is given; its methods block the thread, never the loop."""

    @property
    def mode(self) -> Literal["thread"]:
        """How the handler runs."""
        ...

    @property
    def client(self) -> BlockingHttpClientProtocol:
        """Outgoing HTTP calls, over the shared pool."""
        ...

    def publish(
        self,
        topic: str,
        data: object = None,
        *,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Event:
        """Publish, and block while a lossless subscription is full; raises as `Context.publish`."""
        ...

    def request(self, topic: str, data: object = None, *, timeout: float | None = None) -> Any:
        """Ask the responder of a topic and return its reply's data; raises as `Context.request`."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread, in virtual time under test."""
        ...
