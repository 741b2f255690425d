"""One server connection as the dispatch and the drivers see it, and the body of a stream."""

from collections import deque
from typing import Final, Protocol

from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group
from pipebus.errors import StreamInterrupted
from pipebus.http.body import add_piece
from pipebus.http.message import Address, Request
from pipebus.http.response import Response
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import Close
from pipebus.resilience.admission import Lease
from pipebus.resilience.rate_limit import RateLimiter
from pipebus.telemetry.http_metrics import Known
from pipebus.telemetry.trace import Span
from pipebus.timers import Timed

NOT_REACHED: Final = -1.0
"""An edge of the current request that has not come yet."""

IDLE: Final = "idle"
"""No request: before a head, or between two."""
READING: Final = "reading"
"""A head is in; its body is collected, or waits for room in the budget."""
OPEN: Final = "open"
"""Its exchange is open and no byte of the answer was written."""
STREAMING: Final = "streaming"
"""The head of a streamed answer is written."""
ANSWERED: Final = "answered"
"""The whole answer is in the connection's buffer."""
ENDED: Final = "ended"
"""No answer can be written any more; the driver has still to close."""
GONE: Final = "gone"
"""The socket is gone; parked events keep its place in `max_connections`."""
FREED: Final = "freed"
"""Its place is free: nothing more will be heard of it."""


class RouteTarget:
    """What a route leads to: the value that `Routes` hold."""

    __slots__ = (
        "exempt", "group", "handler", "limiter", "max_body", "series", "stream", "template", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        group: Group,
        template: str,
        *,
        stream: bool = False,
        timeout: float,
        max_body: int | None,
        handler: object = None,
        limiter: RateLimiter | None = None,
        exempt: bool = False,
    ) -> None:
        self.group: Group = group
        """The responders of this route alone (`Bus.group(routed=False)`)."""
        self.template: str = template
        self.stream: bool = stream
        """Whether the handler is given the head at once and reads the body itself."""
        self.timeout: float = timeout
        """Seconds to the response head: from dispatch, streamed from the last body byte."""
        self.max_body: int | None = max_body
        """Bytes; None for no bound."""
        self.handler: object = handler
        """The engine's."""
        self.series: Known = {}
        """What its requests are counted in."""
        self.exempt: bool = exempt
        """No limit of the server's holds here: who asks whether it lives must be told."""
        self.limiter: RateLimiter | None = limiter
        """Of the requests to this route."""


class SessionOwner(Protocol):
    """What a session asks of its dispatch."""

    def timeout(self, session: "Session", now: float) -> None:
        """Act on the session's deadline."""
        ...

    def refill(self, session: "Session", now: float) -> None:
        """Let the connection of a body that was read from go on receiving."""
        ...


class BodyStream:
    """The body of a `StreamRequest`, piece by piece, for its one reader.

    Output: `take`; the dispatch reports the stream (`Dispatch.next_output`) whenever it has news:
    a piece where there was none, the end, or an error. Above `Limits.read_ahead` bytes not yet
    taken the peer is stopped; it goes on when half of them are gone.
    """

    __slots__ = ("_bound", "_pieces", "_session", "done", "error", "paused", "reported", "size")

    def __init__(self, session: "Session", bound: int) -> None:
        self._session: Session | None = session
        self._bound = bound
        self._pieces: deque[bytes] = deque()
        self.size: int = 0
        """Bytes that wait to be taken."""
        self.paused: bool = False
        """Whether the connection was told to stop."""
        self.done: bool = False
        """The last byte was received (and may still wait to be taken)."""
        self.error: StreamInterrupted | None = None
        """Why the rest will never come; what was received before is gone then, too."""
        self.reported: bool = False
        """Whether it stands in the dispatch's outputs; not to be set."""

    @property
    def finished(self) -> bool:
        """Whether `take` will never return anything again."""
        return self.error is not None or (self.done and not self._pieces)

    def take(self, now: float) -> bytes | None:
        """Return the next piece, or None: nothing now, or (see `finished`) never again."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self.size -= len(piece)
        session = self._session
        if session is not None:
            session.rearm(now)
            if self.paused and self.size * 2 <= self._bound:
                self.paused = False
                session.owner.refill(session, now)
        return piece

    def put_back(self, piece: bytes) -> None:
        """Give back what was taken for a reader that has gone meanwhile: it is next again."""
        self._pieces.appendleft(piece)
        self.size += len(piece)

    def put(self, piece: bytes) -> bool:
        """Add a piece (the dispatch's); False: over the bound, stop the peer."""
        add_piece(self._pieces, piece)
        self.size += len(piece)
        return self.size <= self._bound

    def finish(self) -> None:
        """Say that the last byte was received (the dispatch's)."""
        self.done = True
        self._session = None

    def interrupt(self, why: str) -> None:
        """Say that the rest will not come (the dispatch's)."""
        self._pieces.clear()
        self.size = 0
        self.error = StreamInterrupted(why)
        self._session = None


class Session(Timed):
    """One server connection: bytes on one side, one exchange at a time on the other.

    The engine and the drivers read `token`, `wants_read`, `wants_close`, `data_to_send()` and
    `exchange`; the rest is the dispatch's. Its one deadline is the earliest of the connection's,
    the open exchange's and the few in `timers`.
    """

    __slots__ = (
        "admitted", "began", "body", "bytes_in", "bytes_out", "charged", "client", "close_reason",
        "completed", "conn", "counted", "dispatched", "event", "exchange", "half_closed",
        "head_bytes", "holds", "key", "lease", "method", "outcome", "owner", "peer", "peer_gone",
        "publisher", "reason", "refused", "reported", "request", "request_id", "requests",
        "response", "route", "span", "started", "state", "status", "stream", "target", "timers", "tls",
        "token", "trusted", "waits", "wanted_read", "why",
    )  # fmt: skip

    def __init__(
        self,
        owner: SessionOwner,
        conn: ServerConnection,
        name: str,
        *,
        client: Address,
        tls: bool,
        token: object,
    ) -> None:
        super().__init__()
        self.owner: SessionOwner = owner
        self.conn: ServerConnection = conn
        self.publisher: Publisher = Publisher(name, self)
        """Its name, with a number, is also the id of a request that was refused."""
        self.peer: Address = client
        """Who is connected."""
        self.client: Address = client
        """Whose the current request is: the peer's, or that of whom a trusted proxy names."""
        self.key: str = ""
        """What the gate knows `client` by."""
        self.trusted: bool = False
        """Whether what the peer says about others is believed."""
        self.tls: bool = tls
        self.token: object = token
        """The driver's."""
        self.refused: str = ""
        """A situation by which its first request is answered 503: it is one connection too many."""
        self.counted: str | None = None
        """The key under which the gate counts it as a connection."""
        self.state: str = IDLE
        self.half_closed: bool = False
        self.peer_gone: bool = False
        self.reported: bool = False
        """It stands in the dispatch's outputs."""
        self.wanted_read: bool = True
        """`wants_read` when the driver was last told to look."""
        self.waits: bool = False
        """A request is over and the next head is not let in yet."""
        self.timers: dict[str, float] = {}
        """What is rare: reason -> absolute deadline."""
        self.requests: int = 0
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        """Totals of the requests that are over."""
        self.close_reason: str = ""

        # the current request
        self.method: str = ""
        self.target: str = ""
        self.route: RouteTarget | None = None
        self.request: Request | None = None
        """While its body is collected."""
        self.body: bytes | None = None
        """Complete, while it waits for room in the budget."""
        self.stream: BodyStream | None = None
        self.lease: Lease | None = None
        self.charged: int = 0
        """Bytes of its body that were charged without a lease."""
        self.head_bytes: int = 0
        """Of `conn.bytes_in`: the head's share."""
        self.admitted: bool = False
        """It holds a slot of `max_in_flight`."""
        self.holds: str | None = None
        """The key under which the gate counts it as a request in flight."""
        self.request_id: str = ""
        """One that a trusted peer gave it."""
        self.span: Span | None = None
        """What its time is recorded as, if it is."""
        self.exchange: Exchange | None = None
        """The open one, if any."""
        self.event: Event | None = None
        """Its `net.http.request`."""
        self.response: Response | None = None
        """The handler's answer, if there is one."""
        self.status: int = 0
        self.outcome: str = ""
        self.why: str = ""
        """Why its answer is not the handler's own; empty if it is."""
        self.reason: str = ""
        """Why it got no whole answer; empty while nothing is wrong."""
        self.started: float = 0.0
        self.dispatched: float = NOT_REACHED
        self.began: float = NOT_REACHED
        self.completed: float = NOT_REACHED

    @property
    def wants_read(self) -> bool:
        """Whether the driver should read from the peer."""
        return self.conn.wants_read

    @property
    def wants_close(self) -> Close:
        """Whether and how the driver should close."""
        return self.conn.wants_close

    def data_to_send(self) -> bytes:
        """Return bytes for the peer; they stay until `data_sent` is reported to the engine."""
        return self.conn.out.peek()

    def handle_timeout(self, now: float) -> None:
        """Act on what is due."""
        self.owner.timeout(self, now)

    def rearm(self, now: float) -> None:
        """Give a handler that still receives its body the whole timeout from `now` on."""
        exchange = self.exchange
        if exchange is not None and self.state == OPEN and self.route is not None:
            exchange.deadline = now + self.route.timeout

    def retime(self) -> None:
        """Bring `deadline` and its reason up to date."""
        conn = self.conn
        deadline = conn.deadline
        reason = conn.deadline_reason
        exchange = self.exchange
        if exchange is not None and exchange.deadline < deadline:
            deadline = exchange.deadline
            reason = "request_timeout"
        if self.timers:
            for name, at in self.timers.items():
                if at < deadline:
                    deadline = at
                    reason = name
        self.deadline: float = deadline
        self.deadline_reason: str = reason

    def forget_request(self) -> None:
        """Be ready for the next one."""
        self.state = IDLE
        self.method = ""
        self.target = ""
        self.route = None
        self.request = None
        self.body = None
        self.stream = None
        self.request_id = ""
        self.why = ""
        self.event = None
        self.response = None
        self.status = 0
        self.outcome = ""
        self.reason = ""
        self.dispatched = NOT_REACHED
        self.began = NOT_REACHED
        self.completed = NOT_REACHED
