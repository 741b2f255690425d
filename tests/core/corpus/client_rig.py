"""An engine's HTTP client without sockets or clock: the test is the name server and the server."""

from collections.abc import Iterable
from typing import Any, Final

from pipebus.bus.event import Event
from pipebus.engine.actions import Flush
from pipebus.engine.calls import HttpCall
from pipebus.engine.engine import Engine
from pipebus.http.client import ClientConnection, ClientRequest, Connect, Resolve
from pipebus.http.client_response import ClientResponse
from pipebus.http.server_events import Close
from pipebus.http.wire import WireCodec
from pipebus.limits import ClientLimits, Timeouts
from pipebus.pipeline.declare import Pipeline
from tests.core.corpus.case import MAX_BODY, MAX_FIELDS, MAX_HEAD

LIMITS: Final = ClientLimits(
    max_head=MAX_HEAD, max_fields=MAX_FIELDS, max_body=MAX_BODY, max_informational=10
)


class Link:
    """One connection as the server sees it."""

    def __init__(self, attempt: Connect) -> None:
        self.attempt = attempt
        self.conn: ClientConnection | None = None
        self.sent = bytearray()
        """What the client wrote."""
        self.closed = ""


class ClientRig:
    """`call` starts a call; `serve`, `eof`, `lost` and `wait` are the server's moves."""

    def __init__(self, wire: WireCodec) -> None:
        self.now = 1000.0
        self.links: list[Link] = []
        self.engine = Engine(
            Pipeline[Any](), wire=wire, id_prefix="c", now=self.now,
            client_limits=LIMITS, timeouts=Timeouts(total=500.0),
        )  # fmt: skip
        self.engine.start(None, self.now)
        self._events = self.engine.subscribe("net.http.client.>", self.now)

    def call(self, request: ClientRequest) -> HttpCall:
        """Start a call and carry it as far as the client can go alone."""
        call = self.engine.http(request, self.now)
        self._pump()
        return call

    def upload(self, call: HttpCall, *chunks: bytes) -> None:
        """Send the body of a request that streams, to its end."""
        for chunk in chunks:
            room = self.engine.upload_ready(call, self.now)
            assert room.done
            self.engine.upload_chunk(call, chunk, self.now)
            self._pump()
        self.engine.upload_end(call, self.now)
        self._pump()

    @property
    def link(self) -> Link:
        """The newest connection."""
        return self.links[-1]

    def serve(self, pieces: Iterable[bytes], link: Link) -> None:
        """Send bytes to the client, as far as it still reads."""
        for piece in pieces:
            if link.closed or link.conn is None:
                return
            assert link.conn.wants_read
            self.engine.receive_data(link.conn, piece, self.now)
            self._pump()

    def eof(self, link: Link) -> None:
        """Shut the server's sending side."""
        if not link.closed and link.conn is not None:
            self.engine.receive_eof(link.conn, self.now)
            self._pump()

    def lost(self, link: Link) -> None:
        """Reset the connection."""
        if not link.closed and link.conn is not None:
            self.engine.connection_lost(link.conn, self.now)
            self._pump()

    def wait(self) -> None:
        """Let time pass to the next deadline."""
        deadline = self.engine.next_deadline()
        assert deadline is not None
        self.now = deadline
        self.engine.handle_timeout(self.now)
        self._pump()

    def topics(self) -> tuple[str, ...]:
        """Return what was published under `net.http.client`; to be asked once."""
        found = []
        while (call := self.engine.next_event(self._events, self.now)).done:
            assert isinstance(call.value, Event)
            found.append(call.value.type)
        return tuple(found)

    def _pump(self) -> None:
        while (action := self.engine.next_action()) is not None:
            if isinstance(action, Resolve):
                self.engine.resolved(action.id, [("192.0.2.7", action.port)], self.now)
            elif isinstance(action, Connect):
                link = Link(action)
                self.links.append(link)
                link.conn = self.engine.connected(action.attempt_id, link, self.now)
            elif isinstance(action, Flush) and isinstance(action.link, ClientConnection):
                self._flush(action.link)

    def _flush(self, conn: ClientConnection) -> None:
        (link,) = (link for link in self.links if link is conn.token)
        if link.closed:
            return
        link.conn = conn
        while conn.wants_close is not Close.RESET and (data := conn.data_to_send()):
            link.sent += data
            self.engine.data_sent(conn, len(data), self.now)
        if conn.wants_close is not Close.NO:
            link.closed = "reset" if conn.wants_close is Close.RESET else "close"
            self.engine.connection_lost(conn, self.now)


def response_of(call: HttpCall) -> ClientResponse:
    """Return what a finished call gave."""
    assert call.done
    assert call.error is None
    assert isinstance(call.value, ClientResponse)
    return call.value
