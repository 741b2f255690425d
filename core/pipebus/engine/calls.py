"""Calls: what somebody outside the core waits for.

The engine makes one, the binding waits until it is `done` (a `Wake` says when) and takes its
`result()`. A waiter that gives up says `Engine.abandon(call, now)`; then the call is over for good.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.subscription import Subscription
from pipebus.http.client import ClientCall
from pipebus.http.session import BodyStream
from pipebus.limits import INFINITY, Timeouts
from pipebus.telemetry.trace import Span
from pipebus.timers import Timed, TimerQueue

if TYPE_CHECKING:  # actions carry calls, and the outbox makes actions of calls
    from pipebus.engine.actions import Action


class Call(Timed):
    """One wait. Outputs: `done`, then `result()`. `waiter` belongs to the binding."""

    __slots__ = ("done", "error", "expire", "value", "waiter")

    def __init__(self) -> None:
        super().__init__()
        self.done: bool = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiter: object = None
        self.expire: Callable[[Call, float], None] = _ignore
        """What happens at `deadline`; the engine's."""

    def result(self) -> Any:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value

    def handle_timeout(self, now: float) -> None:
        """Let the engine end the call if its time has come."""
        if now >= self.deadline:
            self.deadline = INFINITY
            self.expire(self, now)


def _ignore(call: Call, now: float) -> None:
    """Do nothing: a call that has no deadline never gets here."""


class PublisherCall(Call):
    """A publish, or the wait of a request's sender for room; the value is the event or reply.

    It ends no sooner than its publisher has nothing parked: that is what "lossless" costs.
    """

    __slots__ = ("publisher",)

    def __init__(self, publisher: Publisher) -> None:
        super().__init__()
        self.publisher: Publisher = publisher


class RequestCall(PublisherCall):
    """A bus request; its value is the reply's data."""

    __slots__ = ("exchange",)

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(publisher)
        self.exchange: Exchange | None = None
        """While it has not ended."""


class HttpCall(RequestCall):
    """An outgoing HTTP call. Its result is the response, or what `wrap` makes of a streamed one."""

    __slots__ = (
        "ahead",
        "client_call",
        "on_bus",
        "reader",
        "room",
        "span",
        "stream",
        "timeouts",
        "wrap",
    )

    def __init__(
        self, publisher: Publisher, timeouts: Timeouts, stream: bool, on_bus: bool
    ) -> None:
        # Those of the four classes above, set here: to call each costs as much as all the rest.
        # `queued_as` comes with the first entry in the queue: nobody asks for it before.
        self.deadline: float = INFINITY
        self.deadline_reason: str = ""
        self.queued_at: float = INFINITY
        self.done: bool = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiter: object = None
        self.expire: Callable[[Call, float], None] = _ignore
        self.publisher: Publisher = publisher
        self.exchange: Exchange | None = None
        self.on_bus: bool = on_bus
        """Whether an exchange stands, or stood, for it."""
        self.timeouts: Timeouts = timeouts
        self.stream: bool = stream
        self.client_call: ClientCall | None = None
        """The traffic; None if a responder of the program answers in its place."""
        self.ahead: bytes | None = None
        """What is next of the body, ahead of the traffic: a stand-in's, or given back."""
        self.reader: ReadCall | None = None
        self.room: RoomCall | None = None
        self.wrap: Callable[[HttpCall], Any] | None = None
        self.span: Span | None = None
        """What its time is recorded as, if it is."""

    def result(self) -> Any:
        """Return the response (streamed: what `wrap` makes of this call) or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value if self.wrap is None else self.wrap(self)


class ReadCall(Call):
    """The next piece of a body; raises `StopAsyncIteration` at its end."""

    __slots__ = ("source",)

    def __init__(self, source: BodyStream | HttpCall) -> None:
        super().__init__()
        self.source: BodyStream | HttpCall = source

    def result(self) -> bytes:
        """Return the piece, raise the error, or raise `StopAsyncIteration`."""
        value: bytes | None = super().result()
        if value is None:
            raise StopAsyncIteration
        return value


class RoomCall(Call):
    """Room for another piece of a body that is being sent; False: no more is wanted."""

    __slots__ = ("target",)

    def __init__(self, target: Exchange | HttpCall) -> None:
        super().__init__()
        self.target: Exchange | HttpCall = target


class EventCall(Call):
    """The next event of a program's own subscription; `StopAsyncIteration` once it is closed."""

    __slots__ = ("subscription",)

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self.subscription: Subscription = subscription

    def result(self) -> Any:
        """Return the event, or raise `StopAsyncIteration`."""
        value = super().result()
        if value is None:
            raise StopAsyncIteration
        return value


class Outbox:
    """Where the parts of the engine leave their actions; ends calls."""

    __slots__ = ("_wake", "actions", "timers")

    def __init__(self, timers: TimerQueue, wake: "Callable[[Call], Action]") -> None:
        self.timers: TimerQueue = timers
        self._wake = wake
        self.actions: deque[Action] = deque()

    def finish(self, call: Call, value: object = None, error: BaseException | None = None) -> None:
        """End a call, once; who waits for it is woken."""
        if call.done:
            return
        call.done = True
        call.value = value
        call.error = error
        if call.deadline < INFINITY:
            self.timers.forget(call)
        if call.waiter is not None:
            self.actions.append(self._wake(call))

    def expire_at(
        self, call: Call, deadline: float, reason: str, expire: Callable[[Call, float], None]
    ) -> None:
        """Have `expire(call, now)` called at `deadline` unless the call is done before."""
        call.expire = expire
        call.deadline = deadline
        call.deadline_reason = reason
        self.timers.watch(call)
