"""A client with a driver of dictionaries and a clock that only the test moves."""

from pipebus.http.client import (
    AbandonConnect,
    BreakerChange,
    ClientCall,
    ClientConnection,
    ClientRequest,
    Connect,
    HttpClient,
    Resolve,
)
from pipebus.http.server_events import Close
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import INFINITY, ClientLimits, Timeouts
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

NO_TIMEOUTS = Timeouts(connect=None, write=None, read=None, pool=None, total=None)
URL = "http://10.0.0.1/x"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def only(**seconds: float) -> Timeouts:
    base: dict[str, float | None] = dict.fromkeys(["connect", "write", "read", "pool", "total"])
    return Timeouts(**{**base, **seconds})


def encoded(body: bytes, coding: bytes = b"gzip") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
        % (coding, len(body))
    ) + body


def paused(call: ClientCall) -> bool:
    """The attribute, in words that mypy does not take for unchanging."""
    return call.upload_paused


class World:
    """Outputs are sorted into lists as they come; nothing is answered by itself."""

    def __init__(
        self,
        client: type[HttpClient] = HttpClient,
        *,
        breaker: BreakerPolicy | None = None,
        retry: RetryPolicy | None = None,
        draw: float = 0.5,
        **limits: float,
    ) -> None:
        self.draw = draw
        """What the dice always show."""
        self.clock = WallClock()
        self.changes: list[BreakerChange] = []
        self.timers = TimerQueue()
        self.limits = ClientLimits(**limits)  # type: ignore[arg-type]  # ints where ints belong
        self.client = client(
            self.limits, H11Codec(), self.timers, id_prefix="t", breaker=breaker, retry=retry,
            random=lambda: self.draw, clock=self.clock,
        )  # fmt: skip
        self.now = 100.0
        self.resolving: list[Resolve] = []
        self.connecting: list[Connect] = []
        self.abandoned: list[str] = []
        self.open: list[ClientConnection] = []
        self.closed: list[ClientConnection] = []
        self.news: list[ClientCall] = []
        self.wire: dict[ClientConnection, bytes] = {}
        """What was sent on each connection."""
        self.send_at_once = True

    def pump(self) -> None:
        while (output := self.client.next_output()) is not None:
            if isinstance(output, Resolve):
                self.resolving.append(output)
            elif isinstance(output, Connect):
                self.connecting.append(output)
            elif isinstance(output, AbandonConnect):
                self.abandoned.append(output.attempt_id)
                self.connecting = [c for c in self.connecting if c.attempt_id != output.attempt_id]
            elif isinstance(output, ClientCall):
                self.news.append(output)
            elif isinstance(output, BreakerChange):
                self.changes.append(output)
            elif output.wants_close is Close.NO:
                if self.send_at_once:
                    self.flush(output)
            elif output in self.open:
                self.open.remove(output)
                self.closed.append(output)

    def flush(self, conn: ClientConnection) -> None:
        while data := conn.data_to_send():
            self.wire[conn] = self.wire.get(conn, b"") + data
            self.client.data_sent(conn, len(data), self.now)
        self.pump()

    def call(
        self,
        url: str = URL,
        method: str = "GET",
        body: bytes = b"",
        *,
        timeouts: Timeouts = NO_TIMEOUTS,
        stream: bool = False,
        deadline: float = INFINITY,
        streams: bool = False,
        content_length: int | None = None,
        decode: bool | None = None,
    ) -> ClientCall:
        request = ClientRequest(
            method, url, (), body, streams=streams, content_length=content_length, decode=decode
        )
        call = self.client.request(request, timeouts, self.now, stream=stream, deadline=deadline)
        self.pump()
        return call

    def resolve(self, *addresses: tuple[str, int]) -> None:
        self.client.resolved(self.resolving.pop(0).id, list(addresses), self.now)
        self.pump()

    def connect(self, index: int = 0) -> ClientConnection:
        attempt = self.connecting.pop(index)
        conn = self.client.connected(attempt.attempt_id, self.now)
        assert conn is not None
        self.open.append(conn)
        self.pump()
        return conn

    def refuse(self, index: int = 0, reason: str = "refused") -> None:
        attempt = self.connecting.pop(index)
        self.client.connect_failed(attempt.attempt_id, OSError(reason), self.now)
        self.pump()

    def feed(self, conn: ClientConnection, data: bytes) -> None:
        self.client.receive_data(conn, data, self.now)
        self.pump()

    def eof(self, conn: ClientConnection) -> None:
        self.client.receive_eof(conn, self.now)
        self.pump()

    def lose(self, conn: ClientConnection) -> None:
        self.client.connection_lost(conn, self.now)
        self.pump()

    def cancel(self, call: ClientCall) -> None:
        self.client.cancel(call, self.now)
        self.pump()

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (at := self.timers.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            timed = self.timers.next_due(self.now)
            assert timed is not None
            timed.handle_timeout(self.now)
            assert timed.deadline > self.now
            self.timers.watch(timed)
            self.pump()
        self.now = end

    def take(self, call: ClientCall) -> bytes | None:
        piece = self.client.take_body(call, self.now)
        self.pump()
        return piece

    def exchange(self, url: str = URL, answer: bytes = OK) -> ClientConnection:
        """One whole call on a new connection, which is returned idle."""
        call = self.call(url)
        conn = self.connect()
        self.feed(conn, answer)
        assert call.response is not None
        return conn

    def check_nothing_left(self) -> None:
        """After every call has ended and the client is closed."""
        self.client.close(self.now)
        self.pump()
        pool = self.client.pool
        assert (pool.slots, pool.idle, len(pool.blocked), len(pool.origins)) == (0, 0, 0, 0)
        assert len(self.timers) == 0
        assert self.client.unfinished == 0
        assert self.open == []
        assert self.connecting == []
