"""A script of what happens to three connections, and its play."""

from collections.abc import Iterator, Sequence
from typing import Final

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.subscription import Subscription
from pipebus.errors import StreamInterrupted
from pipebus.http.dispatch import Dispatch
from pipebus.http.message import RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.http.session import BodyStream
from tests.core.dispatch.world import Peer, World, streamed

KINDS: Final = {
    "get": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "head": b"HEAD /plain/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "old": b"GET /plain/%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "post": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabcdef",
    "chunked": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\n",
    "upload": b"PUT /stream/%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n",
    "busy": b"GET /busy/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "last": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "unknown": b"GET /nothing/%d HTTP/1.1\r\nHost: h\r\n\r\n",
    "bad": b"GET /plain/%d HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "too large": b"POST /plain/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n",
}

Script = list[tuple[str, int, object]]


class Play:
    """Runs a script; `pieces` bytes at a time (0: as they were delivered).

    A lossless subscriber listens to `listens`, with little room.
    """

    def __init__(
        self,
        *,
        pieces: int,
        dispatch: type[Dispatch] = Dispatch,
        watched: Sequence[str] = ("net.>", "pipebus.>"),
        bus: type[Bus] = Bus,
        listens: str = "net.http.>",
        **limits: object,
    ) -> None:
        fixed: dict[str, object] = {
            "max_in_flight": 3,
            "request_timeout": 10.0,
            "half_close_grace": 1.0,
            "stream_idle": 3.0,
            "body_timeout": 5.0,
            "head_timeout": 6.0,
            "idle_timeout": 20.0,
            "write_timeout": 9.0,
            "publish_timeout": 8.0,
            "grace": 4.0,
            "read_ahead": 6,
            "write_high_water": 30,
        }
        self.world = world = World(dispatch, watched, bus, **(fixed | limits))
        self.pieces = pieces
        world.route("GET /plain/{n}")
        world.route("POST /plain/{n}", concurrency=1, queue=1)
        world.route("PUT /stream/{n}", stream=True)
        world.route("GET /busy/{n}", concurrency=1, queue=0)
        self.subscriber: Subscription = world.bus.subscribe(listens, world.now, maxsize=4)
        self.peers: list[Peer] = [world.connect() for _ in range(3)]
        self.unsent = [b"", b"", b""]
        self.asked = [0, 0, 0]
        self.streams: list[Exchange] = []
        self.exchanges: list[Exchange] = []
        world.on_start = self.exchanges.append

    def run(self, script: Script) -> None:
        for name, index, argument in script:
            self.world.wait(0.001)  # so that no two deadlines fall together
            getattr(self, name)(index, argument)
            self.check()

    def check(self) -> None:
        """What is true at every moment."""
        world = self.world
        for session in world.dispatch.sessions.values():
            earliest = session.conn.deadline
            if session.exchange is not None:
                assert session.exchange.outcome is None
                earliest = min(earliest, session.exchange.deadline)
            assert session.deadline <= min([earliest, *session.timers.values()])
        counts = world.bus.counts
        assert counts.opened == sum(counts.outcomes.values()) + world.bus.open_exchanges
        assert world.admission.in_flight == world.bus.open_exchanges <= 3
        assert world.admission.bodies.held <= world.limits.max_buffered

    # --- the peers ---

    def ask(self, index: int, kind: object) -> None:
        self.begin(index, kind)
        self.deliver(index, len(self.unsent[index]))

    def begin(self, index: int, kind: object) -> None:
        peer = self.peers[index]
        if peer.ended and not self.world.drain.drained:
            self.finished(index)
        self.asked[index] += 1
        self.unsent[index] += KINDS[str(kind)] % self.asked[index]
        self.deliver(index, 30)

    def finished(self, index: int) -> None:
        self.check_order(index)
        self.peers[index] = self.world.connect()
        self.unsent[index] = b""

    def deliver(self, index: int, size: object) -> None:
        assert isinstance(size, int)
        now, self.unsent[index] = self.unsent[index][:size], self.unsent[index][size:]
        if now:
            self.peers[index].send(now, pieces=self.pieces)

    def shut(self, index: int, _: object) -> None:
        self.unsent[index] = b""
        self.peers[index].shut()

    def reset(self, index: int, _: object) -> None:
        self.unsent[index] = b""
        self.peers[index].reset()

    def read(self, index: int, reads: object) -> None:
        self.peers[index].reads = bool(reads)
        if reads:
            self.peers[index].read_again()

    # --- the handlers ---

    def pick(self, index: int) -> Exchange | None:
        started = self.world.started
        return started[index % len(started)] if started else None

    def number(self, exchange: Exchange) -> bytes:
        request = exchange.request.data
        assert isinstance(request, RequestInfo)
        return request.path_params["n"].encode()

    def reply(self, index: int, _: object) -> None:
        if (exchange := self.pick(index)) is not None:
            self.world.reply(Response(200, self.number(exchange)), exchange)

    def fail(self, index: int, _: object) -> None:
        if (exchange := self.pick(index)) is not None:
            self.world.fail(ValueError("secret"), exchange)

    def nonsense(self, index: int, _: object) -> None:
        if (exchange := self.pick(index)) is not None:
            self.world.reply("no response", exchange)

    def cancel(self, index: int, _: object) -> None:
        """Somebody cancels the exchange on the bus."""
        if (exchange := self.pick(index)) is not None:
            self.world.bus.cancel(exchange, "caller", self.world.now)
            self.world.pump()

    def stream(self, index: int, length: object) -> None:
        if (exchange := self.pick(index)) is None:
            return
        if self.world.stream(streamed(content_length=length), exchange):
            self.streams.append(exchange)

    def streaming(self, index: int) -> Exchange | None:
        return self.streams[index % len(self.streams)] if self.streams else None

    def chunk(self, index: int, size: object) -> None:
        exchange = self.streaming(index)
        if exchange is None:
            return
        assert isinstance(size, int)
        try:
            self.world.dispatch.stream_chunk(exchange, b"s" * size, self.world.now)
        except StreamInterrupted:
            assert exchange.outcome is not None
            self.streams.remove(exchange)
        except Exception as error:  # noqa: BLE001 (whatever it is goes back in, as an engine does)
            self.world.dispatch.stream_failed(exchange, error, self.world.now)
        self.world.pump()

    def end(self, index: int, _: object) -> None:
        if (exchange := self.streaming(index)) is not None:
            self.streams.remove(exchange)
            self.world.dispatch.stream_end(exchange, self.world.now)
            self.world.pump()

    def cut(self, index: int, _: object) -> None:
        if (exchange := self.streaming(index)) is not None:
            self.streams.remove(exchange)
            self.world.dispatch.stream_failed(exchange, ValueError("secret"), self.world.now)
            self.world.pump()

    def take(self, index: int, _: object) -> None:
        exchange = self.pick(index)
        if exchange is not None and isinstance(exchange.request.data, StreamRequest):
            body = exchange.request.data.body_state
            assert isinstance(body, BodyStream)
            body.take(self.world.now)
            bound = self.world.limits.read_ahead
            assert body.size <= bound + 8  # and the piece that went over it
            self.world.pump()

    # --- the rest ---

    def observe(self, _: int, __: object) -> None:
        self.subscriber_takes()

    def subscriber_takes(self) -> bool:
        event = self.world.bus.take(self.subscriber, self.world.now)
        self.world.pump()
        return event is not None

    def wait(self, _: int, seconds: object) -> None:
        assert isinstance(seconds, float)
        self.world.wait(seconds)

    def drain(self, _: int, __: object) -> None:
        self.world.dispatch.drain(self.world.now)
        self.world.pump()

    # --- the end ---

    def check_order(self, index: int) -> None:
        """Answers come in the order of the requests, at most one for each."""
        numbers = [int(body) for _, body in whole(self.peers[index].received) if body.isdigit()]
        assert numbers == sorted(set(numbers))
        assert len(heads(self.peers[index].received)) <= self.asked[index]
        assert b"secret" not in self.peers[index].received

    def close(self) -> None:
        """Let everybody leave; nothing may be left of them, and all that was asked has an end."""
        self.leave()
        world = self.world
        asked = [event.id for event in world.of("net.http.request")]
        ends = [
            event.correlation_id
            for event in world.events
            if event.type in ("net.http.response", "net.http.error") and event.causation_id
        ]
        assert sorted(asked) == sorted(ends)
        assert world.bus.counts.opened == len(asked)

    def leave(self) -> None:
        """Let everybody leave; nothing may be left of them."""
        world = self.world
        for index, peer in enumerate(self.peers):
            self.check_order(index)
            peer.reset()
        for exchange in list(world.started):
            world.finish(exchange)
        while self.subscriber_takes():
            pass
        world.wait(60.0)
        world.assert_nothing_left()
        for target in (exchange.responder for exchange in self.exchanges):
            assert target is not None
            assert target.running == 0
        assert world.bus.counts.opened == sum(world.bus.counts.outcomes.values())
        sub = self.subscriber
        assert sub.matched == sub.delivered + sum(sub.dropped.values())

    def seen(self) -> list[object]:
        """What has to be the same, connection by connection, however the bytes were cut."""
        return [
            [
                (name, event.type, event.subject, *facts(event.data))
                for name in self.world.peers
                for event in self.world.events
                if event.source == name and event.type.startswith("net.http")
            ],
            [peer.received for peer in self.world.peers.values()],
            self.world.bus.counts.outcomes,
        ]


def facts(data: object) -> Iterator[object]:
    for name in ("status", "outcome", "reason", "bytes_in", "bytes_out", "stages"):
        yield getattr(data, name, None)


def heads(received: bytes) -> list[int]:
    """Return the statuses of the final responses that began."""
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    return [status for status in statuses if status >= 200]


def whole(received: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield status and body of those with a Content-Length, up to the first that was cut."""
    for part in received.split(b"HTTP/1.1 ")[1:]:
        head, _, body = part.partition(b"\r\n\r\n")
        if b"content-length: " in head.lower():
            yield int(head[:3]), body
