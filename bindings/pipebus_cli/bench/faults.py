"""What clients and handlers do wrong, and what must come of it.

Each case is one connection. What is sent is either beyond doubt wrong for any server, or `strict`:
what a specification or our own table of answers says, and checked only where the server is ours.
"""

import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pipebus_cli.bench.answer import AnswerReader, Malformed
from pipebus_cli.bench.job import Place, pattern
from pipebus_cli.bench.load import tls_context
from pipebus_cli.bench.run import Check
from pipebus_cli.bench.target import Target
from pipebus_cli.errors import explain

FAILING: Final = "/pipebus-bench/fail"
SLOW: Final = "/pipebus-bench/slow"
PATIENCE: Final = 0.5
"""How long our server waits for a head, a body and a handler, in seconds."""
FLAGS: Final = tuple(
    word
    for name in ("head-timeout", "body-timeout", "request-timeout")
    for word in (f"--{name}", str(PATIENCE))
)

CLOSED: Final = 0
"""In place of a status: the connection was closed without an answer."""
_BODY: Final = pattern(10_000)
_HOST: Final = b"Host: localhost\r\n"
_REFUSED: Final = frozenset({CLOSED, *range(400, 500), 501, 505})


@dataclass(frozen=True)
class Wrong:
    """Something that is sent, and the statuses that are right then."""

    name: str
    data: bytes
    expected: frozenset[int]
    strict: bool = False
    kept: bool = False
    """The connection must serve the next request."""


def _wrong(name: str, data: bytes, *statuses: int, kept: bool = False) -> Wrong:
    return Wrong(name, data, frozenset(statuses), strict=True, kept=kept)


def _fields(*fields: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


MALFORMED: Final = (
    Wrong("a line that is no request", b"\x16\x03\x01 nonsense\r\n\r\n", _REFUSED),
    Wrong(
        "two lengths",
        _fields(_HOST[:-2], b"Content-Length: 5", b"Content-Length: 6") + b"hello",
        _REFUSED,
    ),
    Wrong(
        "a length that is no number",
        _fields(_HOST[:-2], b"Content-Length: five") + b"hello",
        _REFUSED,
    ),
    Wrong(
        "a chunk whose size is no number",
        _fields(_HOST[:-2], b"Transfer-Encoding: chunked") + b"five\r\nhello\r\n0\r\n\r\n",
        _REFUSED,
    ),
    Wrong("a name with a space", _fields(_HOST[:-2], b"Content-Length : 0"), _REFUSED),
    _wrong("no Host (RFC 9112 section 3.2)", _fields(b"Content-Length: 0"), 400),
    _wrong(
        "a length and chunks (RFC 9112 section 6.1)",
        _fields(_HOST[:-2], b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    _wrong(
        "an unknown coding (RFC 9112 section 6.1)",
        _fields(_HOST[:-2], b"Transfer-Encoding: lzw, chunked"),
        501,
    ),
    _wrong("another version", _fields(_HOST[:-2], line=b"GET / HTTP/3.0"), 505),
    _wrong("a head without end", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, 431),
    _wrong("a target without end", b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n", 414),
    _wrong("a body that is too large", _fields(_HOST[:-2], b"Content-Length: 99999999999"), 413),
)
HANDLERS: Final = (
    _wrong(
        "a handler that fails",
        _fields(_HOST[:-2], b"Content-Length: 0", line=f"POST {FAILING} HTTP/1.1".encode()),
        500,
        kept=True,
    ),
    _wrong(
        "a handler that takes too long",
        _fields(_HOST[:-2], b"Content-Length: 0", line=f"POST {SLOW} HTTP/1.1".encode()),
        504,
        kept=True,
    ),
)
SLOW_CLIENTS: Final = (
    _wrong("a head that does not go on", b"GET / HTTP/1.1\r\nHost: loc", 408),
    _wrong(
        "a body that does not go on",
        _fields(_HOST[:-2], b"Content-Length: 10000") + _BODY[:5000],
        408,
    ),
)
NORMAL: Final = _fields(_HOST[:-2], b"Content-Length: 10000") + _BODY
_DROPS: Final = (
    ("before a request", b""),
    ("in a head", NORMAL[:20]),
    ("in a body", NORMAL[:-5000]),
    ("before the answer", NORMAL),
)


class Faults:
    """Does all that is wrong, one after the other, to a server."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._place = target.place
        self._timeout = timeout
        self._ours = target.ours
        self._tls = tls_context(target.place)

    def run(self) -> list[Check]:
        """Return what came of each."""
        cases = [*MALFORMED, *HANDLERS, *SLOW_CLIENTS]
        checks = [self._check(case) for case in cases if self._ours or not case.strict]
        drops = [
            self._drop(f"a connection {how} {where}", data, reset=how == "reset")
            for where, data in _DROPS
            for how in ("closed", "reset")
        ]
        return checks + drops

    def _check(self, case: Wrong) -> Check:
        try:
            with self._connected() as sock:
                status = self._exchange(sock, case.data)
                again = self._exchange(sock, NORMAL) if case.kept and status else 200
        except (OSError, Malformed) as error:
            return Check(case.name, ok=False, detail=explain(error))
        wanted = " or ".join("closed" if s == CLOSED else str(s) for s in sorted(case.expected)[:3])
        if status not in case.expected:
            return Check(case.name, ok=False, detail=f"{_said(status)}, not {wanted}")
        if again != 200:
            return Check(case.name, ok=False, detail=f"the next request there: {_said(again)}")
        return Check(case.name, ok=True, detail=_said(status))

    def _drop(self, name: str, data: bytes, *, reset: bool) -> Check:
        """Go away, and see that the server is there for the next one."""
        try:
            with self._connected() as sock:
                sock.sendall(data)
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with self._connected() as sock:
                status = self._exchange(sock, NORMAL)
        except (OSError, Malformed) as error:
            return Check(name, ok=False, detail=f"the next request: {explain(error)}")
        # Whatever a server says to this path and method: it is there.
        ok = status == 200 if self._ours else status != CLOSED
        return Check(name, ok=ok, detail=f"the next request: {_said(status)}")

    def _connected(self) -> socket.socket:
        return connect(self._place, self._tls, self._timeout)

    def _exchange(self, sock: socket.socket, data: bytes) -> int:
        """Send, and return the status of the answer, or `CLOSED`; raises `OSError`, `Malformed`."""
        reader = AnswerReader()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before
            sock.sendall(data)
        while True:
            try:
                piece = sock.recv(65_536)
            except ConnectionResetError:
                return reader.status
            if not piece:
                return reader.status if reader.eof() else CLOSED
            if reader.feed(piece):
                return reader.status


def connect(place: Place, tls: ssl.SSLContext | None, timeout: float) -> socket.socket:
    """Return a connection that blocks for at most `timeout` seconds at a time."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        unix = place.family == socket.AF_UNIX
        sock.connect(place.address if unix else (place.address, place.port))
        return sock if tls is None else tls.wrap_socket(sock, server_hostname=place.tls_name)
    except BaseException:
        sock.close()
        raise


def _said(status: int) -> str:
    return "closed" if status == CLOSED else f"status {status}"
