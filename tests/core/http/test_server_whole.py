"""The usual request and response in one go, on the connection: as by the many small steps."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.errors import RemoteProtocolError
from pipebus.http.head_buffer import MAX_EMPTY_LINES
from pipebus.http.server_connection import ServerConnection
from pipebus.http.server_events import Done
from pipebus.http.wire import RawHeaders, RequestHead, ResponseHead
from pipebus.limits import Limits
from tests.core.http.server_kit import CHUNKED, EXPECT, GET, OLD, OLD_KEPT, POST, TEXT, Rig

WIDE: Final = Limits(max_body=100, write_high_water=400, read_ahead=64)
LAST: Final = GET[:-2] + b"Connection: close\r\n\r\n"
HEAD: Final = GET.replace(b"GET", b"HEAD")


def state(conn: ServerConnection) -> tuple[object, ...]:
    """All that makes a connection go on as it does."""
    return (
        conn._cycle.state, conn.deadline, conn.deadline_reason, conn._read_deadline,
        conn._write_deadline, conn.bytes_in, conn.bytes_out, conn.body_out, conn.wants_read,
        conn.wants_close, conn.unsent, conn.data_to_send(), conn.head, conn._last, conn._draining,
        conn._eof, conn._held, conn._heads.held, conn._reading, conn._paused, conn.waits_for_room,
        list(conn.events),
    )  # fmt: skip


def take(rig: Rig, data: bytes) -> bytes | None:
    """Take a request in one go; return its body, or None if that is not possible."""
    before = state(rig.conn)
    whole = rig.conn.look_at_whole(data)
    assert state(rig.conn) == before
    if whole is None:
        return None
    head, body = whole
    rig.conn.take_whole(head, len(data), rig.now)
    return body


# --- the request -----------------------------------------------------------------------------

REQUESTS = st.sampled_from(
    [GET, POST + b"hello", HEAD, OLD, LAST, CHUNKED + b"0\r\n\r\n", EXPECT + b"hello", GET + GET,
     POST, POST + b"hello!", b"\r\n" + GET, b"GE", b"G", b"nonsense\r\n\r\n",
     GET[:-2] + b"a: " + b"b" * 100 + b"\r\n\r\n"]
)  # fmt: skip


@given(
    st.lists(REQUESTS, min_size=1, max_size=3),
    st.sampled_from(["", "drain", "eof", "last", "unsent", "lost"]),
    st.integers(0, 2),
)
def test_a_request_taken_is_as_one_that_was_read(
    requests: list[bytes], happens: str, when: int
) -> None:
    whole, parts = Rig(WIDE), Rig(WIDE)
    for number, data in enumerate(requests):
        if number == when:
            for rig in (whole, parts):
                happen(rig, happens)
        body = take(whole, data)
        if body is None:
            return
        assert parts.feed(data) == ["head"]
        assert parts.read() == [("body", body)]
        assert state(whole.conn) == state(parts.conn)
        for rig in (whole, parts):
            rig.now += 1.0
            rig.answer(body=b"hi" * 300)
            assert rig.events() == ["Done"]
            if not (happens == "unsent" and number + 1 == when):
                rig.flush()
            rig.conn.next_request(rig.now)
            assert rig.events() == []


def happen(rig: Rig, what: str) -> None:
    if what == "drain":
        rig.conn.drain(rig.now)
    elif what == "eof":
        rig.conn.receive_eof(rig.now)
    elif what == "last":
        rig.conn.close_after_response()
    elif what == "lost":
        rig.conn.connection_lost(rig.now)
    rig.events()


@pytest.mark.parametrize("data", [GET, POST + b"hello", POST.replace(b"5", b"0"), HEAD], ids=str)
def test_usual_requests_are_taken(data: bytes) -> None:
    rig = Rig(WIDE)
    assert take(rig, data) == data.partition(b"\r\n\r\n")[2]
    assert rig.conn.bytes_in == len(data)
    assert rig.conn.deadline == float("inf")


@pytest.mark.parametrize("happens", ["drain", "eof", "last", "lost"])
def test_nothing_is_taken_when_more_is_to_be_said_of_it(happens: str) -> None:
    rig = Rig()
    happen(rig, happens)
    assert rig.conn.look_at_whole(GET) is None


def test_nothing_is_taken_behind_what_came_before() -> None:
    rig = Rig()
    rig.feed(GET[:5])
    assert rig.conn.look_at_whole(GET) is None
    rig.feed(GET[5:])
    assert rig.conn.look_at_whole(GET) is None
    rig.read()
    rig.answer(body=b"x" * 500)
    assert rig.events() == ["Done"]
    assert rig.conn.look_at_whole(GET) is None
    rig.conn.next_request(rig.now)  # more is unsent than may be
    assert rig.conn.look_at_whole(GET) is None
    rig.flush()
    assert rig.conn.look_at_whole(GET) is not None


@pytest.mark.parametrize(
    "limits",
    [Limits(max_head=len(GET)), Limits(max_request_line=14), Limits(max_fields=1)],
    ids=["max_head", "max_request_line", "max_fields"],
)
def test_a_head_over_a_limit_is_not_taken(limits: Limits) -> None:
    rig = Rig(limits)
    assert rig.conn.look_at_whole(GET) is not None
    longer = GET.replace(b"/ HTTP/1.1\r\n", b"/a HTTP/1.1\r\nb: c\r\n")
    assert rig.conn.look_at_whole(longer) is None
    assert rig.feed(longer) in ([431], [414])


def test_a_head_of_many_fields_is_taken() -> None:
    rig = Rig(Limits())
    fields = b"".join(b"x-field-%d: %b\r\n" % (number, b"x" * 400) for number in range(99))
    assert take(rig, GET[:-2] + fields + b"\r\n") == b""


def test_empty_lines_between_requests_do_not_add_up() -> None:
    """Some clients send one behind each body (RFC 9112 section 2.2)."""
    rig = Rig()
    for _ in range(MAX_EMPTY_LINES + 1):
        assert rig.feed(b"\r\n") == []
        if take(rig, GET) is None:
            assert rig.feed(GET) == ["head"]
            rig.read()
        rig.answer()
        assert rig.events() == ["Done"]
        rig.flush()
        rig.conn.next_request(rig.now)


class Refusing:
    """A codec that is stricter than the checks before it."""

    name = "refusing"

    def parse_request_head(self, data: bytes, /) -> RequestHead:
        raise RemoteProtocolError("refused", 400)

    def parse_response_head(self, data: bytes, /) -> ResponseHead:
        raise AssertionError("a server reads no response")


def test_what_the_codec_refuses_is_not_taken() -> None:
    rig = Rig(wire=Refusing())
    assert take(rig, GET) is None
    assert rig.feed(GET) == [400]


# --- the response ----------------------------------------------------------------------------

FIELD = st.sampled_from(
    [(b"a", b"b"), (b"Content-Type", b"text/plain"), (b"set-cookie", b"x=\xe9\t"), (b"A-B", b"")]
)
BAD_FIELD = st.sampled_from(
    [(b"a b", b"c"), (b"", b""), (b"a", b"b\r\nc: d"), (b"a", b"\x00"), (b"Date", b"x"),
     (b"content-length", b"1"), (b"connection", b"close"), (b"a", None), ("a", "b"), 5]
)  # fmt: skip
FIELDS = st.one_of(
    st.lists(FIELD, max_size=3), st.lists(st.one_of(FIELD, FIELD, BAD_FIELD), max_size=3)
)
GOOD_STATUS = st.sampled_from([200, 201, 299, 302, 400, 404, 500, 503, 599])
STATUS = st.one_of(
    GOOD_STATUS, GOOD_STATUS, st.sampled_from([204, 205, 304, 100, 199, 600, 0, -1, "200", None])
)
BODY = st.sampled_from([b"", b"hi", b"x" * 500, b"x" * 64 * 1024, b"x" * (64 * 1024 + 1)])
ASKED = st.sampled_from(
    [GET, GET, GET, POST + b"hello", HEAD, OLD, OLD_KEPT, LAST, EXPECT, GET + GET]
)


@settings(max_examples=300)
@given(
    ASKED,
    st.sampled_from(["", "", "drain", "eof", "last", "lost", "unread"]),
    STATUS,
    FIELDS,
    BODY,
    st.lists(st.integers(1, 700), max_size=3),
)
def test_a_response_sent_whole_is_as_one_sent_by_steps(
    asked: bytes, happens: str, status: int, fields: RawHeaders, body: bytes, sent: list[int]
) -> None:
    whole, parts = Rig(WIDE), Rig(WIDE)
    for rig in (whole, parts):
        assert rig.feed(asked) == ["head"]
        if happens != "unread":
            rig.read()
        happen(rig, happens)
        if asked == EXPECT and happens != "lost":
            rig.feed(b"hello")
        rig.now += 1.0
    before = state(whole.conn)
    try:
        done = whole.conn.send_whole(status, fields, body, whole.now)
    except (TypeError, ValueError):
        done = False
    if not done:
        assert state(whole.conn) == before
        return
    parts.conn.send_response(status, fields, body, parts.now)
    assert isinstance(parts.conn.next_event(), Done)
    assert state(whole.conn) == state(parts.conn)
    for count in [*sent, whole.conn.unsent]:
        count = min(count, whole.conn.unsent, len(whole.conn.data_to_send()))
        for rig in (whole, parts):
            rig.now += 1.0
        over = whole.conn.all_sent(count)
        assert over == (count == parts.conn.unsent)
        if not over:
            whole.conn.data_sent(count, whole.now)
        parts.conn.data_sent(count, parts.now)
        assert state(whole.conn) == state(parts.conn)
        if over:
            break
    for rig in (whole, parts):
        rig.conn.next_request(rig.now)
    assert state(whole.conn) == state(parts.conn)


def test_the_usual_response_goes_out_whole() -> None:
    whole, parts = Rig(), Rig()
    for rig in (whole, parts):
        rig.feed(POST + b"hello")
        rig.read()
    assert whole.conn.send_whole(200, TEXT, b"hi", whole.now)
    parts.answer()
    assert whole.conn.data_to_send() == parts.conn.data_to_send()
    assert whole.conn.all_sent(whole.conn.unsent)
    whole.conn.next_request(5.0)
    assert take(whole, GET) == b""


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        (HEAD, 200, b""),
        (OLD_KEPT, 200, b""),
        (LAST, 200, b""),
        (GET, 204, b""),
        (GET, 205, b""),
        (GET, 304, b""),
        (GET, 199, b""),
        (GET, 600, b""),
        (GET, 200, b"x" * (64 * 1024 + 1)),
    ],
    ids=range(9),
)
def test_what_needs_a_closer_look_does_not(asked: bytes, status: int, body: bytes) -> None:
    rig = Rig()
    rig.feed(asked)
    rig.read()
    before = state(rig.conn)
    assert not rig.conn.send_whole(status, TEXT, body, rig.now)
    assert state(rig.conn) == before


def test_no_response_goes_out_whole_before_its_request_is_there_or_after_it_has_gone() -> None:
    rig = Rig()
    assert not rig.conn.send_whole(200, TEXT, b"", rig.now)
    rig.feed(GET)
    assert not rig.conn.send_whole(200, TEXT, b"", rig.now)
    rig.read()
    assert rig.conn.send_whole(200, TEXT, b"", rig.now)
    assert not rig.conn.send_whole(200, TEXT, b"", rig.now)


@pytest.mark.parametrize("field", [(b"a b", b"c"), (b"a", b"b\r\nc"), (b"date", b"x")])
def test_a_bad_field_is_refused_and_changes_nothing(field: tuple[bytes, bytes]) -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    before = state(rig.conn)
    with pytest.raises(ValueError, match=r"field name|control|to write"):
        rig.conn.send_whole(200, [field], b"", rig.now)
    assert state(rig.conn) == before


def test_not_all_was_sent_while_a_stream_waits_for_room_or_the_end_follows() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.conn.send_response(200, TEXT, None, rig.now)
    assert not rig.conn.send_body(b"x" * 500, rig.now)
    assert not rig.conn.all_sent(rig.conn.unsent)
    rig.flush()
    rig.conn.abort(rig.now)
    assert not rig.conn.all_sent(0)
