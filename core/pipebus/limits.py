"""Every bound and default in one place. Sizes in bytes, durations in seconds, `None` lifts one."""

from dataclasses import dataclass, fields
from typing import Final, get_args

KIB: Final = 1024
MIB: Final = 1024 * 1024
INFINITY: Final = float("inf")


def _check(limits: object) -> None:
    """Refuse a negative, NaN, zero (where nothing would ever work) or missing bound by name."""
    for field in fields(limits):  # type: ignore[arg-type]  # only the dataclasses below call it
        value = getattr(limits, field.name)
        allowed = get_args(field.type) or (field.type,)
        if value is None and type(None) in allowed:
            continue
        zero_is_fine = field.name in _MAY_BE_ZERO
        numeric = (int, float) if float in allowed else int
        if (
            not isinstance(value, numeric)
            or isinstance(value, bool)
            or not (value > 0 or (value == 0 and zero_is_fine))
        ):
            kind = "number" if float in allowed else "whole number"
            least = "0 or more" if zero_is_fine else "more than 0"
            msg = f"{type(limits).__name__}.{field.name} must be a {kind}, {least}, not {value!r}"
            raise ValueError(msg)


_MAY_BE_ZERO: Final = frozenset(
    {
        "drain_delay",
        "grace",
        "half_close_grace",
        "idle_grace",
        "linger_timeout",
        "retry_after",
        "max_idle_per_origin",
        "max_body",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a bus and its HTTP servers. The defaults suit traffic from the internet."""

    # admission
    max_connections: int = 10_000
    """Open connections; one more is answered 503 and closed."""
    max_in_flight: int = 1_000
    """Requests dispatched and not yet answered (a stream counts to its end); beyond: 503."""
    max_connections_per_client: int | None = None
    """Open connections of one address (IPv6: of one /64); one more is answered 503 and closed, and
    where as many again are refused already, closed unheard."""
    max_in_flight_per_client: int | None = None
    """Likewise requests, of the address behind trusted proxies; beyond: 503."""
    max_loop_lag: float | None = None
    """How late the event loop may be, in seconds, before new requests are answered 503; None
    (default): however late. A few times a request's own time keeps those fast that are let in."""
    rate_limit_keys: int = 100_000
    """Clients that a rate limit tells apart; further ones share what one of them may do."""
    max_buffered: int = 256 * MIB
    """Request bodies held over all connections, those in queues included."""
    buffered_wait: float = 5.0
    """How long a request waits for room under `max_buffered` before it is answered 503."""
    retry_after: int = 1
    """`Retry-After` of a 503, whole seconds."""

    # one request
    max_request_line: int = 16 * KIB
    """The request line; beyond: 414."""
    max_head: int = 64 * KIB
    """The request line and all fields together; beyond: 431."""
    max_fields: int = 100
    """Fields of a request's head; beyond: 431."""
    max_body: int | None = 16 * MIB
    """The body of a request, unless its route says something else; beyond: 413."""
    request_timeout: float = 30.0
    """To the response head, from dispatch (a streamed request: from its last body byte)."""

    # one connection
    read_ahead: int = 64 * KIB
    """Bytes read and not yet cut while a handler runs; beyond it reading stops."""
    write_high_water: int = 64 * KIB
    """Bytes waiting to be sent; above it a streamed response is paused."""
    head_timeout: float = 10.0
    """From accept (TLS handshake included) or a request's first byte to its complete head."""
    body_timeout: float = 30.0
    """Longest gap between two pieces of a request body."""
    idle_timeout: float = 75.0
    """Between two requests."""
    write_timeout: float = 30.0
    """Longest time the peer may take no byte while some wait to be sent."""
    stream_idle: float | None = 60.0
    """Longest gap between two chunks that a streaming response produces; off for SSE."""
    half_close_grace: float = 1.0
    """A peer that shut its sending side still gets an answer that takes no longer."""
    linger_timeout: float = 2.0
    """After an error answer: how long input is read and thrown away before the close."""

    # shutdown
    drain_delay: float = 0.0
    """How long `/readyz` says 503, and all is served as ever, before a drain begins on SIGTERM:
    whoever balances load needs that time to look elsewhere."""
    grace: float = 30.0
    """How long a drain waits for requests in flight and for lossless queues."""
    idle_grace: float = 0.25
    """How long a connection without a request may still bring one once a drain has begun."""

    # the bus
    subscription_queue: int = 64
    """Events that wait for a subscriber which names no `queue` of its own."""
    responder_queue: int = 64
    """Likewise requests that wait for a route or responder; beyond: 503."""
    task_concurrency: int = 1_000
    """Runs at once of an `async def` handler which names no `concurrency` of its own."""
    thread_concurrency: int = 40
    """Likewise of a handler in threads."""
    publish_timeout: float = 30.0
    """How long a publisher waits for room in a lossless queue."""
    topic_memo: int = 4_096
    """Topics whose routing is remembered."""
    taps_per_sweep: int = 64
    """Calls of taps in one turn of the event loop; further ones wait for the next."""
    max_decode: int = 16 * MIB
    """Input of a codec."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The clocks of one outgoing HTTP call, in seconds; `None` turns one off."""

    connect: float | None = 10.0
    """Name resolution, TCP and TLS together."""
    write: float | None = 30.0
    """Longest time in which the peer takes no byte."""
    read: float | None = 30.0
    """Longest time in which the peer sends no byte."""
    pool: float | None = 10.0
    """Waiting for a connection slot."""
    total: float | None = 120.0
    """The whole call, to the last body byte: bounds a peer that drips."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """The bounds of an HTTP client's pool and of what it accepts from a server."""

    max_connections: int = 100
    """Open or opening, over all origins."""
    max_idle_per_origin: int = 10
    idle_timeout: float = 90.0
    max_waiting: int = 1_000
    """Calls queued for a connection; one more fails with `PoolTimeout` at once."""
    connect_stagger: float = 0.25
    """Between attempts at an origin's addresses (RFC 8305 section 5)."""
    max_head: int = 64 * KIB
    max_fields: int = 100
    max_informational: int = 20
    """1xx responses before a final one."""
    max_body: int = 16 * MIB
    """A buffered response body, after content decoding. Streams have no such bound."""
    read_ahead: int = 64 * KIB
    """Body bytes held for a slow reader of a stream; beyond it reading stops."""
    write_high_water: int = 64 * KIB

    def __post_init__(self) -> None:
        _check(self)
