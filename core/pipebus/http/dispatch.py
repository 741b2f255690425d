"""Message -> event -> exchange -> message. Knows the bus and no bytes."""

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.http.drain import Drain
from pipebus.http.message import Address, Response
from pipebus.http.routes import Routes
from pipebus.http.session import BodyStream, RouteTarget, Session
from pipebus.http.wire import WireCodec
from pipebus.limits import Limits
from pipebus.resilience.admission import Admission
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

Output = Session | BodyStream | Exchange


class Dispatch:
    """Every server connection of a bus: requests in, exchanges opened, answers out.

    Inputs, by the driver through the engine: `opened`, `receive_data`, `receive_eof`,
    `connection_lost` (always the last one, however the socket came to its end), `data_sent`.
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
    ) -> None: ...

    def opened(self, client: Address, tls: bool, token: object, now: float) -> Session:
        """Take a connection that was accepted at `now` (before any TLS handshake)."""

    def receive_data(self, session: Session, data: bytes, now: float) -> None:
        """Take bytes from the peer."""

    def receive_eof(self, session: Session, now: float) -> None:
        """Note that the peer shut its sending side."""

    def connection_lost(self, session: Session, now: float) -> None:
        """Note that the socket is gone: closed by the driver as asked, reset, or failed."""

    def data_sent(self, session: Session, count: int, now: float) -> None:
        """Note that the operating system took `count` bytes of `data_to_send`."""

    def handler_began(self, exchange: Exchange, now: float) -> None:
        """Note that a handler of `exchange` starts now (the edge between queue and handler)."""

    def exchange_ended(self, exchange: Exchange, now: float) -> None:
        """Answer a session's exchange that has ended; harmless when it was answered before."""

    def start_stream(self, exchange: Exchange, response: Response, now: float) -> bool:
        """Send the head of a streamed `response`.

        True: iterate the body now, and call `stream_chunk` for each piece. False: do not, close
        it: the exchange has ended, or the response has no content (HEAD, 204, 304).
        """

    def stream_chunk(self, exchange: Exchange, chunk: bytes, now: float) -> bool:
        """Send a piece of the body; False: wait until `next_output` returns this exchange.

        Raises `StreamInterrupted` once the exchange has ended, `LocalProtocolError` for more bytes
        than the response's `content_length`: report that by `stream_failed`.
        """

    def stream_end(self, exchange: Exchange, now: float) -> None:
        """End the body; the exchange is `replied` (`failed` if bytes are missing)."""

    def stream_failed(self, exchange: Exchange, error: BaseException, now: float) -> None:
        """Cut the body so that the peer sees it; the exchange is `failed`."""

    def publisher_resumed(self, session: Session, now: float) -> None:
        """Note that the session's publisher has nothing parked any more."""

    def drain(self, now: float) -> None:
        """Begin the drain: see `Drain`."""

    def next_output(self, now: float) -> Output | None:
        """Return what changed, or None.

        A `Session`: flush it and look at `wants_read` and `wants_close`. A `BodyStream`: it has
        news for its reader. An `Exchange`: its streamed response may be written again (or has
        ended: look at `outcome`).
        """
