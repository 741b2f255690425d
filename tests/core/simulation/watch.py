"""An engine that notes whose owner vanished in which state: the cells of the table in `states`."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.subscription import Subscription
from pipebus.engine.actions import Link
from pipebus.engine.calls import Call, EventCall, HttpCall, PublisherCall, RequestCall
from pipebus.engine.engine import Engine
from pipebus.engine.invocation import OPEN, Invocation
from pipebus.http.answers import HALF_CLOSE_GRACE, PUBLISH_TIMEOUT
from pipebus.http.client import ClientCall
from pipebus.http.server_events import Close
from pipebus.http.session import Session

Cell = tuple[str, str, str]
"""Resource, its state, what became of its owner."""

CALL_STATES: Final = {
    "waiting": "waiting",
    "resolving": "connecting",
    "connecting": "connecting",
    "sending": "sending",
    "reading head": "reading",
    "reading body": "reading",
}


def connection_state(session: Session) -> str:
    """Name the row of the table that a server connection is in; empty when it is over."""
    conn, exchange = session.conn, session.exchange
    if session.state == "answered" and conn.unsent:
        return "response buffered"
    if conn.wants_close is Close.LINGER:
        return "lingering"
    if conn.wants_close is not Close.NO:
        return ""
    if session.state == "idle":
        return "head partly" if len(conn._heads) else "no head"
    if session.state == "open" and exchange is not None:
        return "request queued" if exchange.state == "queued" else "running"
    return {"reading": "body partly", "streaming": "streaming"}.get(session.state, "")


class WatchedEngine:
    """Counts in `cells` what happens to the owners of an engine, before it happens.

    It wraps one and is none: a compiled engine has no subclasses.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        self.engine: Engine = Engine(*given, **options)
        self.cells: Counter[Cell] = Counter()
        self.most_parked: int = 0
        """The most events that one connection ever had parked."""
        self.in_hand: dict[str, EventCall] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    # --- inputs that take an owner away ---------------------------------------------------------

    def connection_lost(self, link: Link, now: float) -> None:
        if isinstance(link, Session):
            self._peer_left(link, "reset")
        self.engine.connection_lost(link, now)

    def receive_eof(self, link: Link, now: float) -> None:
        if isinstance(link, Session):
            self._peer_left(link, "eof")
        self.engine.receive_eof(link, now)

    def receive_data(self, link: Link, data: bytes, now: float) -> None:
        self.engine.receive_data(link, data, now)
        self._count_parked(link)

    def data_sent(self, link: Link, count: int, now: float) -> bool:
        more = self.engine.data_sent(link, count, now)
        self._count_parked(link)
        return more

    def _count_parked(self, link: Link) -> None:
        if isinstance(link, Session):
            self.most_parked = max(self.most_parked, link.publisher.parked)

    def abandon(self, call: Call, now: float) -> None:
        gone = "cancelled"
        if isinstance(call, PublisherCall):
            self._publisher(call.publisher, gone)
        if isinstance(call, RequestCall) and call.exchange is not None:
            self._exchange(call.exchange, gone)
        if isinstance(call, HttpCall) and call.client_call is not None:
            self._client_call(call.client_call, gone)
        exchange = call.exchange if isinstance(call, RequestCall) else None
        self.engine.abandon(call, now)
        assert exchange is None or exchange.outcome is not None, "nobody wants its reply any more"

    def close_http(self, call: HttpCall, now: float) -> PublisherCall:
        if call.exchange is not None:  # a streamed response that is left before its end
            self._exchange(call.exchange, "cancelled")
        return self.engine.close_http(call, now)

    def next_event(self, subscription: Subscription, now: float) -> Call:
        call = self.engine.next_event(subscription, now)
        assert isinstance(call, EventCall)
        self.in_hand[subscription.id] = call
        return call

    def unsubscribe(self, subscription: Subscription, now: float) -> None:
        if subscription.queued:
            self.cells["subscription", "queued", "cancelled"] += 1
        call = self.in_hand.pop(subscription.id, None)
        if call is not None and call.value is not None:
            self.cells["subscription", "running", "cancelled"] += 1
        self.engine.unsubscribe(subscription, now)

    def dies(self, invocation: Invocation) -> None:
        """Note that somebody cancels a handler's task from outside."""
        gone = "handler dies"
        self._invocation(invocation, gone)
        exchange, subscription = invocation.exchange, invocation.subscription
        if exchange is not None and exchange.outcome is None:
            self.cells["exchange", exchange.state, gone] += 1
            self._connection(exchange.owner, gone)
        if subscription is not None and invocation.kind == "subscriber":
            self.cells["subscription", "running", gone] += 1
            if subscription.queued:
                self.cells["subscription", "queued", gone] += 1
        if invocation.responder is not None:
            for queued in invocation.responder.group.queue:
                self.cells["exchange", "queued", gone] += 1
                self._connection(queued.owner, gone)

    def handle_timeout(self, now: float) -> None:
        if self._drain.state == "draining" and self._drain.deadline <= now:
            self._everything("drain and grace")
        else:
            self._time_passes(now)
        self.engine.handle_timeout(now)

    def close(self, now: float) -> None:
        if not self._cut:
            self._everything("drain and grace")
        self.engine.close(now)

    # --- whom it concerns -----------------------------------------------------------------------

    def _peer_left(self, session: Session, gone: str) -> None:
        state = connection_state(session)
        if not state:
            return
        self.cells["connection", state, gone] += 1
        self._publisher(session.publisher, gone)
        if session.exchange is not None:
            self._exchange(session.exchange, gone)
        name = session.publisher.name
        for subscription in self._lossless():
            if any(event.source == name for event in subscription.queue):
                self.cells["subscription", "queued", gone] += 1
        for invocation in self.invocations:
            if invocation.kind == "subscriber" and invocation.cause.source == name:
                self.cells["subscription", "running", gone] += 1

    def _connection(self, owner: object, gone: str) -> None:
        if isinstance(owner, Session):
            state = connection_state(owner)
            if state:
                self.cells["connection", state, gone] += 1

    def _exchange(self, exchange: Exchange, gone: str) -> None:
        if exchange.outcome is not None:
            return
        self.cells["exchange", exchange.state, gone] += 1
        invocation = exchange.invocation
        if isinstance(invocation, Invocation) and invocation.state in OPEN:
            self._invocation(invocation, gone)

    def _invocation(self, invocation: Invocation, gone: str) -> None:
        publisher = invocation._publisher
        if publisher is None:
            return
        self._publisher(publisher, gone)
        for call in self.client._calls:
            owner = call.owner.owner if isinstance(call.owner, Exchange) else None
            if isinstance(owner, HttpCall) and owner.publisher is publisher:
                self._client_call(call, gone)

    def _client_call(self, call: ClientCall, gone: str) -> None:
        state = CALL_STATES.get(call.state)
        if state is not None:
            self.cells["call", state, gone] += 1

    def _publisher(self, publisher: Publisher, gone: str) -> None:
        if publisher.paused:
            self.cells["publisher", "parked", gone] += 1

    def _lossless(self) -> Iterator[Subscription]:
        return (sub for sub in self.bus._subs.values() if sub.kind == "subscriber")

    # --- time -----------------------------------------------------------------------------------

    def _time_passes(self, now: float) -> None:
        gone = "timed out"
        for session in self.dispatch.sessions.values():
            self._session_expires(session, now)
        for exchange in self.bus._open.values():
            if exchange.timed and exchange.deadline <= now:
                self._exchange(exchange, gone)
        for subscription in self._lossless():
            for parked in subscription.entries:
                owner = parked.publisher.owner
                if isinstance(owner, Call) and owner.deadline <= now:
                    self._publisher(parked.publisher, gone)
        for call in self.client._calls:
            deadlines = [call.total, call.deadline]
            if call.dial is not None:
                deadlines.append(call.dial.connect_deadline)
            if call.connection is not None:
                deadlines.append(call.connection.deadline)
            if min(deadlines) <= now:
                self._client_call(call, gone)

    def _session_expires(self, session: Session, now: float) -> None:
        gone = "timed out"
        timers = session.timers
        if timers.get(PUBLISH_TIMEOUT, now + 1.0) <= now:
            self._publisher(session.publisher, gone)
        rare = [
            at for name, at in timers.items() if name not in (PUBLISH_TIMEOUT, HALF_CLOSE_GRACE)
        ]
        exchange = session.exchange
        deadlines = [session.conn.deadline, *rare]
        if exchange is not None:
            deadlines.append(exchange.deadline)
        if min(deadlines) <= now:
            self._connection(session, gone)
            if exchange is not None:
                self._exchange(exchange, gone)

    def _everything(self, gone: str) -> None:
        for session in self.dispatch.sessions.values():
            self._connection(session, gone)
        for exchange in self.bus._open.values():
            self.cells["exchange", exchange.state, gone] += 1
        for subscription in self._lossless():
            if subscription.queued:
                self.cells["subscription", "queued", gone] += 1
            for parked in subscription.entries:
                self._publisher(parked.publisher, gone)
        for invocation in self.invocations:
            if invocation.kind == "subscriber":
                self.cells["subscription", "running", gone] += 1
        for call in self.client._calls:
            self._client_call(call, gone)
