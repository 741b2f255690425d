"""The usual response in one go: everything must come out as it does the long way."""

import gzip
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.http.client import ClientCall, ClientConnection, HttpClient
from pipebus.http.content_decoding import content_decoder
from pipebus.http.framing import keep_alive
from pipebus.http.head_check import check_response_head, usual_response_length
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Timeouts
from tests.core.http_client.world import OK, World

CALLS: Final[dict[str, dict[str, object]]] = {
    "get": {},
    "post": {"method": "POST", "body": b"body"},
    "head": {"method": "HEAD"},
    "stream": {"stream": True},
    "upload": {"method": "PUT", "streams": True},
    "undecoded": {"decode": False},
    "other": {"url": "http://10.0.0.2/y"},
    "short": {"deadline": 104.0},
    "clocks": {"timeouts": Timeouts(read=2.0, write=1.0, total=9.0)},
}
BODY: Final = b"content-length: 2\r\n\r\nhi"
ANSWERS: Final[dict[str, bytes]] = {
    "ok": OK,
    "nothing": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n" + BODY,
    "error": b"HTTP/1.1 503 d\xe9j\xe0\tvu\r\nRetry-After: 1\r\n" + BODY,
    "fields": b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\t\r\nTE: x\r\ndate:\r\nCookie: \xff\r\n"
    + BODY,
    "205": b"HTTP/1.1 205 OK\r\n" + BODY,
    "204": b"HTTP/1.1 204 OK\r\ncontent-length: 2\r\n\r\n",
    "304": b"HTTP/1.1 304 OK\r\ncontent-length: 2\r\n\r\n",
    "1xx": b"HTTP/1.1 103 Early\r\n\r\n" + OK,
    "early": b"HTTP/1.1 103 Early\r\n\r\n",
    "600": b"HTTP/1.1 600 OK\r\n" + BODY,
    "1.0": b"HTTP/1.0 200 OK\r\n" + BODY,
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + BODY,
    "both": b"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n" + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "two ways": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + BODY,
    "until close": b"HTTP/1.1 200 OK\r\n\r\nhi",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n" + BODY,
    "list": b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi",
    "gzip": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 25\r\n\r\n"
    + gzip.compress(b"hello", mtime=0),
    "folded": b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n" + BODY,
    "bare": b"HTTP/1.1 200 OK\na: b\r\n" + BODY,
    "surplus": OK + b"H",
    "cut": OK[:-1],
    "two": b"HT",
    "fits": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 4 + BODY,
    "too many": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 5 + BODY,
    "long": b"HTTP/1.1 200 OK\r\na: " + b"b" * 40 + b"\r\n" + BODY,
    "too long": b"HTTP/1.1 200 OK\r\na: " + b"b" * 80 + b"\r\n" + BODY,
    "large": b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n" + b"b" * 60,
    "too large": b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + b"b" * 101,
    "huge": b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999999999\r\n\r\n",
    "nonsense": b"nonsense\r\n\r\n",
}
IN_ONE_GO: Final = {"ok", "nothing", "no reason", "error", "fields", "205", "fits", "long", "large"}


class LongWay(HttpClient):
    """Takes nothing in one go."""

    __slots__ = ()

    def _receive_whole(self, conn: ClientConnection, data: bytes, now: float) -> bool:
        return False


class ShortWay(HttpClient):
    """Counts what is taken in one go: a comparison that takes nothing shows nothing."""

    __slots__ = ("taken",)

    def _receive_whole(self, conn: ClientConnection, data: bytes, now: float) -> bool:
        taken = super()._receive_whole(conn, data, now)
        self.taken = getattr(self, "taken", 0) + taken
        return taken


class Play(World):
    """A world whose steps are named, and do nothing where they are not possible."""

    def __init__(self, client: type[HttpClient]) -> None:
        super().__init__(
            client, max_connections=2, max_idle_per_origin=1, max_waiting=2, idle_timeout=7.0,
            max_head=100, max_fields=5, max_body=100, max_informational=1,
        )  # fmt: skip
        self.calls: list[ClientCall] = []
        self.conns: list[ClientConnection] = []

    def do(self, step: str, index: int) -> None:
        if step in CALLS:
            self.calls.append(self.call(**CALLS[step]))  # type: ignore[arg-type]  # by name
        elif step == "connect" and self.connecting:
            self.conns.append(self.connect())
        elif step == "pause":
            self.send_at_once = not self.send_at_once
        elif step == "drain":
            self.client.drain(self.now)
            self.pump()
        elif step == "wait":
            self.wait(0.7)
        elif step == "cancel" and self.calls:
            self.cancel(self.calls[index % len(self.calls)])
        elif self.open:
            conn = self.open[index % len(self.open)]
            if step in ANSWERS:
                self.feed(conn, ANSWERS[step])
            elif step == "flush":
                self.flush(conn)
            elif step == "send some":
                self.client.data_sent(conn, min(3, len(conn.data_to_send())), self.now)
                self.pump()
            elif step == "eof":
                self.eof(conn)
            elif step == "lose":
                self.lose(conn)

    def seen(self) -> Iterator[object]:
        """Yield all that can be told of how things stand."""
        for call in self.calls:
            head, response, error = call.head, call.response, call.error
            yield (
                call.id, call.state, call.done, call.body_done, call.upload_done, call.reused,
                call.upload_paused, call.retried, call.deadline, call.timings,
                call.connection is None, call.dial is None, head, repr(error),
            )  # fmt: skip
            yield None if response is None else (
                response.status, response.reason, response.http_version, response.headers,
                response.body, response.method, response.url, response.timings,
            )  # fmt: skip
        for conn in self.conns:
            yield (
                conn._cycle.state, conn.deadline, conn.deadline_reason, conn.out.size, conn.served,
                conn.reusable, conn.handed_over, conn.gave_bytes, conn.idle_since, conn.wants_close,
                conn.wants_read, conn.owner is None, conn.noted, conn.peer_gone,
                list(conn._events), self.wire.get(conn),
            )  # fmt: skip
        client = self.client
        yield [call.id for call in self.news]
        yield [getattr(client.stats, name) for name in type(client.stats).__slots__]
        yield client.pool.slots, client.pool.idle, len(client.pool.blocked), client.unfinished
        yield self.timers.next_deadline(), self.timers.deadline_reason, len(self.timers)


def play_both(script: list[tuple[str, int]]) -> int:
    """Play a script both ways and compare after each step; return how many went in one go."""
    short, long = Play(ShortWay), Play(LongWay)
    for step, index in script:
        short.do(step, index)
        long.do(step, index)
        for one, other in zip(short.seen(), long.seen(), strict=True):
            assert one == other, step
    short.check_nothing_left()
    assert isinstance(short.client, ShortWay)
    return getattr(short.client, "taken", 0)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", ["get", "post", "undecoded"])
def test_each_answer(call: str, answer: str) -> None:
    answered = [(call, 0), ("connect", 0), (answer, 0)]
    assert play_both(answered) == (answer in IN_ONE_GO)
    play_both([*answered, ("wait", 0), ("get", 0), ("connect", 0), ("ok", 0)])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([("head", 0), ("connect", 0)], []),
        ([("stream", 0), ("connect", 0)], []),
        ([("upload", 0), ("connect", 0)], []),
        ([("pause", 0), ("get", 0), ("connect", 0)], []),
        ([("pause", 0), ("get", 0), ("connect", 0), ("send some", 0)], [("flush", 0)]),
        ([("get", 0), ("connect", 0), ("ok", 0)], []),
        ([("get", 0), ("connect", 0), ("cut", 0)], []),
    ],
)
def test_when_it_is_not_what_is_waited_for(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    assert play_both([*before, ("ok", 0), *after]) == (before[-1] == ("ok", 0))


def test_who_waits_is_next() -> None:
    waiting = [("get", 0)] * 4
    assert play_both([*waiting, ("connect", 0), ("connect", 0), *[("ok", 0)] * 3, ("ok", 1)]) == 4


def test_another_origin_is_next() -> None:
    begun = [("get", 0), ("get", 0), ("other", 0), ("connect", 0), ("connect", 0)]
    assert play_both([*begun, ("ok", 0), ("connect", 0), ("ok", 1)]) == 2


def test_none_is_kept_in_a_drain() -> None:
    assert play_both([("get", 0), ("connect", 0), ("drain", 0), ("ok", 0)]) == 1


usual = st.sampled_from(["get", "post", "connect", "ok", "ok", "nothing", "get", "wait", "connect"])
steps = st.one_of(
    usual,
    usual,
    st.sampled_from([*CALLS]),
    st.sampled_from([*ANSWERS]),
    st.sampled_from(["pause", "flush", "send some", "cancel", "eof", "lose", "wait"]),
)


@given(script=st.lists(st.tuples(steps, st.integers(0, 3)), min_size=5, max_size=50))
@settings(max_examples=150)
def test_any_life(script: list[tuple[str, int]]) -> None:
    play_both(script)


FIELDS: Final = [
    b"content-length: 2", b"Content-Length:5\t", b"content-length: 0", b"content-length: +1",
    b"content-length: 2, 2", b"content-lengthy: 7", b"Connection: keep-alive", b"connection: close",
    b"connection: x", b"connectio: close", b"transfer-encoding: chunked", b"TRANSFER-ENCODING: x",
    b"transfer-encodin: x", b"content-encoding: gzip", b"Content-Encoding:", b"content-type: x",
    b"Host: a", b"a: \xe9\tb", b"a :b", b": b", b"a: \x00", b" folded", b"a: b\nc: d", b"x:",
]  # fmt: skip
LINES: Final = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 500", b"HTTP/1.1 204 No", b"HTTP/1.1 304 Not", b"HTTP/1.0 200 OK",
    b"HTTP/1.1 101 Up", b"HTTP/1.1 100 Go", b"HTTP/1.1 600 X", b"HTTP/1.1  200 OK", b"HTTP/1.1 20 O",
    b"http/1.1 200 OK", b"HTTP/1.1 200 \x7f",
]  # fmt: skip


@given(
    line=st.one_of(st.just(LINES[0]), st.sampled_from(LINES)),
    fields=st.lists(st.sampled_from(FIELDS), max_size=5),
)
@settings(max_examples=500)
def test_a_usual_head_is_what_the_checks_one_by_one_say(line: bytes, fields: list[bytes]) -> None:
    raw = b"\r\n".join([line, *fields, b"", b""])
    length = usual_response_length(raw)
    if length >= 0:
        framing = check_response_head(raw)
        assert (framing.kind, framing.length) == ("length" if length else "none", length)
        head = H11Codec().parse_response_head(raw)
        assert keep_alive(head.http_version, head.headers)
        assert content_decoder(head.headers) is None
        assert 200 <= head.status <= 599
        assert head.status not in {204, 304}


@pytest.mark.parametrize("field", FIELDS[:3])
@pytest.mark.parametrize("other", [b"content-lengthy: 7", b"connectio: close", b"Host: a", b"x:"])
def test_heads_that_are_usual(field: bytes, other: bytes) -> None:
    length = int(field.partition(b":")[2])
    for fields in ([field], [field, other], [other, field], [other, field, other]):
        raw = b"\r\n".join([LINES[0], *fields, b"", b""])
        assert usual_response_length(raw) == length
