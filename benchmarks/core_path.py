"""What the core itself costs: bytes in, bytes out, in one process, no socket and no loop.

    python -m benchmarks.core_path [PART ...]

Prints microseconds of process CPU time for one operation, with each wire codec and with none. Each
figure is the best of many short batches: the smallest is the one that other work on the machine
disturbed least.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.engine.actions import Flush, Run
from pipebus.engine.engine import Engine
from pipebus.engine.invocation import Invocation
from pipebus.http.client import Connect, HttpClient
from pipebus.http.client_request import ClientRequest
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import HeadReceived
from pipebus.http.wire import HTTP_11, RequestHead, ResponseHead, WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.rate_limit import RateLimit
from pipebus.timers import TimerQueue
from pipebus.wall_clock import WallClock

BATCH = 200
SECONDS_PER_PART = 2.0

BODY = b"x" * 230
REQUEST = (
    b"POST /echo HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 230\r\n\r\n" + BODY
)
TEN_FIELDS = (
    b"POST /echo HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 230\r\nOrigin: http://localhost:8000\r\n"
    b"Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 230\r\n\r\n" + BODY

Operation = Callable[[float], object]
"""One operation at a moment (`now`, in seconds)."""


class NoCodec:
    """Knows the one request and the one response: what is left is the core's own cost."""

    name = "none"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        """Return the benchmark's request head."""
        fields = [
            (b"host", b"localhost:8000"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"230"),
        ]
        return RequestHead("POST", b"/echo", HTTP_11, fields)

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        """Return the benchmark's response head."""
        fields = [(b"content-type", b"text/plain"), (b"content-length", b"230")]
        return ResponseHead(200, b"OK", HTTP_11, fields)


def new_bus() -> Bus:
    return Bus(id_prefix="b", limits=Limits(), timers=TimerQueue(), clock=WallClock())


def publish_and_take(others: int) -> Operation:
    """One subscription that matches; `others` that do not."""
    bus = new_bus()
    publisher = Publisher("bench")
    sub = bus.subscribe("orders.created", 0.0)
    for number in range(others):
        bus.subscribe(f"orders.other{number}", 0.0)

    def run(now: float) -> None:
        bus.publish("orders.created", None, now, publisher=publisher)
        bus.take(sub, now)

    return run


def request_and_reply() -> Operation:
    """An exchange from `open` to its outcome and its slot given back."""
    bus = new_bus()
    publisher = Publisher("bench")
    bus.add_responder(bus.group("orders.price"), concurrency=10, handler=None)

    def run(now: float) -> None:
        bus.open("orders.price", None, now, deadline=now + 30.0, publisher=publisher)
        exchange = bus.next_output()
        assert isinstance(exchange, Exchange)
        assert exchange.responder is not None
        bus.reply(exchange, None, now)
        bus.next_output()
        bus.released(exchange.responder, now)

    return run


def request_head(codec: WireCodec, data: bytes) -> Operation:
    """The codec alone, on one head."""
    parse = codec.parse_request_head
    return lambda now: parse(data)


def response_head(codec: WireCodec) -> Operation:
    parse = codec.parse_response_head
    head = RESPONSE.removesuffix(BODY)
    return lambda now: parse(head)


def server_bytes(codec: WireCodec) -> Operation:
    """A server connection alone: request bytes in, response bytes out."""
    conn = ServerConnection(Limits(), codec, WallClock(), 0.0)
    fields = [(b"content-type", b"text/plain")]

    def run(now: float) -> None:
        conn.receive_data(REQUEST, now)
        while (event := conn.next_event()) is not None:
            if isinstance(event, HeadReceived):
                conn.read_body(now, max_body=1024, collect=True)
        conn.send_response(200, fields, BODY, now)
        while conn.next_event() is not None:
            pass
        conn.data_sent(len(conn.data_to_send()), now)
        conn.next_request(now)

    return run


def echo(request: Request) -> Response:
    return Response(200, request.body, {"content-type": "text/plain"})


async def echo_later(request: Request) -> Response:
    raise AssertionError("the benchmark completes it by hand")


def engine_path(codec: WireCodec, *, inline: bool, **options: Any) -> Operation:
    """The whole engine, bytes to bytes, with an echo handler; `options` are the engine's.

    Inline: the handler is called in the pump. Else as a task: it is begun in the pump and completed
    after it, as a binding's task does.
    """
    pipeline: Pipeline[None] = Pipeline()
    pipeline.route("/{rest...}")(echo if inline else echo_later)
    engine = Engine(pipeline, wire=codec, id_prefix="x", now=0.0, **options)
    engine.start(None, 0.0)
    link = engine.accepted(client=("127.0.0.1", 1), tls=False, token=None, now=0.0)
    tasks: list[Invocation] = []

    def finish(invocation: Invocation, now: float) -> None:
        engine.complete(invocation, echo(invocation.arguments[0]), now)
        engine.ended(invocation, now)

    def pump(now: float) -> None:
        while (action := engine.next_action()) is not None:
            if isinstance(action, Flush):
                while data := link.data_to_send():
                    engine.data_sent(link, len(data), now)
            elif isinstance(action, Run):
                engine.begin(action.invocation, now)
                if inline:
                    finish(action.invocation, now)
                else:
                    tasks.append(action.invocation)

    def run(now: float) -> None:
        engine.receive_data(link, REQUEST, now)
        pump(now)
        if not inline:
            finish(tasks.pop(), now)
            pump(now)

    return run


def operated() -> dict[str, Any]:
    """Return the options of an engine with all that an operator may ask for, but for spans."""
    limits = Limits(max_in_flight_per_client=100, max_connections_per_client=100, max_loop_lag=1.0)
    return {
        "limits": limits,
        "rate_limit": RateLimit(1e6),
        "trusted_proxies": ["10.0.0.0/8"],
        "request_id": True,
        "server_timing": True,
    }


def client_cycle(codec: WireCodec) -> Operation:
    """One call of the HTTP client on a pooled connection; the request is made anew each time."""
    client = HttpClient(ClientLimits(), codec, TimerQueue(), id_prefix="c")
    timeouts = Timeouts()
    fields = {"content-type": "text/plain"}

    def request() -> ClientRequest:
        return ClientRequest("POST", "http://127.0.0.1/echo", fields, BODY)

    client.request(request(), timeouts, 0.0)
    connect = client.next_output()
    assert isinstance(connect, Connect)
    conn = client.connected(connect.attempt_id, 0.0)
    assert conn is not None

    def answer(now: float) -> None:
        while client.next_output() is not None:
            pass
        client.data_sent(conn, len(conn.data_to_send()), now)
        client.receive_data(conn, RESPONSE, now)
        while client.next_output() is not None:
            pass

    def run(now: float) -> None:
        call = client.request(request(), timeouts, now)
        answer(now)
        assert call.response is not None

    answer(0.0)
    return run


PARTS: dict[str, Callable[[], Operation]] = {
    "bus: publish + take, 1 subscription": lambda: publish_and_take(0),
    "bus: publish + take, 1,000 others": lambda: publish_and_take(1_000),
    "bus: request / reply": request_and_reply,
}
CODECS: tuple[WireCodec, ...] = (NoCodec(), H11Codec(), LlhttpCodec())
WIRE_PARTS: dict[str, Callable[[WireCodec], Operation]] = {
    "request head, 3 fields": lambda codec: request_head(codec, REQUEST.removesuffix(BODY)),
    "request head, 10 fields": lambda codec: request_head(codec, TEN_FIELDS),
    "response head, 2 fields": response_head,
    "server connection": server_bytes,
    "engine, def": lambda codec: engine_path(codec, inline=True),
    "engine, async def": lambda codec: engine_path(codec, inline=False),
    "client call": client_cycle,
}


def measure(operation: Operation) -> float:
    """Return the microseconds that one operation takes, of the fastest batch."""
    clock = time.process_time
    now = 1.0
    best = float("inf")
    end = clock() + SECONDS_PER_PART
    while True:
        begin = clock()
        if begin > end:
            return best / BATCH * 1e6
        for _ in range(BATCH):
            now += 1e-4
            operation(now)
        best = min(best, clock() - begin)


def main() -> None:
    wanted = sys.argv[1:]

    def picked(name: str) -> bool:
        return not wanted or any(word in name for word in wanted)

    for name, part in PARTS.items():
        if picked(name):
            print(f"{name:<40}{measure(part()):7.2f} us")
    if any(map(picked, WIRE_PARTS)):
        print(" " * 40, *(f"{codec.name:>7}" for codec in CODECS), sep="")
    for name, wire_part in WIRE_PARTS.items():
        if picked(name):
            figures = [measure(wire_part(codec)) for codec in CODECS]
            print(f"{name:<40}", *(f"{figure:7.2f}" for figure in figures), " us", sep="")


if __name__ == "__main__":
    main()
