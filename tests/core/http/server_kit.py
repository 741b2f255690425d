"""A server connection at hand: its events as short words, its bytes as they go out."""

from typing import Final

from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import (
    Bad,
    BodyComplete,
    BodyReceived,
    Close,
    HeadReceived,
    ServerEvent,
)
from pipebus.http.wire import RawHeaders, WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Limits
from pipebus.wall_clock import WallClock

DATE: Final = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
TEXT: Final[RawHeaders] = [(b"a", b"b")]

GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
OLD: Final = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT: Final = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
EXPECT: Final = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

SMALL: Final = Limits(
    max_request_line=200,
    max_head=1000,
    max_fields=10,
    read_ahead=64,
    write_high_water=400,
)


def word(event: ServerEvent) -> object:
    """Return an event as something short to compare."""
    match event:
        case HeadReceived():
            return "head"
        case BodyReceived():
            return event.data
        case BodyComplete():
            return ("body", event.body)
        case Bad():
            return event.status
    return type(event).__name__


class Rig:
    """One connection, its clock and shorthands."""

    def __init__(
        self, limits: Limits = SMALL, now: float = 0.0, wire: WireCodec | None = None
    ) -> None:
        self.now = now
        self.conn = ServerConnection(limits, wire or H11Codec(), WallClock(), now)

    def events(self) -> list[object]:
        """Pull all events there are."""
        words = []
        while (event := self.conn.next_event()) is not None:
            words.append(word(event))
        return words

    def feed(self, *pieces: bytes) -> list[object]:
        """Receive pieces and return the events."""
        for piece in pieces:
            self.conn.receive_data(piece, self.now)
        return self.events()

    def read(self, *, max_body: int | None = None, collect: bool = True) -> list[object]:
        """Read the body and return the events."""
        self.conn.read_body(self.now, max_body=max_body, collect=collect)
        return self.events()

    def answer(self, status: int = 200, body: bytes | None = b"hi") -> bool:
        """Send a response with one field."""
        return self.conn.send_response(status, TEXT, body, self.now)

    def flush(self) -> bytes:
        """Send everything that waits and return it."""
        data = b""
        while piece := self.conn.data_to_send():
            data += piece
            self.conn.data_sent(len(piece), self.now)
        return data

    def after(self, seconds: float) -> None:
        """Let time pass and the connection handle what is due on the way."""
        end = self.now + seconds
        while self.conn.deadline <= end:
            self.now = self.conn.deadline
            self.conn.handle_timeout(self.now)
            assert self.conn.deadline > self.now
        self.now = end

    def closing(self) -> Close:
        """Say how the connection wants to close."""
        return self.conn.wants_close

    def reading(self) -> bool:
        """Say whether it wants input."""
        return self.conn.wants_read

    def serve(self, request: bytes = GET, body: bytes = b"hi") -> bytes:
        """Take one whole request, answer it, and return the bytes."""
        assert self.feed(request) == ["head"]
        (complete,) = self.read()
        assert complete[0] == "body"  # type: ignore[index]  # a word of this kit
        self.answer(body=body)
        assert self.events() == ["Done"]
        return self.flush()


def response(fields: bytes = b"", body: bytes = b"hi", status: bytes = b"200 OK") -> bytes:
    """Return the bytes of the kit's response; `fields` end the head."""
    return b"HTTP/1.1 " + status + b"\r\na: b\r\n" + DATE + fields + b"\r\n" + body


LENGTH_2: Final = b"content-length: 2\r\n"
SAYS_CLOSE: Final = b"connection: close\r\n"
