"""Random lives of a client: never too many connections, one end for each call, nothing left."""

import gzip
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipebus.http.client import ClientCall, ClientConnection
from pipebus.http.server_events import Close
from pipebus.limits import Timeouts
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from tests.core.http_client.world import OK, World

ORIGINS = ("http://10.0.0.1/", "http://10.0.0.2/", "http://a.example/", "http+unix://%2Fx/")
SECONDS = st.sampled_from([None, 0.5, 2.0, 10.0])
PIECES = (
    OK,
    OK[:-1],
    OK[-1:],
    OK[:10],
    OK[10:],
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil close",
    b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 25\r\n\r\n",
    gzip.compress(b"hello", mtime=0),
    b"x" * 100,
    b"nonsense\r\n\r\n",
)


class Lives(RuleBasedStateMachine):
    breaker: BreakerPolicy | None = None
    retry: RetryPolicy | None = None

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            max_connections=3, max_idle_per_origin=1, max_waiting=3, idle_timeout=5.0,
            read_ahead=4, write_high_water=8, max_body=40, breaker=self.breaker, retry=self.retry,
        )  # fmt: skip
        self.world.send_at_once = False
        self.calls: list[ClientCall] = []
        self.sent: dict[ClientCall, int] = {}
        self.ends: dict[ClientCall, tuple[object, object]] = {}

    @property
    def live(self) -> list[ClientCall]:
        return [call for call in self.calls if not call.done]

    def pick_conn(self, data: st.DataObject) -> ClientConnection:
        return data.draw(st.sampled_from(self.world.open))

    def pick_call(self, data: st.DataObject) -> ClientCall:
        return data.draw(st.sampled_from(self.calls))

    @rule(
        url=st.sampled_from(ORIGINS),
        method=st.sampled_from(["GET", "POST"]),
        kind=st.sampled_from(["none", "body", "stream", "length"]),
        stream=st.booleans(),
        times=st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS),
        ahead=st.sampled_from([float("inf"), 3.0, 0.0]),
    )
    def call(
        self,
        url: str,
        method: str,
        kind: str,
        stream: bool,
        times: tuple[float | None, ...],
        ahead: float,
    ) -> None:
        connect, write, read, pool, total = times
        call = self.world.call(
            f"{url}{len(self.calls)}", method, b"body" if kind == "body" else b"",
            streams=kind in {"stream", "length"},
            content_length=4 if kind == "length" else None,
            stream=stream,
            deadline=self.world.now + ahead,
            timeouts=Timeouts(connect=connect, write=write, read=read, pool=pool, total=total),
        )  # fmt: skip
        self.calls.append(call)

    @precondition(lambda self: self.world.resolving)
    @rule(count=st.integers(0, 3))
    def resolve(self, count: int) -> None:
        self.world.resolve(*[(f"10.0.1.{n}", 80) for n in range(count)])

    @precondition(lambda self: self.world.resolving)
    @rule()
    def fail_to_resolve(self) -> None:
        resolve = self.world.resolving.pop(0)
        self.world.client.resolve_failed(resolve.id, OSError("no"), self.world.now)
        self.world.pump()

    @precondition(lambda self: self.world.connecting)
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        self.world.connect(data.draw(st.integers(0, len(self.world.connecting) - 1)))

    @precondition(lambda self: self.world.connecting)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        self.world.refuse(data.draw(st.integers(0, len(self.world.connecting) - 1)))

    @precondition(lambda self: self.world.abandoned)
    @rule()
    def connect_too_late(self) -> None:
        assert self.world.client.connected(self.world.abandoned[-1], self.world.now) is None

    @precondition(lambda self: self.world.open)
    @rule(data=st.data(), share=st.sampled_from([0, 1, 5, 1000]))
    def send(self, data: st.DataObject, share: int) -> None:
        conn = self.pick_conn(data)
        pending = conn.data_to_send()
        count = min(share, len(pending))
        if count:
            self.world.wire[conn] = self.world.wire.get(conn, b"") + pending[:count]
            self.world.client.data_sent(conn, count, self.world.now)
            self.world.pump()

    @precondition(lambda self: self.world.open)
    @rule(data=st.data(), pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3))
    def receive(self, data: st.DataObject, pieces: list[bytes]) -> None:
        self.world.feed(self.pick_conn(data), b"".join(pieces))

    @precondition(lambda self: self.world.open)
    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        conn = self.pick_conn(data)
        self.world.flush(conn)
        self.world.feed(conn, OK)

    @precondition(lambda self: self.world.open)
    @rule(data=st.data(), reset=st.booleans())
    def peer_gone(self, data: st.DataObject, reset: bool) -> None:
        conn = self.pick_conn(data)
        (self.world.lose if reset else self.world.eof)(conn)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call = self.pick_call(data)
        self.world.cancel(call)
        assert call.done

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        call = self.pick_call(data)
        ended = call.done
        piece = self.world.take(call)
        assert piece is None or (piece and not ended)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), what=st.sampled_from([b"", b"ab", b"abcd", None]))
    def upload(self, data: st.DataObject, what: bytes | None) -> None:
        call = self.pick_call(data)
        client, now = self.world.client, self.world.now
        promised = call.request.framing.length if call.request.framing.kind == "length" else None
        sent = self.sent.get(call, 0) + len(what or b"")
        if promised is not None and (sent > promised if what else sent < promised):
            client.fail_body(call, RuntimeError("gave up"), now)
        elif what is None:
            client.end_body(call, now)
        else:
            self.sent[call] = sent
            assert client.send_body(call, what, now) or call.upload_paused
        self.world.pump()

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: len(self.calls) > 8)
    @rule()
    def drain(self) -> None:
        self.world.client.drain(self.world.now)
        self.world.pump()

    @invariant()
    def the_pool_is_sound(self) -> None:
        world = self.world
        pool = world.client.pool
        assert pool.slots <= 3
        assert len(world.open) <= pool.slots
        assert sum(origin.slots for origin in pool.origins.values()) == pool.slots
        assert sum(len(origin.idle) for origin in pool.origins.values()) == pool.idle
        assert len(pool.blocked) <= 3
        if pool.blocked:
            assert (pool.slots, pool.idle) == (3, 0)
        for origin in pool.origins.values():
            assert len(origin.idle) <= 1
            assert not (origin.queue and origin.idle)
        for conn in world.open:
            assert conn.wants_close is Close.NO
        at = world.timers.next_deadline()
        assert at is None or at > world.now

    @invariant()
    def a_call_has_one_end(self) -> None:
        for call in self.calls:
            if call.done:
                end = self.ends.setdefault(call, (call.error, call.response))
                assert end == (call.error, call.response)
                assert call.state == "done"
                assert call.connection is None
                assert call.deadline == float("inf")
                assert (call.error is None) == call.body_done
                assert self.world.news.count(call) >= 1
                total = call.timings.total
                assert total <= self.world.now - call.started_at + 1e-9
            else:
                assert (call.error, call.response) == (None, None)

    @invariant()
    def what_is_not_idempotent_is_sent_once(self) -> None:
        sent = b"".join(self.world.wire.values())
        for number, call in enumerate(self.calls):
            if call.request.method == "POST":
                assert sent.count(b"POST /%d HTTP" % number) <= 1

    @invariant()
    def no_call_outlives_its_total(self) -> None:
        for call in self.live:
            if call.state != "reading body" or call.connection is not None:
                assert self.world.now < call.total

    def teardown(self) -> None:
        self.world.check_nothing_left()
        assert self.live == []


Lives.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase


class GuardedLives(Lives):
    """The same with breakers that open soon, and with retries."""

    breaker = BreakerPolicy(window=5.0, min_calls=2, open_time=1.0)
    retry = RetryPolicy(attempts=3, base=1.0, budget=0.5, budget_min=2)

    @rule(draw=st.floats(0.01, 0.99))
    def draw(self, draw: float) -> None:
        self.world.draw = draw

    @invariant()
    def retries_are_within_their_bounds(self) -> None:
        for call in self.calls:
            if call.state == "backoff":
                assert call.connection is None
                assert call.dial is None
                assert self.world.now < call.deadline < call.total
        tries = [call.attempts.count for call in self.calls if call.attempts is not None]
        assert max(tries, default=0) <= 3
        stats = self.world.client.stats
        assert sum(tries) == len([t for t in tries if t]) + stats.backoff_retries

    @invariant()
    def one_probe_at_most(self) -> None:
        probes = Counter(
            call.origin
            for call in self.live
            if call.attempts is not None and call.attempts.ticket
            and call.attempts.breaker is not None and call.attempts.breaker.state == "half_open"
            and call.attempts.breaker.counts(call.attempts.ticket)
        )  # fmt: skip
        assert all(count <= 1 for count in probes.values())


GuardedLives.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestGuardedLives = GuardedLives.TestCase


# --- bytes in any pieces -----------------------------------------------------------------------

HEADS = st.sampled_from(
    [
        b"content-length: 5\r\n",
        b"content-length: 0\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n",
        b"connection: close\r\ncontent-length: 5\r\n",
        b"connection: close\r\n",
        b"",
    ]
)
BODIES = st.sampled_from(
    [
        b"",
        b"hello",
        b"hello!",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nx: y\r\n\r\n",
        b"5\r\nhellox\r\n0\r\n\r\n",
        b"1e\r\n%b\r\n0\r\n\r\n" % gzip.compress(b"hello there", mtime=0)[:30],
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(PIECES[13]), PIECES[13]),
        b"zz\r\n",
    ]
)


def outcome(pieces: list[bytes], method: str, stream: bool, ends: bool) -> tuple[object, ...]:
    world = World(max_informational=2, max_fields=5)
    call = world.call(method=method, stream=stream)
    conn = world.connect()
    taken = b""
    for piece in pieces:
        world.feed(conn, piece)
        while (got := world.take(call)) is not None:
            taken += got
    if ends:
        world.eof(conn)
        while (got := world.take(call)) is not None:
            taken += got
    body = None if call.response is None else call.response.body
    status = None if call.head is None else call.head.status
    error = None if call.error is None else (type(call.error), str(call.error))
    coded = call.head is not None and (b"content-encoding", b"gzip") in call.head.headers
    if error is not None and coded:
        # Where both the coding and the framing are broken either may be seen first.
        error = (error[0], "")
    if call.error is not None:
        taken = b""  # how much of it came before the fault depends on the cuts
    connection = (conn.wants_close, world.client.pool.idle)
    if error is not None and coded and stream:
        # It is the reader who finds a broken coding: a response that was whole by then has freed
        # its connection, which is none the worse for it.
        assert connection in ((Close.NO, 1), (Close.RESET, 0), (Close.AFTER_FLUSH, 0))
        connection = (Close.NO, 0)
    end = (call.done, error, status, body, taken, connection)
    world.check_nothing_left()
    return end


@given(
    informational=st.sampled_from(
        [b"", b"HTTP/1.1 103 Early\r\n\r\n" * 2, b"HTTP/1.1 100 C\r\n\r\n" * 3]
    ),
    line=st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/3 x"]),
    head=HEADS,
    body=BODIES,
    method=st.sampled_from(["GET", "HEAD"]),
    stream=st.booleans(),
    ends=st.booleans(),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_byte_at_a_time_is_one_piece(
    informational: bytes,
    line: bytes,
    head: bytes,
    body: bytes,
    method: str,
    stream: bool,
    ends: bool,
    data: st.DataObject,
) -> None:
    whole = informational + line + b"\r\n" + head + b"\r\n" + body
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=4)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    expected = outcome([whole], method, stream, ends)
    assert outcome(pieces, method, stream, ends) == expected
    single = [whole[i : i + 1] for i in range(len(whole))]
    assert outcome(single, method, stream, ends) == expected
