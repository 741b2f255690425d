"""One server connection as the dispatch and the drivers see it, and the body of a stream."""

from collections import deque
from typing import Final, Protocol

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group
from pipebus.errors import StreamInterrupted
from pipebus.http.message import Address, RequestInfo
from pipebus.http.server_connection import Close, ServerConnection
from pipebus.http.wire import RequestHead
from pipebus.limits import INFINITY
from pipebus.resilience.admission import Lease
from pipebus.timers import Timed

NOT_REACHED: Final = -1.0


class RouteTarget:
    """What a route leads to: the value that `Routes` hold."""

    __slots__ = ("group", "handler", "max_body", "stream", "template", "timeout")

    def __init__(
        self,
        group: Group,
        template: str,
        *,
        stream: bool = False,
        timeout: float,
        max_body: int | None,
        handler: object = None,
    ) -> None:
        self.group = group
        """The responders of this route alone (`Bus.group(routed=False)`)."""
        self.template = template
        self.stream = stream
        """Whether the handler is given the head at once and reads the body itself."""
        self.timeout = timeout
        """Seconds to the response head: from dispatch, streamed from the last body byte."""
        self.max_body = max_body
        """Bytes; None for no bound."""
        self.handler = handler
        """The engine's."""


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
        self.size = 0
        """Bytes that wait to be taken."""
        self.paused = False
        """Whether the connection was told to stop."""
        self.done = False
        """The last byte was received (and may still wait to be taken)."""
        self.error: StreamInterrupted | None = None
        """Why the rest will never come; what was received before is gone then, too."""
        self.reported = False
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
        if self.paused and self.size * 2 <= self._bound and self._session is not None:
            self._session.owner.refill(self._session, now)
        return piece

    def put(self, piece: bytes) -> bool:
        """Add a piece (the dispatch's); False: over the bound, stop the peer."""
        self._pieces.append(piece)
        self.size += len(piece)
        return self.size <= self._bound

    def finish(self) -> None:
        """Say that the last byte was received (the dispatch's)."""
        self.done = True
        self._session = None

    def interrupt(self, why: str) -> None:
        """Say that the rest will not come (the dispatch's); no effect on a finished one."""
        if not self.finished:
            self._pieces.clear()
            self.size = 0
            self.error = StreamInterrupted(why)
        self._session = None


class Session(Timed):
    """One server connection: bytes on one side, an exchange at a time on the other.

    The engine and the drivers read `token`, `wants_read`, `wants_close`, `data_to_send`; the rest
    is the dispatch's. Its one deadline is the earliest of the connection's, the open exchange's
    and the few in `timers`.
    """

    __slots__ = (
        "admitted", "began", "body_size", "client", "closed", "completed", "conn", "counted",
        "dispatched", "ending", "exchange", "half_closed", "head", "lease", "method", "number",
        "outcome", "owner", "params", "publisher", "reason", "reported", "request", "requests",
        "response", "route", "started", "status", "stream", "streaming", "target", "timers",
        "tls", "token",
    )  # fmt: skip

    def __init__(
        self,
        owner: SessionOwner,
        conn: ServerConnection,
        publisher: Publisher,
        *,
        number: int,
        client: Address,
        tls: bool,
        token: object,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.conn = conn
        self.publisher = publisher
        self.number = number
        self.client = client
        self.tls = tls
        self.token = token

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
        return self.conn.data_to_send()

    def handle_timeout(self, now: float) -> None:
        """Act on what is due."""
        self.owner.timeout(self, now)
