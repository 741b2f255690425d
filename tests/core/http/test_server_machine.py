"""Random bytes, calls and clocks against one server connection: what always holds."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipebus.errors import LocalProtocolError
from pipebus.http import cycle
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import (
    Bad,
    BodyComplete,
    Close,
    Done,
    HeadReceived,
    PeerGone,
)
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import INFINITY, Limits
from pipebus.wall_clock import WallClock
from tests.core.http.server_kit import (
    CHUNKED,
    CONTINUE,
    EXPECT,
    GET,
    OLD,
    OLD_KEPT,
    POST,
    Rig,
    word,
)

LIMITS = Limits(
    max_request_line=60,
    max_head=300,
    max_fields=5,
    read_ahead=100,
    write_high_water=300,
)

FRAGMENTS = st.sampled_from(
    [
        GET,
        POST,
        POST + b"hello",
        CHUNKED,
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        EXPECT,
        OLD,
        OLD_KEPT,
        GET.replace(b"GET", b"HEAD"),
        GET[:-2] + b"Connection: close\r\n\r\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\na: b\r\n\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"x" * 70,
        b"G",
        b"a:b\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        POST + b"hello" + GET,
        GET * 6,
    ]
)

REQUESTS = st.sampled_from(
    [
        GET,
        POST + b"hello",
        CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        OLD_KEPT,
        EXPECT + b"hello",
        GET.replace(b"GET", b"HEAD"),
    ]
)

wild = precondition(lambda self: self.heads > 1)
"""What may end a connection waits until it has served something."""


class Machine(RuleBasedStateMachine):
    """Calls everything at any time; the owner is as careless as it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.conn = ServerConnection(LIMITS, H11Codec(), WallClock(), self.now)
        self.written = b""
        self.owed = 0
        self.heads = 0
        self.gone = 0
        self.final = False
        self.eof = False

    def pull(self) -> None:
        while (event := self.conn.next_event()) is not None:
            assert not self.gone, "nothing comes after PeerGone"
            if isinstance(event, HeadReceived):
                self.heads += 1
                self.owed += 1
                assert self.conn.head is event.head
            elif isinstance(event, Bad):
                self.owed += event.head is None
                assert 400 <= event.status <= 599
            elif isinstance(event, PeerGone):
                self.gone += 1

    @rule(data=REQUESTS, places=st.lists(st.integers(1, 60), max_size=3))
    def receive_request(self, data: bytes, places: list[int]) -> None:
        self.receive(data, places)

    @wild
    @rule(data=FRAGMENTS, places=st.lists(st.integers(1, 60), max_size=3))
    def receive(self, data: bytes, places: list[int]) -> None:
        before = (self.conn.unsent, self.conn.wants_close)
        for start, end in pairwise(sorted({0, len(data), *(p for p in places if p < len(data))})):
            self.conn.receive_data(data[start:end], self.now)
        if self.final or self.eof:
            assert (self.conn.unsent, self.conn.wants_close) == before
            assert self.conn.next_event() is None or self.gone == 0
        self.pull()

    @wild
    @rule()
    def receive_eof(self) -> None:
        self.eof = True
        self.conn.receive_eof(self.now)
        assert not self.conn.wants_read
        self.pull()

    @wild
    @rule()
    def lose(self) -> None:
        self.conn.connection_lost(self.now)
        assert self.conn.wants_close is Close.RESET
        self.pull()
        assert self.gone == 1

    @rule(most=st.sampled_from([0, 1, 50, 400, 10_000]))
    def send(self, most: int) -> None:
        data = self.conn.data_to_send()
        assert bool(data) == bool(self.conn.unsent)
        data = data[:most]
        self.written += data
        self.conn.data_sent(len(data), self.now)
        self.pull()

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.conn.deadline <= self.now
        closing = self.conn.wants_close
        self.conn.handle_timeout(self.now)
        assert self.conn.deadline > self.now
        self.pull()
        if not due:
            assert self.conn.wants_close is closing

    @wild
    @rule()
    def wait_for_the_deadline(self) -> None:
        if self.conn.deadline < INFINITY:
            assert self.conn.deadline_reason.endswith("_timeout")
            self.now = max(self.now, self.conn.deadline)
            self.conn.handle_timeout(self.now)
            assert self.conn.deadline > self.now
            self.pull()

    @wild
    @rule(max_body=st.sampled_from([None, 3, 5]), collect=st.booleans())
    def read_body(self, max_body: int | None, collect: bool) -> None:
        try:
            self.conn.read_body(self.now, max_body=max_body, collect=collect)
        except LocalProtocolError:
            assert self.conn.wants_close is Close.NO
        self.pull()

    @wild
    @rule(
        status=st.sampled_from([200, 200, 204, 205, 304, 404, 0, 100]),
        body=st.sampled_from([None, b"", b"hi", b"y" * 400]),
        length=st.sampled_from([None, 0, 4]),
        name=st.sampled_from([b"a", b"a", b"date", b"a b"]),
    )
    def send_response(
        self, status: int, body: bytes | None, length: int | None, name: bytes
    ) -> None:
        before = self.conn.unsent
        fields = [(name, b"b")]
        try:
            self.conn.send_response(status, fields, body, self.now, content_length=length)
        except (LocalProtocolError, ValueError):
            assert self.conn.unsent == before
            assert self.conn.wants_close is Close.NO
        else:
            if self.conn.unsent > before:
                self.owed -= 1
                assert self.owed >= 0, "one final response per request"
                assert not self.gone
        self.pull()

    @rule(stream=st.booleans(), collect=st.booleans())
    def serve_on(self, stream: bool, collect: bool) -> None:
        """Do what a good owner would do next, so that more than the first states are met."""
        state = self.conn._cycle.state
        if state == cycle.REQUEST and not self.conn._reading:
            self.read_body(None, collect)
        elif state in (cycle.AWAITING, cycle.REFUSED) or (
            state == cycle.REQUEST and stream and self.heads > 1
        ):
            self.send_response(200, None if stream else b"hi", None, b"a")
        elif state in (cycle.RESPONSE, cycle.DUPLEX, cycle.REFUSING):
            self.end_body()
        elif state == cycle.DONE:
            self.next_request()

    @rule(chunk=st.sampled_from([b"", b"yy", b"y" * 400]))
    def send_body(self, chunk: bytes) -> None:
        before = self.conn.unsent
        try:
            room = self.conn.send_body(chunk, self.now)
        except LocalProtocolError:
            assert self.conn.unsent == before
        else:
            assert room or self.conn.unsent > LIMITS.write_high_water
            assert self.conn.unsent == before or not self.gone
        self.pull()

    @rule()
    def end_body(self) -> None:
        before = self.conn.unsent
        try:
            self.conn.end_body(self.now)
        except LocalProtocolError:
            assert self.conn.unsent == before
        self.pull()

    @wild
    @rule()
    def abort(self) -> None:
        self.conn.abort(self.now)
        assert self.conn.wants_close is not Close.NO
        self.pull()

    @rule()
    def next_request(self) -> None:
        try:
            self.conn.next_request(self.now)
        except LocalProtocolError:
            assert self.conn.wants_close is Close.NO
        self.pull()

    @rule(resume=st.booleans())
    def pause(self, resume: bool) -> None:
        if resume:
            self.conn.resume_body(self.now)
        else:
            self.conn.pause_body()
        self.pull()

    @wild
    @rule()
    def drain(self) -> None:
        self.conn.drain(self.now)
        self.pull()

    @wild
    @rule()
    def close_after_response(self) -> None:
        self.conn.close_after_response()

    @invariant()
    def holds(self) -> None:
        conn = self.conn
        self.final = self.final or conn.wants_close is not Close.NO
        assert self.final == (conn.wants_close is not Close.NO), "a close is never taken back"
        assert self.gone <= 1
        assert conn.deadline == min(conn._read_deadline, conn._write_deadline)
        assert (conn._write_deadline < INFINITY) == (conn.unsent > 0)
        if conn.wants_close in (Close.AFTER_FLUSH, Close.RESET):
            assert not conn.wants_read
            assert conn._read_deadline == INFINITY
        if conn.wants_close is Close.RESET:
            assert conn.unsent == 0
        if not self.final and not self.eof:
            # Somebody will act: the peer (a timer runs or input is wanted), or the owner.
            assert conn.wants_read or conn.unsent or conn.head is not None
        assert len(conn._heads) <= LIMITS.read_ahead + 400 * 10

    def teardown(self) -> None:
        self.conn.connection_lost(self.now)
        self.pull()
        assert self.gone == 1
        assert self.conn.deadline == INFINITY
        assert len(self.conn._heads) == 0


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


def converse(pieces: list[bytes], *, eof: bool, collect: bool) -> tuple[list[object], bytes, bool]:
    """Serve a connection the usual way; return the events, the bytes and the end."""
    rig = Rig(LIMITS)
    events: list[object] = []
    sent = b""

    def react() -> None:
        nonlocal sent
        while (event := rig.conn.next_event()) is not None:
            events.append(word(event))
            if isinstance(event, HeadReceived):
                rig.conn.read_body(rig.now, max_body=7, collect=collect)
            elif isinstance(event, BodyComplete):
                rig.answer(body=event.body or None)
                if not event.body:
                    rig.conn.end_body(rig.now)
            elif isinstance(event, Bad):
                rig.answer(event.status)
            elif isinstance(event, Done):
                rig.conn.next_request(rig.now)
            sent += rig.flush()

    for piece in pieces:
        rig.conn.receive_data(piece, rig.now)
        react()
    if eof:
        rig.conn.receive_eof(rig.now)
        react()
    # What is still on its way decides whether a 100 is needed and whether to linger: no more.
    return events, sent.replace(CONTINUE, b""), rig.closing() is Close.NO


@settings(deadline=None)
@given(st.lists(FRAGMENTS, max_size=6), st.booleans(), st.data())
def test_cuts_change_nothing(parts: list[bytes], eof: bool, data: st.DataObject) -> None:
    stream = b"".join(parts)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    cuts = [stream[a:b] for a, b in pairwise(sorted({0, len(stream), *places}))]
    single = [stream[at : at + 1] for at in range(len(stream))]
    whole = converse([stream] if stream else [], eof=eof, collect=True)
    assert converse(cuts, eof=eof, collect=True) == whole
    assert converse(single, eof=eof, collect=True) == whole


@settings(deadline=None)
@given(st.lists(FRAGMENTS, max_size=6))
def test_a_streamed_request_reads_the_same(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    single = [stream[at : at + 1] for at in range(len(stream))]
    collected = converse(single, eof=False, collect=True)
    streamed = converse(single, eof=False, collect=False)
    assert _bodies(streamed[0]) == _bodies(collected[0])
    assert streamed[2] is collected[2]


def _bodies(events: list[object]) -> list[object]:
    """Give a streamed body the shape of a collected one; a broken one has none."""
    shaped: list[object] = []
    body = b""
    for event in events:
        if isinstance(event, bytes):
            body += event
        elif isinstance(event, tuple):
            shaped.append(("body", body + event[1]))
            body = b""
        else:
            shaped.append(event)
            if isinstance(event, int):
                body = b""
    return shaped


@pytest.mark.parametrize("seed", range(3))
def test_the_same_input_gives_the_same_bytes(seed: int) -> None:
    pieces = [GET, POST, b"hel", b"lo", CHUNKED, b"bad\r\n"][seed:]
    runs = [converse(pieces, eof=True, collect=True) for _ in range(2)]
    assert runs[0] == runs[1]
