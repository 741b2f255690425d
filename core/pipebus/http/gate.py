"""What is asked of a request before it is dispatched: whose it is, and whether it may come in."""

from collections.abc import Sequence
from hashlib import sha256
from math import ceil
from typing import Final

from pipebus.http.forwarded import TrustedProxies, client_key
from pipebus.http.headers import Headers
from pipebus.http.message import RequestInfo
from pipebus.http.session import Session
from pipebus.http.wire import RequestHead
from pipebus.limits import INFINITY, Limits
from pipebus.resilience.client_counts import ClientCounts
from pipebus.resilience.loop_lag import PROBE_EVERY, LagProbe, LoopLag
from pipebus.resilience.rate_limit import RateLimit, RateLimiter
from pipebus.timers import TimerQueue


class Refusal:
    """Why a request may not come in: a situation of the table, and when to try again."""

    __slots__ = ("retry_after", "situation")

    def __init__(self, situation: str, retry_after: int | None = None) -> None:
        self.situation: str = situation
        self.retry_after: int | None = retry_after
        """Whole seconds; None: `Limits.retry_after`."""


_LATE: Final = Refusal("loop_lag")

LONGEST_KEY: Final = 128
"""Letters of a key that is remembered as it is; of a longer one it is the digest."""


class Gate:
    """Rate limits, a client's share, and the loop's lag; who the client is, behind proxies.

    Input: `polled` (the driver's). Mutators: `connect`/`disconnect`, `name`, `admit`, `limit`, and
    those of `in_flight`. Counters: `limited`, `shed`, `key_errors`. Time: a probe of the loop's lag
    in the `TimerQueue`.
    """

    __slots__ = (
        "_max_lag", "_probe", "_timers", "connections", "in_flight", "key_errors", "limited",
        "limiter", "over", "proxies", "shed",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        timers: TimerQueue,
        *,
        rate_limit: RateLimit | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self.proxies: TrustedProxies | None = (
            TrustedProxies(trusted_proxies) if trusted_proxies else None
        )
        self.limiter: RateLimiter | None = (
            None if rate_limit is None else RateLimiter(rate_limit, limits.rate_limit_keys)
        )
        """Of all requests together; a route may have one of its own beside it."""
        self.connections: ClientCounts | None = _counts(limits.max_connections_per_client)
        self.over: ClientCounts | None = _counts(limits.max_connections_per_client)
        """Those that are one too many."""
        self.in_flight: ClientCounts | None = _counts(limits.max_in_flight_per_client)
        self._timers = timers
        self._probe = None if limits.max_loop_lag is None else LagProbe(LoopLag())
        self._max_lag = limits.max_loop_lag or 0.0
        self.limited: int = 0
        """Requests answered 429."""
        self.shed: int = 0
        """Requests answered 503 because the loop was late."""
        self.key_errors: int = 0
        """Exceptions of key functions: the client's address was the key then."""

    @property
    def watches_lag(self) -> bool:
        """Whether `polled` is of any use."""
        return self._probe is not None

    def polled(self, now: float) -> None:
        """Note that the driver begins to serve the sockets that are ready; infinity: it has ended."""
        if self._probe is not None:
            self._probe.lag.polled(now)

    # --- connections ---------------------------------------------------------------------------

    def connect(self, session: Session) -> bool:
        """Take note of who is connected, and count that; False: close it unheard.

        Of those that are too many of a client as many as it may have are heard and refused: more
        would take the places of others, for as long as they say nothing. A trusted proxy may have
        any number: it is not the client.
        """
        session.trusted = self.proxies is not None and self.proxies.trusts(session.peer)
        session.key = client_key(session.peer)
        counts, over = self.connections, self.over
        if counts is None or over is None or session.trusted:
            return True
        if not counts.enter(session.key):
            session.refused = "max_connections_per_client"
            if not over.enter(session.key):
                return False
        session.counted = session.key
        return True

    def disconnect(self, session: Session) -> None:
        """Count a connection out."""
        if session.counted is not None:
            counts = self.over if session.refused else self.connections
            assert counts is not None
            counts.leave(session.counted)
            session.counted = None

    # --- requests ------------------------------------------------------------------------------

    def name(self, session: Session, head: RequestHead) -> None:
        """Believe a trusted proxy of whom a request is."""
        assert self.proxies is not None
        client = self.proxies.client_address(session.peer, head.headers)
        if client != session.client:
            session.client = client
            session.key = client_key(client)

    def admit(self, session: Session, head: RequestHead, now: float) -> Refusal | None:
        """Say what is against a request, if anything; `name` comes first."""
        probe = self._probe
        if probe is not None:
            probe.asked = True
            if probe.deadline == INFINITY:
                probe.deadline = now + PROBE_EVERY
                self._timers.watch(probe)
            if probe.lag.lag(now) > self._max_lag:
                self.shed += 1
                return _LATE
        limiter = self.limiter
        return None if limiter is None else self.limit(limiter, session, head, now)

    def limit(
        self, limiter: RateLimiter, session: Session, head: RequestHead, now: float
    ) -> Refusal | None:
        """Take a token of a limiter, the server's or a route's."""
        key = session.key
        if limiter.policy.key is not None:
            key = self._key(limiter, session, head) or key
        wait = limiter.take(key, now)
        if wait <= 0.0:
            return None
        self.limited += 1
        return Refusal("rate_limited", ceil(wait))

    def _key(self, limiter: RateLimiter, session: Session, head: RequestHead) -> str | None:
        assert limiter.policy.key is not None
        about = RequestInfo(
            head.method, session.target, Headers(raw=head.headers),
            head.http_version.decode("ascii"), session.client, session.tls,
        )  # fmt: skip
        try:
            key: object = limiter.policy.key(about)
        except Exception:  # noqa: BLE001 (the program's: counted, and the default holds)
            self.key_errors += 1
            return None
        if key is None:
            return None
        if isinstance(key, str):
            # Most are made of a field, and the table of keys is bounded by their number.
            return key if len(key) <= LONGEST_KEY else _digest(key)
        self.key_errors += 1
        return None


def new_gate(
    limits: Limits,
    timers: TimerQueue,
    *,
    rate_limit: RateLimit | None,
    trusted_proxies: Sequence[str],
    routes_limited: bool,
) -> Gate | None:
    """Return a gate, or None where nothing would be asked at it."""
    if (
        rate_limit is None
        and not trusted_proxies
        and not routes_limited
        and limits.max_connections_per_client is None
        and limits.max_in_flight_per_client is None
        and limits.max_loop_lag is None
    ):
        return None
    return Gate(limits, timers, rate_limit=rate_limit, trusted_proxies=trusted_proxies)


def _counts(limit: int | None) -> ClientCounts | None:
    return None if limit is None else ClientCounts(limit)


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
