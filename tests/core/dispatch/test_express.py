"""The usual request in one go: everything must come out as it does the long way."""

from collections.abc import Callable
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.bus.exchange import Exchange
from pipebus.errors import HTTPError, RequestTimeout
from pipebus.http.dispatch import Dispatch
from pipebus.http.response import Response
from pipebus.http.session import RouteTarget
from tests.core.bus.long_bus import LongBus
from tests.core.dispatch import play
from tests.core.dispatch.both_ways import LongWay, ShortWay, at_hand, compare, happened
from tests.core.dispatch.play import KINDS, Script
from tests.core.dispatch.world import streamed

MORE_KINDS: Final = KINDS | {
    "empty": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    "kept": b"GET /plain/%d HTTP/1.1\r\nconnection:Keep-Alive\t\r\nhost:  h \r\n\r\n",
    "query": b"GET /plain/%d?a=b?c HTTP/1.1\r\nHost: h\r\nTraceparent: x\r\n\r\n",
    "traced": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
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
USUAL: Final = ["get", "get", "post", "empty", "kept", "query", "busy", "nobody"]


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
NOT_REQUESTS: Final = ("net.http.response", "net.http.error", "net.connection.>", "pipebus.>")
"""With these watched nobody listens to requests, and bodies may go the short way, too."""


class WholePlay(play.Play):
    """A play whose requests come as they were sent, and whose handlers return what they like."""

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


peers = st.integers(0, 2)
handlers = st.integers(0, 3)
kinds = st.sampled_from(sorted(MORE_KINDS))
usual = st.sampled_from(USUAL)
replies = st.sampled_from(sorted(REPLIES))
good_replies = st.sampled_from(["plain", "nothing", "error"])


def act(
    name: str, index: st.SearchStrategy[int], argument: st.SearchStrategy[object] | None = None
) -> st.SearchStrategy[tuple[str, int, object]]:
    return st.tuples(st.just(name), index, st.none() if argument is None else argument)


often = st.one_of(
    act("ask", peers, usual),
    act("ask", peers, usual),
    act("answer", handlers, good_replies),
    act("answer", handlers, replies),
)
seldom = st.one_of(
    act("ask", peers, kinds),
    act("begin", peers, kinds),
    act("deliver", peers, st.integers(1, 100)),
    act("pipeline", peers, st.tuples(usual, kinds)),
    act("fails", handlers, st.integers(0, 2)),
    act("stream", handlers, st.sampled_from([None, 3])),
    act("chunk", handlers, st.integers(1, 40)),
    act("end", handlers),
    act("cut", handlers),
    act("take", handlers),
    act("wait", peers, st.sampled_from([0.4, 1.0, 3.0])),
    act("wait", peers, st.just(11.0)),
    act("shut", peers),
    act("ahead", peers),
    act("reset", peers),
    act("read", peers, st.booleans()),
    act("gulp", peers, st.sampled_from([0, 1, 50, 1000])),
    act("observe", peers),
    act("observe", peers),
    act("cancel", handlers),
    act("inline", peers, st.one_of(st.none(), replies)),
    act("listen", peers, st.sampled_from(["net.http.request", "net.http.response"])),
)
# Not `one_of`, which would give each of the many seldom ones the weight of an often one.
acts = st.sampled_from([often, often, often, seldom]).flatmap(lambda which: which)
scripts = st.lists(acts, min_size=15, max_size=60)
rooms = st.fixed_dictionaries(
    {},
    optional={
        "max_in_flight": st.just(1),
        "max_buffered": st.just(8),
        "max_connections": st.just(2),
        "max_fields": st.just(13),
        "read_ahead": st.just(1000),
        "publish_timeout": st.sampled_from([3.0, 30.0]),
        "write_high_water": st.just(100_000),
        "watched": st.sampled_from([NOT_REQUESTS, ("net.http.request",)]),
        "listens": st.sampled_from(["net.http.response", "net.connection.>", "nothing"]),
    },
)


class Pair:
    """One script, both ways at once: every step is compared."""

    def __init__(self, **settings: object) -> None:
        self.short = WholePlay(ShortWay, **settings)
        self.long = WholePlay(LongWay, bus=LongBus, **settings)

    def run(self, script: Script) -> None:
        for step in script:
            self.short.run([step])
            self.long.run([step])
            compare(at_hand(self.short.world), at_hand(self.long.world), step)
        for one in (self.short, self.long):
            one.leave()
        compare(happened(self.short.world), happened(self.long.world), "all")


@settings(max_examples=150)
@given(script=scripts, room=rooms)
def test_both_ways_are_the_same(script: Script, room: dict[str, object]) -> None:
    Pair(**room).run(script)


@settings(max_examples=50)
@given(script=scripts, at=st.integers(0, 30), room=rooms)
def test_both_ways_are_the_same_while_it_drains(
    script: Script, at: int, room: dict[str, object]
) -> None:
    Pair(**room).run([*script[:at], ("drain", 0, None), *script[at:]])
