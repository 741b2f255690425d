"""A play of requests that come as they were sent, and of handlers that return what they like."""

from collections.abc import Callable
from typing import Final

from pipebus.bus.exchange import Exchange
from pipebus.errors import HTTPError, RequestTimeout
from pipebus.http.dispatch import Dispatch
from pipebus.http.response import Response
from pipebus.http.session import RouteTarget
from tests.core.dispatch.play import KINDS, Play
from tests.core.dispatch.world import streamed

MORE_KINDS: Final = KINDS | {
    "empty": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    "kept": b"GET /plain/%d HTTP/1.1\r\nconnection:Keep-Alive\t\r\nhost:  h \r\n\r\n",
    "query": b"GET /plain/%d?a=b?c HTTP/1.1\r\nHost: h\r\nTraceparent: x\r\n\r\n",
    "traced": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    "for one": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "for another": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 5.6.7.8\r\n"
    b"X-Request-ID: its-own\r\nContent-Length: 2\r\n\r\nab",
    "put": b"PUT /stream/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd",
    "expecting": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
    b"Expect: 100-continue\r\n\r\nab",
    "absolute": b"GET http://h/plain/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "not allowed": b"DELETE /plain/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "bad path": b"GET /plain/%d%%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    "big head": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 400 + b"\r\n\r\n",
    "long line": b"GET /plain/%d" + b"0" * 150 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "fields": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\n" + b"a:\r\n" * 14 + b"\r\n",
    "surplus": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\n\r\nGET",
    "short": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nabcdef",
    "twice": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "bare": b"GET /plain/%d HTTP/1.1\nHost: h\n\n",
    "nobody": b"GET /nobody/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "crlf": b"\r\n%d",
    "two": b"GE%d",
}


def spoiled(**changes: object) -> Callable[[], Response]:
    """Make what a handler may make of a response after it was checked."""

    def response() -> Response:
        made = Response(200, b"good", {"a": "b"})
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    return response


def with_field(name: bytes, value: bytes) -> Callable[[], Response]:
    def response() -> Response:
        made = Response(200, b"good")
        made.headers.raw.append((name, value))
        return made

    return response


class OwnBytes(bytes):
    """Bytes of another class."""


REPLIES: Final[dict[str, Callable[[], object]]] = {
    "plain": lambda: Response(200, b"hello", {"X-A": "b", "Content-Type": "text/plain"}),
    "nothing": Response,
    "error": lambda: Response(503, b"no"),
    "unregistered": lambda: Response(299, b"ok"),
    "below high water": lambda: Response(200, bytes(20)),
    "in one write": lambda: Response(200, bytes(64 * 1024)),
    "in two writes": lambda: Response(200, bytes(64 * 1024 + 1)),
    "in many writes": lambda: Response(200, bytes(600_000)),
    "204": lambda: Response(204),
    "205": lambda: Response(205),
    "304": lambda: Response(304),
    "streamed": streamed,
    "none": lambda: None,
    "bad name": with_field(b"a b", b"c"),
    "bad value": with_field(b"a", b"b\r\nc"),
    "own field": with_field(b"Content-Length", b"4"),
    "upper case": with_field(b"X-Upper", b"c"),
    "100": spoiled(status=100),
    "600": spoiled(status=600),
    "no status": spoiled(status="200"),
    "odd status": spoiled(status=[]),
    "204 with a body": spoiled(status=204),
    "bytearray": spoiled(body=bytearray(b"good")),
    "own bytes": spoiled(body=OwnBytes(b"good")),
    "text": spoiled(body="good"),
    "no headers": spoiled(headers=None),
    "no pairs": with_field(b"a", None),  # type: ignore[arg-type]  # what a program may do
}
ERRORS: Final[list[Callable[[], Exception]]] = [
    lambda: ValueError("secret"),
    lambda: HTTPError(418, "short"),
    lambda: RequestTimeout("late"),
]


class WholePlay(Play):
    """The play; see also `Play`."""

    def __init__(self, dispatch: type[Dispatch], **settings: object) -> None:
        fixed: dict[str, object] = {"write_timeout": 5.0, "max_head": 300, "max_request_line": 150}
        super().__init__(pieces=0, dispatch=dispatch, **(fixed | settings))  # type: ignore[arg-type]  # see Play
        nobody = self.world.bus.group("nobody", routed=False)
        self.world.routes.add(
            "GET /nobody/{n}", RouteTarget(nobody, "/nobody/{n}", timeout=10.0, max_body=1000)
        )

    def wanted(self, kind: object, index: int) -> bytes:
        """Count a request that is sent and return its bytes."""
        if self.peers[index].ended and not self.world.drain.drained:
            self.finished(index)
        self.asked[index] += 1
        return MORE_KINDS[str(kind)] % self.asked[index]

    def ask(self, index: int, kind: object) -> None:
        data = self.wanted(kind, index)
        self.unsent[index] += data
        self.deliver(index, len(self.unsent[index]))

    def begin(self, index: int, kind: object) -> None:
        self.unsent[index] += self.wanted(kind, index)
        self.deliver(index, 30)

    def pipeline(self, index: int, kinds: object) -> None:
        assert isinstance(kinds, tuple)
        self.unsent[index] += b"".join(self.wanted(kind, index) for kind in kinds)
        self.deliver(index, len(self.unsent[index]))

    def gulp(self, index: int, size: object) -> None:
        assert isinstance(size, int)
        self.peers[index].gulp = size

    def ahead(self, index: int, _: object) -> None:
        """The peer has shut its side; what it sent before was not read yet."""
        peer = self.peers[index]
        if not peer.ended:
            self.world.dispatch.eof_ahead(peer.session, self.world.now)
            self.world.pump()

    def answer(self, index: int, name: object) -> None:
        if (exchange := self.pick(index)) is not None:
            self.world.bus.reply(exchange, REPLIES[str(name)](), self.world.now)
            self.world.finish(exchange)

    def fails(self, index: int, which: object) -> None:
        assert isinstance(which, int)
        if (exchange := self.pick(index)) is not None:
            self.world.fail(ERRORS[which](), exchange)

    def inline(self, _: int, name: object) -> None:
        """From now on handlers answer on the spot."""

        def answer(exchange: Exchange) -> None:
            self.exchanges.append(exchange)
            world = self.world
            world.started.remove(exchange)
            world.bus.reply(exchange, REPLIES[str(name)](), world.now)
            assert exchange.responder is not None
            world.bus.released(exchange.responder, world.now)

        self.world.on_start = self.exchanges.append if name is None else answer

    def listen(self, _: int, topic: object) -> None:
        """A tap comes."""
        world = self.world
        world.taps.append(world.bus.subscribe(str(topic), world.now, kind="tap"))

    def check_order(self, index: int) -> None:
        """What is answered here says nothing of what was asked."""
