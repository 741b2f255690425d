"""One connection of a load: opened without blocking, written, read, closed."""

import errno
import os
import socket
import ssl
from typing import Final

from pipebus_cli.bench.answer import AnswerReader
from pipebus_cli.bench.job import Place

CONNECTING, HANDSHAKE, IDLE, BUSY, WAITING, GONE = range(6)
"""`WAITING` to be opened again; `GONE`: it failed too often."""

_PIECE: Final = 262_144
WANTS_MORE: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Link:
    """A connection and the request that is under way on it."""

    __slots__ = (
        "answered", "due", "failures", "fd", "number", "reader", "requests", "retry_at", "sent", "sock",
        "state", "turn", "unsent",
    )  # fmt: skip

    number: int
    requests: list[tuple[bytes, bytes | None]]
    reader: AnswerReader
    state: int
    turn: int
    """Which of `requests` is next."""
    sock: socket.socket | None
    fd: int
    due: float
    """When the request under way should have been sent."""
    sent: float
    """When it was; while the connection is opened: when that began."""
    retry_at: float
    failures: int
    """Since the last answer."""
    answered: int
    """Requests that were answered rightly, and count."""
    unsent: memoryview | None
    """What is left to send of the request under way."""

    def __init__(
        self, number: int, requests: list[tuple[bytes, bytes | None]], reader: AnswerReader
    ) -> None:
        """Send `requests` in turn, each with the body that its answer must have, or None."""
        self.number = number
        self.requests = requests
        self.reader = reader
        self.state = WAITING
        self.turn = 0
        self.sock = None
        self.fd = -1
        self.due = 0.0
        self.sent = 0.0
        self.retry_at = 0.0
        self.failures = 0
        self.answered = 0
        self.unsent = None

    def open(self, place: Place) -> None:
        """Begin to connect; raises `OSError`."""
        sock = socket.socket(place.family, socket.SOCK_STREAM)
        self.sock = sock
        sock.setblocking(False)
        if place.family == socket.AF_UNIX:
            where: str | tuple[str, int] = place.address
        else:
            where = (place.address, place.port)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        status = sock.connect_ex(where)
        if status not in (0, errno.EINPROGRESS):
            raise OSError(status, os.strerror(status))
        self.fd = sock.fileno()
        self.state = CONNECTING

    def connect(self, tls: ssl.SSLContext | None, name: str | None) -> None:
        """Go on with connecting: it is done when the state is `IDLE`.

        Raises `OSError`; one of `WANTS_MORE` where TLS waits for the other side.
        """
        sock = self.sock
        assert sock is not None
        if self.state == CONNECTING:
            status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, os.strerror(status))
            if tls is not None:
                # It takes the descriptor over, which keeps its number.
                sock = tls.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
                self.sock = sock
            self.state = HANDSHAKE
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        self.state = IDLE

    def start(self) -> int:
        """Send the next request, as much as is taken; return how many bytes that was."""
        sock = self.sock
        assert sock is not None
        data, expected = self.requests[self.turn]
        self.turn = (self.turn + 1) % len(self.requests)
        self.reader.begin(expected)
        self.state = BUSY
        if len(data) <= _PIECE:
            try:
                taken = sock.send(data)
            except OSError:
                # The server has gone, or is about to; what it said before is still to be read.
                taken = 0
            if taken == len(data):
                return taken
            self.unsent = memoryview(data)[taken:]
            return taken
        self.unsent = memoryview(data)
        return self.send_more()

    def send_more(self) -> int:
        """Send more of a request that was not taken whole; return how many bytes that was.

        `unsent` is None once it is gone; also when the server reads no more, which is not known to
        be wrong before its answer has been read.
        """
        assert self.sock is not None
        assert self.unsent is not None
        try:
            taken = self.sock.send(self.unsent[:_PIECE])
        except WANTS_MORE:
            return 0
        except OSError:
            self.unsent = None
            self.reader.keep = False
            return 0
        self.unsent = self.unsent[taken:] or None
        return taken

    def close(self) -> None:
        """Close the socket, whatever state it is in."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            self.fd = -1
        self.unsent = None
