"""Raw clients of a simulated server, and what they make of its answers: h11 reads them."""

from typing import NamedTuple

import h11

from pipebus.testing.network import End

Answer = tuple[int, bytes]


class Asked(NamedTuple):
    """A request that a peer sends."""

    method: str
    path: str
    body: bytes
    data: bytes
    """As it goes over the wire."""
    good: bool = True
    """Whether it breaks no rule."""


class Peer:
    """One connection of a raw client: what it will send, and what came back."""

    def __init__(self, name: str, asked: list[Asked]) -> None:
        self.name = name
        self.asked = asked
        self.end: End | None = None
        self.sent = 0
        """Bytes of all its requests that went out."""

    @property
    def data(self) -> bytes:
        """All that it has to say."""
        return b"".join(request.data for request in self.asked)

    @property
    def received(self) -> bytes:
        return b"" if self.end is None else bytes(self.end.received)

    def begun(self) -> int:
        """Count the requests of which at least one byte went out."""
        at = count = 0
        for request in self.asked:
            if at < self.sent:
                count += 1
            at += len(request.data)
        return count


def read_answers(peer: Peer) -> tuple[list[Answer], bytes]:
    """Return the whole final responses that a peer received, and what follows the last.

    Raises h11's error if that is not what a server may send.
    """
    rest, answers = peer.received, list[Answer]()
    for request in peer.asked:
        if not rest:
            break
        conn = h11.Connection(h11.CLIENT)
        # A server that never saw a whole head does not know that it was HEAD.
        unread = rest.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
        method = "GET" if unread else request.method
        conn.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        conn.send(h11.EndOfMessage())
        conn.receive_data(rest)
        answer = _read_one(conn)
        if answer is None:
            return answers, rest
        answers.append(answer)
        rest = conn.trailing_data[0]
    return answers, rest


def _read_one(conn: h11.Connection) -> Answer | None:
    status, body = 0, bytearray()
    while True:
        event = conn.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        elif event is h11.NEED_DATA:
            return None
        else:
            assert isinstance(event, h11.InformationalResponse), event
