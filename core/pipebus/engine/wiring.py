"""From what a pipeline declares to groups, routes and subscriptions of a bus."""

from typing import Any

from pipebus.bus.bus import Bus
from pipebus.bus.responders import Group
from pipebus.bus.subscription import Subscription
from pipebus.engine.responder_breakers import ResponderBreakers
from pipebus.http.routes import Routes
from pipebus.http.session import RouteTarget
from pipebus.limits import Limits
from pipebus.pipeline.declare import Inherit, Pipeline
from pipebus.pipeline.handlers import Mode
from pipebus.resilience.rate_limit import RateLimiter


def concurrency(declared: int | None, mode: Mode, limits: Limits) -> int:
    """Return how many calls of a handler may run at once."""
    if declared is not None:
        return declared
    if mode == "task":
        return limits.task_concurrency
    return limits.thread_concurrency if mode == "thread" else 1


def wire_routes(
    routes: Routes[RouteTarget],
    pipeline: Pipeline[Any],
    bus: Bus,
    limits: Limits,
    breakers: ResponderBreakers,
    *,
    exempt: bool = False,
) -> None:
    """Give each route a group of its own; raises `RegistrationError` for routes in conflict.

    `exempt` ones are not bound by what the server is limited to.
    """
    for declared in pipeline.routes:
        group = bus.group(
            declared.pattern, name=declared.handler.name, queue_size=declared.queue, routed=False
        )
        group.breaker = breakers.new(declared.breaker, declared.pattern)
        slots = concurrency(declared.concurrency, declared.handler.mode, limits)
        bus.add_responder(group, concurrency=slots, handler=declared)
        body = declared.max_body
        routes.add(
            declared.pattern,
            RouteTarget(
                group,
                declared.pattern.partition(" ")[2] or declared.pattern,
                stream=declared.stream,
                timeout=limits.request_timeout if declared.timeout is None else declared.timeout,
                max_body=limits.max_body if isinstance(body, Inherit) else body,
                handler=declared,
                exempt=exempt,
                limiter=(
                    None
                    if declared.rate_limit is None
                    else RateLimiter(declared.rate_limit, limits.rate_limit_keys)
                ),
            ),
        )


def wire_responders(
    pipeline: Pipeline[Any], bus: Bus, limits: Limits, breakers: ResponderBreakers
) -> dict[str, Group]:
    """Give each topic a group, and each of its responders a place in it."""
    groups: dict[str, Group] = {}
    for declared in pipeline.responders:
        group = groups.get(declared.topic)
        if group is None:
            group = bus.group(declared.topic, name=declared.topic, queue_size=declared.queue)
            group.breaker = breakers.new(declared.breaker, declared.topic)
            groups[declared.topic] = group
        slots = concurrency(declared.concurrency, declared.handler.mode, limits)
        bus.add_responder(group, concurrency=slots, handler=declared)
    return groups


def wire_subscribers(pipeline: Pipeline[Any], bus: Bus, now: float) -> list[Subscription]:
    """Open the queue of each subscriber and tap."""
    return [
        bus.subscribe(
            declared.pattern,
            now,
            kind=declared.kind,
            maxsize=declared.queue,
            overflow=None if declared.kind == "tap" else declared.overflow,
            where=declared.where,
            owner=declared,
        )
        for declared in pipeline.subscribers
    ]
