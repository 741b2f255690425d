"""Every server connection of a bus: what the driver and the engine call."""

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.http.annotations import Annotations
from pipebus.http.answers import BUFFERED_WAIT, PUBLISH_TIMEOUT, STREAM_IDLE, Output, StreamIdle
from pipebus.http.drain import Drain
from pipebus.http.events import CONNECTION_CLOSE, CONNECTION_OPEN, ConnectionInfo
from pipebus.http.express import Express
from pipebus.http.gate import Gate
from pipebus.http.message import Address
from pipebus.http.routes import Routes
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import Close
from pipebus.http.session import (
    ENDED,
    FREED,
    GONE,
    IDLE,
    READING,
    RouteTarget,
    Session,
)
from pipebus.http.wire import WireCodec
from pipebus.limits import Limits
from pipebus.resilience.admission import Admission
from pipebus.telemetry.trace import Tracing
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock


class Dispatch(Express):
    """Message -> event -> exchange -> message, for every connection. Knows no bytes.

    Inputs, by the driver through the engine: `opened`, `receive_data`, `receive_eof`, `eof_ahead`,
    `data_sent`, `connection_lost` (always the last one, however the socket came to its end).
    Inputs, by the engine: `handler_began`, `exchange_ended` (for each ended exchange whose `owner`
    is a `Session`), `publisher_resumed` (for a publisher whose `owner` is one), `start_stream`,
    `stream_chunk`, `stream_end`, `stream_failed`, `drain`.
    Output: `next_output`, pulled until None after any input, the bus's outputs first.
    Time: each session and the `Drain` stand in the `TimerQueue`; the dispatch keeps it up to date.
    """

    def __init__(
        self,
        bus: Bus,
        routes: Routes[RouteTarget],
        *,
        limits: Limits,
        wire: WireCodec,
        timers: TimerQueue,
        clock: WallClock,
        admission: Admission,
        drain: Drain,
        gate: Gate | None = None,
        annotations: Annotations | None = None,
        tracing: Tracing | None = None,
        name: str = "connection",
    ) -> None:
        """`name` begins the names of the connections, which are the `source` of their events."""
        super().__init__(bus, routes, limits, timers, admission, drain, gate, annotations, tracing)
        self._wire = wire
        self._clock = clock
        self._name = name
        self.connections: int = 0
        """Ever accepted, those that were dropped included."""
        self.sessions: dict[str, Session] = {}
        """Those whose socket is open, by their publisher's name, oldest first."""
        drain.on_grace_over = self._grace_over

    # --- inputs by the driver -----------------------------------------------------------------

    def opened(
        self, client: Address, tls: bool, token: object, now: float, *, proxied: bool = False
    ) -> Session:
        """Take a connection that was accepted at `now` (before any TLS handshake).

        `proxied`: whose it is comes by `proxied`, before all else.
        """
        self.connections += 1
        conn = ServerConnection(self._limits, self._wire, self._clock, now)
        session = Session(
            self, conn, f"{self._name}-{self.connections}", client=client, tls=tls, token=token
        )
        self.sessions[session.publisher.name] = session
        verdict = self._admission.connect()
        if verdict == "dropped":
            self._drop(session, "max_connections", now)
        else:
            if verdict == "refused":
                session.refused = "max_connections"
            elif not proxied:
                self._connect(session, now)
            if self._drain.state != "serving":
                # It was in the backlog: a request that is on its way is served, and no second one.
                conn.close_after_response()
        self._publish_connection(CONNECTION_OPEN, session, now)
        self.step(session, now)
        return session

    def proxied(self, session: Session, client: Address, now: float) -> None:
        """Note whom a PROXY protocol header names as the peer, or that it is who it seemed."""
        session.peer = session.client = client
        if not session.refused:
            self._connect(session, now)
            self.step(session, now)

    def receive_data(self, session: Session, data: bytes, now: float) -> None:
        """Take bytes from the peer."""
        if session.state is not IDLE or not self._receive_whole(session, data, now):
            session.conn.receive_data(data, now)
            self.step(session, now)

    def receive_eof(self, session: Session, now: float) -> None:
        """Note that the peer shut its sending side."""
        session.conn.receive_eof(now)
        self.step(session, now)

    def eof_ahead(self, session: Session, now: float) -> None:
        """Note that the peer shut its sending side, behind bytes that were not received yet.

        A request that is complete, this one or a later one, is treated as after `receive_eof`; the
        rest of one that is not may be among those bytes.
        """
        session.half_closed = True
        self._watch_half_close(session, now)
        self.step(session, now)

    def data_sent(self, session: Session, count: int, now: float) -> None:
        """Note that the operating system took `count` bytes of `data_to_send`."""
        if not self._end_whole(session, count, now):
            session.conn.data_sent(count, now)
            self.step(session, now)

    def exchange_ended(self, exchange: Exchange, now: float) -> None:
        """Answer a session's exchange that has ended; harmless when it was answered before."""
        session = exchange.owner
        if not isinstance(session, Session) or session.exchange is not exchange:
            return
        if exchange.outcome != "replied" or not self._answer_whole(session, exchange, now):
            self._settle(session, exchange, now)
            self.step(session, now)

    def connection_lost(self, session: Session, now: float) -> None:
        """Note that the socket is gone: closed by the driver as asked, reset, or failed."""
        if session.state in (GONE, FREED):
            return
        session.conn.connection_lost(now)
        self.step(session, now)
        session.state = GONE
        del self.sessions[session.publisher.name]
        self._publish_connection(CONNECTION_CLOSE, session, now)
        if session.publisher.places:
            session.retime()
            self._timers.watch(session)
        else:
            self._let_go(session)

    # --- inputs by the engine -----------------------------------------------------------------

    def publisher_resumed(self, session: Session, now: float) -> None:
        """Note that the session's publisher has nothing parked any more."""
        if session.publisher.places:  # it has parked again since that was said
            return
        session.timers.pop(PUBLISH_TIMEOUT, None)
        if session.state == GONE:
            self._let_go(session)
        elif session.state != FREED:
            self.step(session, now)

    def drain(self, now: float) -> None:
        """Begin the drain: see `Drain`."""
        if self._drain.begin(now):
            self._timers.watch(self._drain)
            for session in list(self.sessions.values()):
                session.conn.drain(now)
                self.step(session, now)

    # --- time ---------------------------------------------------------------------------------

    def timeout(self, session: Session, now: float) -> None:
        """Act on what is due for a session (`Session.handle_timeout`)."""
        conn = session.conn
        if conn.deadline <= now:
            reason = conn.deadline_reason
            conn.handle_timeout(now)
            if conn.wants_close is not Close.NO:
                session.close_reason = session.close_reason or reason
            self._pull(session, now)
        for name in [name for name, at in session.timers.items() if at <= now]:
            if session.timers.pop(name, None) is not None:
                self._expire(session, name, now)
        exchange = session.exchange
        if exchange is not None and exchange.deadline <= now:
            self._bus.expire(exchange, now)
            self._settle(session, exchange, now)
        if session.state != FREED:
            self.step(session, now)

    def _expire(self, session: Session, name: str, now: float) -> None:
        """Act on one of the session's rare timers."""
        exchange = session.exchange
        if name == BUFFERED_WAIT:
            self._refuse(session, "max_buffered", now)
        elif name == PUBLISH_TIMEOUT:
            self._bus.withdraw(session.publisher, PUBLISH_TIMEOUT, now)
            self.publisher_resumed(session, now)
        else:
            assert exchange is not None, "these two end with the exchange"
            if name == STREAM_IDLE:
                self._bus.fail(exchange, StreamIdle("no chunk for too long"), now)
            else:
                self._bus.cancel(exchange, "disconnect", now)
            self._settle(session, exchange, now)

    def _grace_over(self, now: float) -> None:
        """Cut what is left: running handlers are cancelled and answered 503."""
        self._timers.watch(self._drain)
        self._bus.drain(now)
        self._bus.shutdown(now)
        for session in list(self.sessions.values()):
            exchange = session.exchange
            session.close_reason = session.close_reason or "shutdown"
            if exchange is not None:
                self._settle(session, exchange, now)
            elif session.state == READING:
                self._refuse(session, "drained", now)
            elif session.state == IDLE:
                session.conn.abort(now)
                session.state = ENDED
            self.step(session, now)

    # --- output -------------------------------------------------------------------------------

    def next_output(self, now: float) -> Output | None:
        """Return what changed, or None.

        A `Session`: flush it and look at `wants_read` and `wants_close`. A `BodyStream`: it has
        news for its reader. An `Exchange`: its streamed response may be written again (or has
        ended: look at `outcome`).
        """
        if self._admission.bodies.granted:
            self._admit_bodies(now)
        if not self.outputs:
            if self._drain.state != "serving":
                self._settle_drain()
            return None
        output = self.outputs.popleft()
        if not isinstance(output, Exchange):
            output.reported = False
        return output

    def _settle_drain(self) -> None:
        """End the drain when nothing is left."""
        admission = self._admission
        self._drain.settle(
            admission.connections + admission.in_flight + (0 if self._bus.settled else 1)
        )

    # --- connections --------------------------------------------------------------------------

    def _connect(self, session: Session, now: float) -> None:
        """Have the gate look at a connection."""
        if self._gate is not None and not self._gate.connect(session):
            self._drop(session, session.refused, now)

    @staticmethod
    def _drop(session: Session, why: str, now: float) -> None:
        """Close a connection unheard."""
        session.state = ENDED
        session.close_reason = why
        session.conn.abort(now)

    def _let_go(self, session: Session) -> None:
        """Give up the place in `max_connections` of a session that is gone and has parked nothing."""
        session.state = FREED
        self._admission.disconnect()
        if self._gate is not None:
            self._gate.disconnect(session)
        self._timers.forget(session)

    def _publish_connection(self, topic: str, session: Session, now: float) -> None:
        if self._bus.listens(topic):
            info = ConnectionInfo(
                session.publisher.name, session.peer, session.tls, session.requests,
                session.bytes_in, session.bytes_out, session.close_reason,
            )  # fmt: skip
            self._bus.publish(topic, info, now, publisher=session.publisher)
            self._check_parked(session, now)
