"""The shape of a corpus entry: what a peer sends, and all that must come of it."""

from dataclasses import dataclass
from typing import Final, Literal

End = Literal["keep-alive", "close", "linger-close", "close/linger", "silent"]
"""How the connection ends. `close/linger`: with a linger if more bytes than were answered are there
already (RFC 9112 section 9.6), else without. `silent`: a close without one byte after the last
answer of `statuses`, because the request in progress can no longer be answered."""

Then = Literal["probe", "eof", "wait"]
"""What the client does after its last byte: send one more good request (after `keep-alive`; else
nothing), shut its sending side, or stay still until the server's next deadline."""

Got = tuple[str, str, bytes]
"""A request as the handler sees it: method, raw target, body."""

REQUEST: Final = "net.http.request"
RESPONSE: Final = "net.http.response"
ERROR: Final = "net.http.error"

MAX_REQUEST_LINE: Final = 512
MAX_HEAD: Final = 2048
MAX_FIELDS: Final = 20
MAX_BODY: Final = 1000
"""The corpus's `Limits`: small, so that feeding a byte at a time stays cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCase:
    """Bytes for a server whose one route, any method and any path, echoes the body with 200."""

    id: str
    rule: str
    """RFC number, section, and what it asks, in our words."""
    sends: tuple[bytes, ...]
    """Flights: before the next one the client waits until the server has nothing more to say."""
    statuses: tuple[int, ...]
    """Answers in order, 1xx included."""
    end: End
    events: tuple[str, ...]
    """Topics under `net.http`, in order."""
    then: Then = "probe"
    got: tuple[Got, ...] | None = None
    """What the handler saw; None: not stated by this case."""
    bodiless: frozenset[int] = frozenset()
    """Indexes of answers that end with their head: to HEAD, and 1xx."""
    early_body: bool = False
    """Whether a 100 depends on how the bytes were cut (the body came unasked): it is not counted."""

    @property
    def bytes(self) -> bytes:
        """Everything sent."""
        return b"".join(self.sends)


def ok(
    id: str,  # noqa: A002 (the field's name)
    rule: str,
    *sends: bytes,
    got: tuple[Got, ...] | None = None,
    statuses: tuple[int, ...] = (200,),
    end: End = "keep-alive",
    events: tuple[str, ...] | None = None,
    then: Then = "probe",
    bodiless: frozenset[int] = frozenset(),
    early_body: bool = False,
) -> ServerCase:
    """Build a case whose every request is dispatched and answered."""
    if events is None:
        events = (REQUEST, RESPONSE) * sum(status >= 200 for status in statuses)
    return ServerCase(
        id=id, rule=rule, sends=sends, statuses=statuses, end=end, events=events, then=then,
        got=got, bodiless=bodiless, early_body=early_body,
    )  # fmt: skip


def bad(
    id: str,  # noqa: A002 (the field's name)
    rule: str,
    *sends: bytes,
    status: int = 400,
    then: Then = "probe",
    after: int = 0,
    bodiless: frozenset[int] = frozenset(),
) -> ServerCase:
    """Build a case that is refused before dispatch, after `after` good requests."""
    return ServerCase(
        id=id, rule=rule, sends=sends, statuses=(200,) * after + (status,), end="linger-close",
        events=(REQUEST, RESPONSE) * after + (RESPONSE,), then=then, bodiless=bodiless,
    )  # fmt: skip


def silent(
    id: str,  # noqa: A002 (the field's name)
    rule: str,
    *sends: bytes,
    after: int = 0,
    then: Then = "eof",
) -> ServerCase:
    """Build a case that closes without an answer to the unfinished message."""
    return ServerCase(
        id=id, rule=rule, sends=sends, statuses=(200,) * after, end="silent",
        events=(REQUEST, RESPONSE) * after, then=then,
    )  # fmt: skip


ClientEnd = Literal["reuse", "close", "reset"]
"""What becomes of the connection: back to the pool, closed, or reset."""

CLIENT_REQUEST: Final = "net.http.client.request"
CLIENT_RESPONSE: Final = "net.http.client.response"
CLIENT_ERROR: Final = "net.http.client.error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCase:
    """Bytes from a server for one call, `method` of http://h/x."""

    id: str
    rule: str
    receives: tuple[bytes, ...]
    """Flights: before the next one the client has handled the last."""
    outcome: int | str
    """The response's status, or the name of the error's class."""
    end: ClientEnd
    body: bytes | None = b""
    """As the caller sees it, decoded; None after an error."""
    method: str = "GET"
    then: Literal["stay", "eof", "lost", "wait"] = "stay"
    """What the server does after its last byte; `wait`: nothing, to the client's next deadline."""
    fields: tuple[tuple[str, str], ...] = ()
    """Fields that the caller must see, in order; others may be among them."""
    events: tuple[str, ...] = (CLIENT_REQUEST, CLIENT_RESPONSE)
    """Topics under `net.http.client`, in order."""

    @property
    def bytes(self) -> bytes:
        """Everything received, with the method that it answers."""
        return self.method.encode() + b" " + b"".join(self.receives)


def got(
    id: str,  # noqa: A002 (the field's name)
    rule: str,
    *receives: bytes,
    body: bytes = b"",
    status: int = 200,
    end: ClientEnd = "reuse",
    method: str = "GET",
    then: Literal["stay", "eof", "lost", "wait"] = "stay",
    fields: tuple[tuple[str, str], ...] = (),
) -> ClientCase:
    """Build a case whose call gets its response."""
    return ClientCase(
        id=id, rule=rule, receives=receives, outcome=status, body=body, end=end, method=method,
        then=then, fields=fields,
    )  # fmt: skip


def broken(
    id: str,  # noqa: A002 (the field's name)
    rule: str,
    *receives: bytes,
    error: str = "UpstreamProtocolError",
    end: ClientEnd = "reset",
    method: str = "GET",
    then: Literal["stay", "eof", "lost", "wait"] = "stay",
) -> ClientCase:
    """Build a case whose call fails."""
    return ClientCase(
        id=id, rule=rule, receives=receives, outcome=error, body=None, end=end, method=method,
        then=then, events=(CLIENT_REQUEST, CLIENT_ERROR),
    )  # fmt: skip
