"""What the load generator is asked, and what it tells: lines of JSON between two processes.

Durations in seconds, sizes in bytes.
"""

from typing import Literal

import msgspec

from pipebus_cli.bench.run import Quantiles

STAMPED: int = 16_384
"""Bodies of up to so many bytes carry their connection and turn, so that no answer passes for another."""
_STAMP = b"pipebus bench: connection %07d, turn %d. "


class Place(msgspec.Struct, frozen=True):
    """Where the server listens."""

    family: int
    """`AF_INET`, `AF_INET6` or `AF_UNIX`."""
    address: str
    """An IP address, or the path of the socket."""
    port: int
    tls_name: str | None = None
    """What its certificate is for; None: no TLS."""
    authorities: str | None = None
    """A PEM file to trust in place of the system's."""
    insecure: bool = False
    """Do not check its certificate."""


class Message(msgspec.Struct, frozen=True):
    """The request."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    """Host included; Content-Length is added."""
    body_bytes: int | None = None
    """None: no body, or that of `body_file`."""
    body_file: str | None = None
    echoes: bool = False
    """An answer's body must be the request's."""
    status: int | None = None
    """What an answer's status must be; None: 200 to 299."""


class Job(msgspec.Struct, frozen=True):
    """One phase of load."""

    place: Place
    message: Message
    connections: int
    loop: Literal["closed", "open"] = "closed"
    rate: float | None = None
    """Open loop: requests a second; None: all `count` at once."""
    spacing: Literal["fixed", "poisson"] = "fixed"
    duration: float | None = None
    """Requests are sent for so long, after the warm-up."""
    count: int | None = None
    """So many requests, after the warm-up; with `duration`: whichever ends first."""
    warmup: float = 0.0
    timeout: float = 10.0
    """Of a request, and of opening a connection."""
    failures: int = 10
    """So many in a row, without an answer in between, and a connection is given up."""
    seed: int = 0
    tick: float = 1.0


class Began(msgspec.Struct, frozen=True, tag=True):
    """The warm-up is over, nothing is under way: it goes on, and counts, after a byte of input."""


class Ticked(msgspec.Struct, frozen=True, tag=True):
    """One interval; see `run.Tick`."""

    at_s: float
    length_s: float
    requests: int
    errors: int
    p50_s: float | None
    p99_s: float | None


class Done(msgspec.Struct, frozen=True, tag=True):
    """The end; see `run.Phase` for what is not explained here."""

    duration_s: float
    requests: int
    errors: dict[str, int]
    statuses: dict[str, int]
    bytes_sent: int
    bytes_received: int
    connections_opened: int
    client_cpu_s: float
    latency: Quantiles
    service: Quantiles | None
    per_client: list[int]
    answers: int
    """All that came whole since it was measured, right or not: what the server counts, too."""
    first_error: str = ""
    """What went wrong first, in words."""
    gave_up: bool = False
    """No connection was left: each had failed too often, one time after the other."""


Told = Began | Ticked | Done


def request(message: Message, body: bytes | None) -> bytes:
    """Return the request as it goes over the wire."""
    fields = list(message.headers)
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"{message.method} {message.target} HTTP/1.1\r\n{lines}\r\n"
    return head.encode("latin-1") + (body or b"")


def pattern(size: int) -> bytes:
    """Return a body of `size` bytes that is text."""
    line = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"
    return (line * (size // len(line) + 1))[:size]


def stamp(body: bytes, connection: int, turn: int) -> bytes:
    """Return `body` with its beginning replaced by whose it is; cut where it is shorter."""
    mark = _STAMP % (connection, turn)
    return (mark + body[len(mark) :])[: len(body)]
