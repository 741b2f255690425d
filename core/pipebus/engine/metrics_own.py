"""The metrics that are pipebus' own: the bus, its handlers, who is let in, the client's pool."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipebus.bus.responders import Group
from pipebus.bus.subscription import Subscription
from pipebus.engine.assembly import Assembly
from pipebus.engine.metric import Metric, Reading, alone
from pipebus.pipeline.declare import SubscriberDecl
from pipebus.resilience.circuit_breaker import BreakerState, CircuitBreaker
from pipebus.telemetry.http_metrics import OTHER, STAGES

_DROPS: Final = ("overflow", "diagnostic", "closed", "publish_timeout", "cancelled", "shutdown")
"""Shown from the start: a rate needs a first value."""
_REFUSALS: Final = (
    "max_connections", "max_connections_per_client", "max_in_flight", "max_in_flight_per_client",
    "max_buffered", "loop_lag", "rate_limited", "drained",
)  # fmt: skip
_STATES: Final[dict[BreakerState, int]] = {"closed": 0, "half_open": 1, "open": 2}

_SUBSCRIPTION: Final = ("kind", "pattern", "handler")


def _known(names: tuple[str, ...], counts: dict[str, int]) -> list[Reading]:
    return [((name,), count) for name, count in (dict.fromkeys(names, 0) | counts).items()]


# --- the bus ---------------------------------------------------------------------------------


def _labels(sub: Subscription) -> tuple[str, str, str]:
    """Name a subscription by what was declared; the program may make any number of its own."""
    if isinstance(sub.owner, SubscriberDecl):
        return sub.kind, sub.pattern, sub.owner.handler.name
    return sub.kind, OTHER, OTHER


def _subscriptions(
    number: Callable[[Subscription], int],
) -> Callable[[Assembly], Iterable[Reading]]:
    def read(engine: Assembly) -> Iterable[Reading]:
        sums: Counter[tuple[str, ...]] = Counter()
        for sub in engine.bus.subscriptions:
            sums[_labels(sub)] += number(sub)
        return sums.items()

    return read


def _lost(engine: Assembly) -> Iterable[Reading]:
    sums: Counter[tuple[str, ...]] = Counter()
    for sub in engine.bus.subscriptions:
        if isinstance(sub.owner, SubscriberDecl):
            for reason, count in sub.dropped.items():
                sums[*_labels(sub), reason] += count
    return sums.items()


def _groups(number: Callable[[Group], int]) -> Callable[[Assembly], Iterable[Reading]]:
    return lambda engine: [((group.pattern,), number(group)) for group in engine.bus.groups]


def _slots(engine: Assembly) -> Iterator[Reading]:
    for group in engine.bus.groups:
        bounds = [one.concurrency for one in group.responders if one.concurrency is not None]
        if len(bounds) == len(group.responders):
            yield (group.pattern,), sum(bounds)


def _guarded(number: Callable[[CircuitBreaker], int]) -> Callable[[Assembly], Iterable[Reading]]:
    return lambda engine: [
        ((group.pattern,), number(group.breaker))
        for group in engine.bus.groups
        if group.breaker is not None
    ]


_BUS: Final = (
    Metric(
        "pipebus_events_published", "counter", "", "Events published, requests included.",
        (), alone(lambda engine: engine.bus.counts.published),
    ),
    Metric(
        "pipebus_events_delivered", "counter", "",
        "Events taken from queues, once for each subscription.",
        (), alone(lambda engine: engine.bus.counts.delivered),
    ),
    Metric(
        "pipebus_events_dropped", "counter", "",
        "Deliveries that were lost, over all subscriptions.",
        ("reason",), lambda engine: _known(_DROPS, engine.bus.counts.dropped),
    ),
    Metric(
        "pipebus_subscription_dropped", "counter", "",
        "Deliveries that were lost by a declared subscriber or tap.",
        (*_SUBSCRIPTION, "reason"), _lost,
    ),
    Metric(
        "pipebus_subscription_queued", "gauge", "", "Events that wait to be handled.",
        _SUBSCRIPTION, _subscriptions(lambda sub: sub.queued),
    ),
    Metric(
        "pipebus_subscription_queue_limit", "gauge", "", "Events that may wait to be handled.",
        _SUBSCRIPTION, _subscriptions(lambda sub: sub.maxsize),
    ),
    Metric(
        "pipebus_subscription_parked", "gauge", "",
        "Events that wait for room in a full queue, and whose publishers stand still.",
        _SUBSCRIPTION, _subscriptions(lambda sub: sub.parked),
    ),
    Metric(
        "pipebus_responder_queued", "gauge", "", "Requests that wait for a free slot.",
        ("responder",), _groups(lambda group: len(group.queue)),
    ),
    Metric(
        "pipebus_responder_queue_limit", "gauge", "", "Requests that may wait for a free slot.",
        ("responder",), _groups(lambda group: group.queue_size),
    ),
    Metric(
        "pipebus_responder_running", "gauge", "",
        "Slots that are taken, also by handlers whose request is over.",
        ("responder",), _groups(lambda group: sum(one.running for one in group.responders)),
    ),
    Metric(
        "pipebus_responder_slots", "gauge", "", "Requests that may be answered at once.",
        ("responder",), _slots,
    ),
    Metric(
        "pipebus_responder_breaker_state", "gauge", "",
        "Circuit breakers of routes and responders: 0 closed, 1 half-open, 2 open.",
        ("responder",), _guarded(lambda breaker: _STATES[breaker.state]),
    ),
    Metric(
        "pipebus_responder_breaker_rejected", "counter", "",
        "Requests that were rejected because a breaker was open.",
        ("responder",), _guarded(lambda breaker: breaker.rejected),
    ),
    Metric(
        "pipebus_exchanges_opened", "counter", "",
        "Requests on the bus, HTTP ones included: those that ended and those that are open.",
        (), alone(lambda engine: engine.bus.counts.opened),
    ),
    Metric(
        "pipebus_exchanges_open", "gauge", "", "Requests on the bus that have not ended.",
        (), alone(lambda engine: engine.bus.open_exchanges),
    ),
    Metric(
        "pipebus_exchanges_ended", "counter", "", "Requests on the bus by how they ended.",
        ("outcome",),
        lambda engine: [((name,), count) for name, count in engine.bus.counts.outcomes.items()],
    ),
    Metric(
        "pipebus_replies_discarded", "counter", "",
        "Replies that came too late, a second time, or for no known request.",
        ("reason",),
        lambda engine: [
            ((name,), count) for name, count in engine.bus.counts.replies_discarded.items()
        ],
    ),
)  # fmt: skip


# --- handlers --------------------------------------------------------------------------------

_HANDLERS: Final = (
    Metric(
        "pipebus_handler_errors", "counter", "", "Exceptions in subscribers and taps.",
        (), alone(lambda engine: engine.bus.counts.handler_errors),
    ),
    Metric(
        "pipebus_handlers_running", "gauge", "", "Handlers that have not ended.",
        ("kind",),
        lambda engine: Counter((one.kind,) for one in engine.invocations).items(),
    ),
    Metric(
        "pipebus_stage_duration_seconds", "histogram", "seconds",
        "Where the time of HTTP requests goes; the stages add up to the request's duration.",
        ("stage",),
        lambda engine: [((name,), engine.dispatch.metrics.stages[name]) for name in STAGES],
    ),
)  # fmt: skip


# --- who is let in ---------------------------------------------------------------------------

_ADMISSION: Final = (
    Metric(
        "pipebus_connections_open", "gauge", "",
        "Connections of the server, with those that are gone and have parked events.",
        (), alone(lambda engine: engine.admission.connections),
    ),
    Metric(
        "pipebus_connections_accepted", "counter", "", "Connections, refused ones included.",
        (), alone(lambda engine: engine.dispatch.connections),
    ),
    Metric(
        "pipebus_connections_refused", "counter", "",
        "Connections over the limit whose first request is answered 503.",
        (), alone(lambda engine: engine.admission.refused),
    ),
    Metric(
        "pipebus_connections_dropped", "counter", "",
        "Connections far over the limit, closed unheard.",
        (), alone(lambda engine: engine.admission.dropped),
    ),
    Metric(
        "pipebus_requests_in_flight", "gauge", "", "HTTP requests dispatched and not answered.",
        (), alone(lambda engine: engine.admission.in_flight),
    ),
    Metric(
        "pipebus_requests_in_flight_limit", "gauge", "", "HTTP requests that may be in flight.",
        (), alone(lambda engine: engine.limits.max_in_flight),
    ),
    Metric(
        "pipebus_requests_refused", "counter", "",
        "HTTP requests answered without being dispatched, by the situation.",
        ("reason",), lambda engine: _known(_REFUSALS, engine.dispatch.refusals),
    ),
    Metric(
        "pipebus_rate_limit_key_errors", "counter", "",
        "Exceptions of functions that make a rate limit's key: the client's address was it then.",
        (), alone(lambda engine: 0 if engine.gate is None else engine.gate.key_errors),
    ),
    Metric(
        "pipebus_buffered_body_bytes", "gauge", "bytes",
        "Request bodies held, those in queues included.",
        (), alone(lambda engine: engine.admission.bodies.held),
    ),
    Metric(
        "pipebus_buffered_body_limit_bytes", "gauge", "bytes", "Request bodies that may be held.",
        (), alone(lambda engine: engine.admission.bodies.limit),
    ),
)  # fmt: skip


# --- the client ------------------------------------------------------------------------------


def _breakers(engine: Assembly) -> Iterable[Reading]:
    origin = engine.client.metrics.origin
    worst: dict[tuple[str, ...], int] = {}
    for breaker in engine.client.breakers:
        labels = origin(breaker.name)
        worst[labels] = max(worst.get(labels, 0), _STATES[breaker.state])
    return worst.items()


_CLIENT: Final = (
    Metric(
        "pipebus_client_pool_slots", "gauge", "", "Connections of the client, open or opening.",
        (), alone(lambda engine: engine.client.pool.slots),
    ),
    Metric(
        "pipebus_client_pool_slots_limit", "gauge", "", "Connections that the client may have.",
        (), alone(lambda engine: engine.client.pool.limit),
    ),
    Metric(
        "pipebus_client_pool_waiting", "gauge", "", "Outgoing calls that wait for a slot.",
        (), alone(lambda engine: len(engine.client.pool.blocked)),
    ),
    Metric(
        "pipebus_client_pool_wait_seconds", "histogram", "seconds",
        "How long outgoing calls waited for a slot.",
        (), alone(lambda engine: engine.client.metrics.waits),
    ),
    Metric(
        "pipebus_client_connections_opened", "counter", "", "Connections that the client made.",
        (), alone(lambda engine: engine.client.stats.opened),
    ),
    Metric(
        "pipebus_client_connections_evicted", "counter", "",
        "Idle connections closed to make room for another origin.",
        (), alone(lambda engine: engine.client.stats.evicted),
    ),
    Metric(
        "pipebus_client_connections_reused", "counter", "",
        "Requests that went out on a connection that had served before.",
        (), alone(lambda engine: engine.client.stats.reused),
    ),
    Metric(
        "pipebus_client_connect_failures", "counter", "",
        "Attempts to connect that ended without a connection.",
        (), alone(lambda engine: engine.client.stats.connect_failures),
    ),
    Metric(
        "pipebus_client_resent", "counter", "",
        "Requests sent again because a used connection had gone under them.",
        (), alone(lambda engine: engine.client.stats.retries),
    ),
    Metric(
        "pipebus_client_retries", "counter", "",
        "Attempts after a wait, as the retry policy says.",
        (), alone(lambda engine: engine.client.stats.backoff_retries),
    ),
    Metric(
        "pipebus_client_breaker_state", "gauge", "",
        "Circuit breakers of the client: 0 closed, 1 half-open, 2 open.",
        ("url_scheme", "server_address", "server_port"), _breakers,
    ),
    Metric(
        "pipebus_client_breaker_rejected", "counter", "",
        "Attempts that were not made because a breaker was open.",
        (), alone(lambda engine: engine.client.stats.breaker_rejected),
    ),
)  # fmt: skip


# --- life ------------------------------------------------------------------------------------

_LIFE: Final = (
    Metric(
        "pipebus_ready", "gauge", "", "1 while traffic is welcome, as /readyz says it; else 0.",
        (), alone(lambda engine: int(engine.checks.ready)),
    ),
    Metric(
        "pipebus_draining", "gauge", "", "1 once a drain has begun; else 0.",
        (), alone(lambda engine: int(engine.draining)),
    ),
    Metric(
        "pipebus_health_check_passing", "gauge", "",
        "1 while a health check passes; 0 while it fails or has not run.",
        ("check",),
        lambda engine: [
            ((check.name,), int(check.state == "passing")) for check in engine.checks.all
        ],
    ),
    Metric(
        "pipebus_timers", "gauge", "", "Timers that are set.",
        (), alone(lambda engine: len(engine.timers)),
    ),
)  # fmt: skip

OWN_METRICS: Final = (*_BUS, *_HANDLERS, *_ADMISSION, *_CLIENT, *_LIFE)
