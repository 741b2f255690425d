"""Requests as they come: bodies, persistence, 100 Continue and what is refused."""

import pytest

from pipebus.http.server_events import Bad, Close
from pipebus.limits import Limits
from tests.core.http.server_kit import (
    CHUNKED,
    CONTINUE,
    EXPECT,
    GET,
    LENGTH_2,
    OLD,
    OLD_KEPT,
    POST,
    SAYS_CLOSE,
    SMALL,
    Rig,
    response,
)


class TestOneRequest:
    def test_whole(self) -> None:
        rig = Rig()
        assert rig.serve() == response(LENGTH_2)
        assert rig.closing() is Close.NO
        rig.conn.next_request(rig.now)
        assert rig.serve(POST + b"hello") == response(LENGTH_2)

    def test_head_and_small_body_are_one_write(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=b"x" * 1000)
        assert len(rig.conn.data_to_send()) == rig.conn.unsent > 1000

    def test_a_large_body_is_not_joined(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=b"x" * 65537)
        assert rig.conn.data_to_send().endswith(b"\r\n\r\n")
        assert rig.flush().endswith(b"\r\n\r\n" + b"x" * 65537)

    @pytest.mark.parametrize("request_", [POST + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
    def test_byte_at_a_time(self, request_: bytes) -> None:
        rig = Rig()
        whole = rig.serve(request_)
        assert rig.conn.bytes_in == len(request_)
        assert rig.conn.bytes_out == len(whole)
        rig.conn.next_request(rig.now)
        assert (rig.conn.bytes_in, rig.conn.bytes_out, rig.conn.head) == (0, 0, None)
        heads = 0
        for at in range(len(request_)):
            for event in rig.feed(request_[at : at + 1]):
                if event == "head":
                    heads += 1
                    assert rig.read() == []
                else:
                    assert event == ("body", b"hello")
        assert heads == 1
        assert rig.conn.bytes_in == len(request_)
        rig.answer()
        assert rig.flush() == whole

    def test_a_streamed_body_comes_in_pieces(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        assert rig.read(collect=False) == []
        assert rig.feed(b"3\r\nhel\r\n1\r\n", b"l\r\n", b"1\r\no") == [
            b"hel",
            b"l",
            b"o",
        ]
        assert rig.feed(b"\r\n0\r\n\r\n") == [("body", b"")]

    def test_the_last_piece_of_a_streamed_body(self) -> None:
        rig = Rig()
        rig.feed(POST + b"he")
        assert rig.read(collect=False) == [b"he"]
        assert rig.feed(b"llo") == [b"llo", ("body", b"")]

    def test_many_small_pieces_are_collected(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read()
        for _ in range(100):
            assert rig.feed(b"2\r\nab\r\n") == []
        assert rig.feed(b"0\r\n\r\n") == [("body", b"ab" * 100)]

    def test_the_host_of_an_absolute_target_wins(self) -> None:
        rig = Rig()
        rig.feed(b"GET http://y:8/a HTTP/1.1\r\nA: b\r\nHost: x\r\n\r\n")
        assert rig.conn.head is not None
        assert rig.conn.head.headers == [(b"host", b"y:8"), (b"a", b"b")]
        rig = Rig()
        rig.feed(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert rig.conn.head is not None
        assert rig.conn.head.headers == [(b"host", b"x")]


class TestPersistence:
    @pytest.mark.parametrize(
        ("request_", "says"),
        [
            (GET, b""),
            (OLD_KEPT, b"connection: keep-alive\r\n"),
            (OLD, SAYS_CLOSE),
            (GET[:-2] + b"Connection: x, Close\r\n\r\n", SAYS_CLOSE),
        ],
    )
    def test_by_request(self, request_: bytes, says: bytes) -> None:
        rig = Rig()
        assert rig.serve(request_) == response(LENGTH_2 + says)
        kept = says != SAYS_CLOSE
        assert rig.closing() is (Close.NO if kept else Close.AFTER_FLUSH)
        rig.conn.next_request(rig.now)
        assert rig.feed(GET) == (["head"] if kept else [])

    def test_pipelined_requests_wait_for_their_turn(self) -> None:
        rig = Rig()
        assert rig.feed(POST + b"hello" + GET + GET) == ["head"]
        assert rig.read() == [("body", b"hello")]
        for _ in range(2):
            rig.answer()
            assert rig.events() == ["Done"]
            rig.conn.next_request(rig.now)
            assert rig.events() == ["head"]
            assert rig.read() == [("body", b"")]
        rig.answer()
        assert rig.flush() == response(LENGTH_2) * 3

    def test_what_follows_the_last_request_is_read_away(self) -> None:
        rig = Rig()
        rig.feed(OLD + GET)
        rig.read()
        rig.answer()
        assert rig.events() == ["Done"]
        assert rig.closing() is Close.LINGER

    def test_close_after_response(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.conn.close_after_response()
        rig.answer()
        assert rig.flush() == response(LENGTH_2 + SAYS_CLOSE)
        # Pipelined requests may be on their way: they must not reset the answer away.
        assert rig.closing() is Close.LINGER
        rig.conn.receive_eof(rig.now)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_close_after_a_response_that_has_begun(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        rig.conn.close_after_response()
        rig.conn.end_body(rig.now)
        assert rig.closing() is Close.LINGER

    def test_close_after_response_before_there_is_a_request(self) -> None:
        rig = Rig()
        rig.conn.close_after_response()
        assert rig.serve() == response(LENGTH_2 + SAYS_CLOSE)

    def test_answers_do_not_pile_up_for_a_peer_that_does_not_read(self) -> None:
        rig = Rig()
        rig.feed(GET + GET)
        rig.read()
        rig.answer(body=b"x" * 500)
        assert rig.events() == ["Done"]
        rig.conn.next_request(rig.now)
        assert rig.events() == []
        assert rig.feed(GET) == []
        assert rig.reading()
        rig.feed(GET)
        assert not rig.reading()  # 81 bytes are held, 64 may be
        rig.conn.data_sent(rig.conn.unsent - 401, rig.now)
        assert rig.events() == []
        rig.conn.data_sent(1, rig.now)
        assert rig.events() == ["head"]


class TestContinue:
    def test_sent_when_the_body_is_asked_for(self) -> None:
        rig = Rig()
        assert rig.feed(EXPECT) == ["head"]
        assert rig.flush() == b""
        assert rig.read() == []
        assert rig.flush() == CONTINUE
        assert rig.feed(b"hello") == [("body", b"hello")]
        rig.answer()
        assert rig.flush() == response(LENGTH_2)
        assert rig.conn.bytes_out == len(CONTINUE + response(LENGTH_2))

    def test_not_when_bytes_came_anyway(self) -> None:
        rig = Rig()
        rig.feed(EXPECT + b"h")
        assert rig.read() == []
        assert rig.flush() == b""

    def test_not_for_a_body_that_is_refused_nor_where_there_is_none(self) -> None:
        rig = Rig()
        rig.feed(EXPECT)
        assert rig.read(max_body=4) == [413]
        assert rig.flush() == b""
        rig = Rig()
        rig.feed(EXPECT.replace(b"h: 5", b"h: 0"))
        assert rig.read() == [("body", b"")]
        assert rig.flush() == b""

    def test_not_to_a_1_0_client(self) -> None:
        rig = Rig()
        rig.feed(EXPECT.replace(b"1.1", b"1.0"))
        assert rig.read() == []
        assert rig.flush() == b""

    def test_refused_without_reading(self) -> None:
        rig = Rig()
        rig.feed(EXPECT)
        rig.answer(403)
        assert rig.flush() == response(LENGTH_2 + SAYS_CLOSE, status=b"403 Forbidden")
        assert rig.closing() is Close.LINGER


class TestBad:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET\r\n\r\n", 400),
            (b"GET / HTTP/3.0\r\n\r\n", 505),
            (b"GET /" + b"a" * 300, 414),
            (GET[:-2] + b"a" * 1000, 431),
            (b"\x16\x03", 400),
            (CHUNKED.replace(b"chunked", b"gzip, chunked"), 501),
        ],
    )
    def test_a_bad_head_is_answered_once_and_the_connection_lingers(
        self, data: bytes, status: int
    ) -> None:
        rig = Rig()
        assert rig.feed(data) == [status]
        assert rig.conn.head is None
        assert rig.feed(GET) == []
        assert rig.reading()
        rig.answer(status)
        assert rig.events() == ["Done"]
        assert rig.closing() is Close.LINGER
        assert b"\r\nconnection: close\r\n" in rig.flush()
        rig.conn.next_request(rig.now)
        assert rig.feed(GET) == []

    def test_a_bad_second_head(self) -> None:
        rig = Rig()
        rig.feed(GET + b"bad\r\n\r\n")
        rig.read()
        rig.answer()
        rig.events()
        rig.conn.next_request(rig.now)
        assert rig.events() == [400]
        assert rig.conn.head is None

    def test_a_bad_body_knows_its_head(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read()
        rig.conn.receive_data(b"1\r\nxy", rig.now)
        bad = rig.conn.next_event()
        assert isinstance(bad, Bad)
        assert bad.head is rig.conn.head is not None
        rig.answer(400)
        assert rig.closing() is Close.LINGER

    @pytest.mark.parametrize("request_", [POST, POST + b"hello", CHUNKED + b"5\r\n"])
    def test_too_large(self, request_: bytes) -> None:
        rig = Rig()
        rig.feed(request_)
        assert rig.read(max_body=4) == [413]

    def test_just_not_too_large(self) -> None:
        for request_ in (POST + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"):
            rig = Rig()
            rig.feed(request_)
            assert rig.read(max_body=5) == [("body", b"hello")]

    def test_too_large_while_streaming(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read(max_body=4, collect=False)
        assert rig.feed(b"3\r\nabc\r\n", b"2\r\n") == [b"abc", 413]


class TestReadAhead:
    def test_while_a_head_is_awaited(self) -> None:
        rig = Rig()
        assert rig.reading()
        rig.feed(GET[:-1] + b"x" * 100)
        assert rig.reading()

    def test_while_an_answer_is_owed(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        assert rig.reading()
        rig.feed(b"x" * 64)
        assert rig.reading()
        rig.feed(b"x")
        assert not rig.reading()

    def test_while_a_body_is_not_asked_for(self) -> None:
        rig = Rig()
        rig.feed(POST.replace(b": 5", b": 500") + b"x" * 65)
        assert not rig.reading()
        rig.read()
        assert rig.reading()


def test_default_limits_carry_a_large_request() -> None:
    rig = Rig(Limits())
    body = b"x" * 300_000
    rig.feed(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
    rig.read(max_body=SMALL.max_body)
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    assert rig.feed(*pieces) == [("body", body)]
