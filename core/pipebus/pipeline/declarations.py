"""Declarations: a route, a responder, a subscriber or a tap, each with its handler."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypedDict, get_args

from pipebus.bus.subscription import Filter
from pipebus.bus.topic import check_pattern
from pipebus.errors import RegistrationError
from pipebus.pipeline.handlers import Handler
from pipebus.resilience.policies import BreakerPolicy, RateLimit

Overflow = Literal["block", "drop_oldest", "drop_newest"]


class Inherit(Enum):
    """The type of `INHERIT`: take the server's limit, as None means no limit."""

    INHERIT = "inherit"


INHERIT: Final = Inherit.INHERIT
_CHECK_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,100}")


class CallOptions(TypedDict, total=False):
    """What `respond` and `route` take beside the handler; each has a default."""

    concurrency: int | None
    """Calls at once; None (default): task 1,000, thread 40, inline 1."""
    queue: int | None
    """Requests that wait for a free call; None (default): `Limits.responder_queue`."""
    timeout: float | None
    """Seconds to the reply; None (default): the caller's deadline, `Limits.request_timeout`."""
    breaker: BreakerPolicy | None
    """When it is not asked for a while, because it fails; None (default): never."""


class RouteOptions(CallOptions, total=False):
    """What `route` takes beside that."""

    max_body: int | Inherit | None
    """Bytes of a request body; None lifts the bound, `INHERIT` (default): `Limits.max_body`."""
    rate_limit: RateLimit | None
    """Of this route's requests, beside the server's; None (default): no other."""


@dataclass(frozen=True, slots=True)
class RouteDecl:
    """A route and its handler. Raises `RegistrationError` for a bound that no call could keep."""

    pattern: str
    handler: Handler
    stream: bool = False
    concurrency: int | None = None
    """Calls at once; None: by the handler's mode (task 1,000, thread 40, inline 1)."""
    queue: int | None = None
    """Requests that wait for a free call; None: `Limits.responder_queue`."""
    timeout: float | None = None
    """Seconds to the response head; None: `Limits.request_timeout`."""
    max_body: int | Inherit | None = INHERIT
    """Bytes of a request body; None lifts the bound, `INHERIT` takes `Limits.max_body`."""
    rate_limit: RateLimit | None = None
    """Of this route's requests, beside the server's."""
    breaker: BreakerPolicy | None = None
    """When it is not asked for a while, because it fails; None: never."""

    def __post_init__(self) -> None:
        role = f"route {self.pattern!r}"
        if self.stream and self.handler.mode != "task":
            msg = f"{role}: stream=True needs an async def, and {self.handler.name} is a plain one"
            raise RegistrationError(msg)
        _check_calls(role, self.concurrency, self.queue, self.timeout)
        _check_kind(role, "rate_limit", self.rate_limit, RateLimit)
        _check_kind(role, "breaker", self.breaker, BreakerPolicy)
        if not isinstance(self.max_body, Inherit):
            _check_whole(role, "max_body", self.max_body, 0)


@dataclass(frozen=True, slots=True)
class ResponderDecl:
    """A responder of a topic. Several of one topic share the work, and the queue."""

    topic: str
    handler: Handler
    concurrency: int | None = None
    """Calls at once; None: by the handler's mode (task 1,000, thread 40, inline 1)."""
    queue: int | None = None
    """Requests that wait for a free call; None: `Limits.responder_queue`."""
    timeout: float | None = None
    """Seconds to the reply; None: the caller's deadline alone."""
    breaker: BreakerPolicy | None = None
    """When it is not asked for a while, because it fails; None: never."""

    def __post_init__(self) -> None:
        check_pattern(self.topic)
        role = f"responder of {self.topic!r}"
        _check_calls(role, self.concurrency, self.queue, self.timeout)
        _check_kind(role, "breaker", self.breaker, BreakerPolicy)


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

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if self.where is not None:
            Filter(self.where)
        role = f"{self.kind} of {self.pattern!r}"
        _check_whole(role, "queue", self.queue, 1)
        if self.overflow not in get_args(Overflow):
            msg = f"{role}: overflow must be one of {get_args(Overflow)}, not {self.overflow!r}"
            raise RegistrationError(msg)


@dataclass(frozen=True, slots=True)
class CheckDecl:
    """A health check: it runs in the background, and readiness waits for it."""

    name: str
    handler: Handler
    interval: float = 10.0
    """Seconds from the end of one run to the next."""
    timeout: float = 5.0
    """Seconds until a run is given up, and has failed."""

    def __post_init__(self) -> None:
        if not _CHECK_NAME.fullmatch(self.name):
            msg = f"a health check's name is made of a-z, A-Z, 0-9, _ . and -, not {self.name!r}"
            raise RegistrationError(msg)
        for field, value in (("interval", self.interval), ("timeout", self.timeout)):
            if not value > 0:
                msg = f"check {self.name!r}: {field} must be more than 0 seconds, not {value!r}"
                raise RegistrationError(msg)


def _check_calls(
    role: str, concurrency: int | None, queue: int | None, timeout: float | None
) -> None:
    _check_whole(role, "concurrency", concurrency, 1)
    _check_whole(role, "queue", queue, 0)
    if timeout is not None and not timeout > 0:
        msg = f"{role}: timeout must be more than 0 seconds, not {timeout!r}"
        raise RegistrationError(msg)


def _check_kind(role: str, name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        msg = f"{role}: {name} must be a {kind.__name__}, not {value!r}"
        raise RegistrationError(msg)


def _check_whole(role: str, name: str, value: int | None, least: int) -> None:
    if value is not None and (type(value) is not int or value < least):
        msg = f"{role}: {name} must be an int of {least} or more, not {value!r}"
        raise RegistrationError(msg)
