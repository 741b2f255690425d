"""Answers as they go: early, bodiless, streamed, cut, and asked for at the wrong time."""

import pytest

from pipebus.errors import LocalProtocolError
from pipebus.http.server_events import Close
from tests.core.http.server_kit import (
    CHUNKED,
    GET,
    LENGTH_2,
    OLD,
    OLD_KEPT,
    POST,
    SAYS_CLOSE,
    TEXT,
    Rig,
    response,
)


class TestAnsweredEarly:
    def test_a_body_that_is_here_anyway_is_skipped(self) -> None:
        rig = Rig()
        for request_ in (POST + b"hello", CHUNKED + b"1\r\nx\r\n0\r\n\r\n", GET):
            rig.feed(request_)
            rig.answer(404)
            assert rig.events() == ["Done"]
            assert rig.flush() == response(LENGTH_2, status=b"404 Not Found")
            assert rig.conn.bytes_in == len(request_)
            rig.conn.next_request(rig.now)
        assert rig.closing() is Close.NO

    def test_and_the_next_request_behind_it_stays(self) -> None:
        rig = Rig()
        rig.feed(POST + b"hello" + GET)
        rig.answer(404)
        rig.events()
        rig.conn.next_request(rig.now)
        assert rig.events() == ["head"]

    @pytest.mark.parametrize("request_", [POST + b"hell", CHUNKED + b"malformed\r\n", POST])
    def test_else_the_connection_lingers(self, request_: bytes) -> None:
        rig = Rig()
        rig.feed(request_)
        rig.answer(404)
        assert rig.events() == ["Done"]
        assert rig.closing() is Close.LINGER
        assert rig.reading()
        assert rig.feed(b"x" * 10_000) == []
        assert rig.reading()
        assert rig.flush() == response(LENGTH_2 + SAYS_CLOSE, status=b"404 Not Found")
        rig.conn.receive_eof(rig.now)
        assert rig.closing() is Close.AFTER_FLUSH
        assert not rig.reading()

    def test_while_the_body_is_being_read(self) -> None:
        rig = Rig()
        rig.feed(POST + b"hel")
        rig.read(collect=False)
        rig.answer()
        assert rig.events() == ["Done"]
        assert rig.closing() is Close.LINGER

    def test_a_stream_both_ways(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read(collect=False)
        assert rig.answer(body=None)
        assert rig.feed(b"1\r\nx\r\n") == [b"x"]
        assert rig.conn.send_body(b"x", rig.now)
        assert rig.feed(b"0\r\n\r\n") == [("body", b"")]
        rig.conn.end_body(rig.now)
        assert rig.events() == ["Done"]
        assert rig.flush() == response(
            b"transfer-encoding: chunked\r\n" + SAYS_CLOSE, b"1\r\nx\r\n0\r\n\r\n"
        )
        assert rig.closing() is Close.LINGER

    def test_a_body_cannot_be_asked_for_once_its_answer_began(self) -> None:
        rig = Rig()
        rig.feed(POST)
        rig.answer(body=None)
        with pytest.raises(LocalProtocolError, match="no body to read"):
            rig.read()

    def test_a_fault_in_the_body_while_the_answer_streams(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read(collect=False)
        rig.answer(body=None)
        assert rig.feed(b"malformed\r\n") == [400]
        assert rig.reading()
        assert rig.feed(b"more") == []
        rig.conn.send_body(b"x", rig.now)
        rig.conn.end_body(rig.now)
        assert rig.events() == ["Done"]
        assert rig.closing() is Close.LINGER


class TestHeadAndStatus:
    @pytest.mark.parametrize(
        ("status", "method", "framing"),
        [
            (200, b"HEAD", LENGTH_2),
            (204, b"GET", b""),
            (304, b"GET", b""),
            (205, b"GET", b"content-length: 0\r\n"),
        ],
    )
    def test_no_body_follows(self, status: int, method: bytes, framing: bytes) -> None:
        for body in (b"hi", None):
            rig = Rig()
            rig.feed(GET.replace(b"GET", method))
            rig.read()
            assert not rig.answer(status, body)
            if body is None:
                assert rig.events() == []
                assert rig.conn.send_body(b"hi", rig.now)
                rig.conn.end_body(rig.now)
                framing = b"" if method == b"HEAD" else framing
            assert rig.events() == ["Done"]
            assert rig.flush().partition(b"GMT\r\n")[2] == framing + b"\r\n"
            assert rig.closing() is Close.NO

    def test_a_stream_of_known_length_to_head(self) -> None:
        rig = Rig()
        rig.feed(GET.replace(b"GET", b"HEAD"))
        rig.read()
        assert not rig.conn.send_response(200, TEXT, None, rig.now, content_length=2)
        rig.conn.end_body(rig.now)
        assert rig.flush() == response(LENGTH_2, b"")

    @pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 999])
    def test_no_final_status(self, status: int) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        with pytest.raises(ValueError, match="final response"):
            rig.answer(status)
        rig.answer()
        assert rig.flush() == response(LENGTH_2)

    def test_bad_fields_change_nothing(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        for field in [(b"a", b"b\r\nc: d"), (b"content-length", b"9"), (b"a b", b"")]:
            with pytest.raises(ValueError, match=r"control|own|connection's|name"):
                rig.conn.send_response(200, [field], b"hi", rig.now)
        assert rig.flush() == b""
        rig.answer()
        assert rig.flush() == response(LENGTH_2)


class TestStreams:
    def test_to_1_1_in_chunks(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        assert rig.answer(body=None)
        assert rig.events() == []
        rig.conn.send_body(b"ab", rig.now)
        rig.conn.send_body(b"", rig.now)
        rig.conn.end_body(rig.now)
        assert rig.events() == ["Done"]
        sent = rig.flush()
        assert sent == response(b"transfer-encoding: chunked\r\n", b"2\r\nab\r\n0\r\n\r\n")
        assert rig.conn.bytes_out == len(sent)
        assert rig.closing() is Close.NO

    def test_to_1_0_until_the_close(self) -> None:
        rig = Rig()
        rig.feed(OLD_KEPT)
        rig.read()
        rig.answer(body=None)
        rig.conn.send_body(b"ab", rig.now)
        rig.conn.end_body(rig.now)
        assert rig.flush() == response(SAYS_CLOSE, b"ab")
        assert rig.closing() is Close.LINGER

    def test_of_known_length(self) -> None:
        rig = Rig()
        rig.feed(OLD_KEPT)
        rig.read()
        rig.conn.send_response(200, TEXT, None, rig.now, content_length=2)
        rig.conn.send_body(b"a", rig.now)
        rig.conn.send_body(b"b", rig.now)
        rig.conn.end_body(rig.now)
        assert rig.flush() == response(LENGTH_2 + b"connection: keep-alive\r\n", b"ab")

    def test_more_than_its_length_is_cut(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.conn.send_response(200, TEXT, None, rig.now, content_length=2)
        rig.conn.send_body(b"a", rig.now)
        with pytest.raises(LocalProtocolError, match="longer"):
            rig.conn.send_body(b"bc", rig.now)
        assert rig.flush() == response(LENGTH_2, b"a")
        assert rig.closing() is Close.AFTER_FLUSH

    def test_less_than_its_length_is_cut(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.conn.send_response(200, TEXT, None, rig.now, content_length=2)
        rig.conn.send_body(b"a", rig.now)
        with pytest.raises(LocalProtocolError, match="shorter"):
            rig.conn.end_body(rig.now)
        assert rig.flush() == response(LENGTH_2, b"a")
        assert rig.closing() is Close.AFTER_FLUSH
        assert rig.events() == []

    def test_back_pressure(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        rig.flush()
        assert rig.conn.send_body(b"x" * 390, rig.now)
        assert not rig.conn.send_body(b"x" * 90, rig.now)
        assert not rig.conn.send_body(b"x", rig.now)
        rig.conn.data_sent(rig.conn.unsent - 201, rig.now)
        assert rig.events() == []
        rig.conn.data_sent(1, rig.now)
        assert rig.events() == ["Writable"]
        rig.conn.data_sent(1, rig.now)
        assert rig.events() == []

    def test_no_writable_once_the_body_has_ended(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        rig.conn.send_body(b"x" * 500, rig.now)
        rig.conn.end_body(rig.now)
        rig.flush()
        assert rig.events() == ["Done"]

    def test_paused_body(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read(collect=False)
        rig.conn.pause_body()
        assert rig.feed(b"1\r\nx\r\n") == []
        assert rig.reading()
        rig.feed(b"30\r\n" + b"y" * 48 + b"\r\n0\r\n\r\n")
        assert not rig.reading()
        rig.conn.resume_body(rig.now)
        assert rig.reading()
        assert rig.events() == [b"x" + b"y" * 48, ("body", b"")]

    def test_paused_and_resumed_with_nothing_held(self) -> None:
        rig = Rig()
        rig.feed(POST)
        rig.read(collect=False)
        rig.conn.pause_body()
        rig.conn.resume_body(rig.now)
        assert rig.events() == []
        assert rig.feed(b"hello") == [b"hello", ("body", b"")]

    def test_pausing_what_is_not_read_does_nothing(self) -> None:
        rig = Rig()
        rig.conn.pause_body()
        rig.conn.resume_body(rig.now)
        assert rig.feed(POST + b"hello") == ["head"]
        rig.conn.pause_body()
        rig.conn.resume_body(rig.now)
        assert rig.events() == []
        assert rig.read() == [("body", b"hello")]


class TestAbort:
    def test_a_chunked_body_ends_without_its_last_chunk(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        rig.conn.send_body(b"x", rig.now)
        rig.conn.abort(rig.now)
        assert rig.flush().endswith(b"1\r\nx\r\n")
        assert rig.closing() is Close.AFTER_FLUSH

    def test_a_body_until_the_close_ends_with_a_reset(self) -> None:
        rig = Rig()
        rig.feed(OLD)
        rig.read()
        rig.answer(body=None)
        rig.conn.send_body(b"x", rig.now)
        rig.conn.abort(rig.now)
        assert rig.flush() == b""
        assert rig.closing() is Close.RESET
        rig.conn.abort(rig.now)
        assert rig.closing() is Close.RESET

    @pytest.mark.parametrize("sent", [b"", GET[:3], GET, POST, b"bad\r\n\r\n"])
    def test_before_an_answer_it_just_closes(self, sent: bytes) -> None:
        rig = Rig()
        rig.feed(*filter(None, [sent]))
        rig.conn.abort(rig.now)
        assert rig.closing() is Close.AFTER_FLUSH
        assert not rig.answer()
        assert rig.flush() == b""
        assert rig.feed(GET) == []


class TestMisuse:
    def test_no_response_is_owed(self) -> None:
        rig = Rig()
        with pytest.raises(LocalProtocolError, match="owed while idle"):
            rig.answer()
        rig.serve()
        with pytest.raises(LocalProtocolError, match="owed while done"):
            rig.answer()
        rig.conn.next_request(rig.now)
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        with pytest.raises(LocalProtocolError, match="owed while response"):
            rig.answer()

    @pytest.mark.parametrize("sent", [b"", GET, b"served"])
    def test_no_body_is_under_way(self, sent: bytes) -> None:
        rig = Rig()
        if sent == GET:
            rig.feed(GET)
        elif sent:
            rig.serve()
        with pytest.raises(LocalProtocolError, match="no body to send"):
            rig.conn.send_body(b"x", rig.now)
        with pytest.raises(LocalProtocolError, match="no body to send"):
            rig.conn.end_body(rig.now)
        assert rig.closing() is Close.NO

    def test_a_body_is_read_once(self) -> None:
        rig = Rig()
        with pytest.raises(LocalProtocolError, match="no body to read while idle"):
            rig.read()
        rig.feed(POST)
        rig.read()
        with pytest.raises(LocalProtocolError, match="no body to read while request"):
            rig.read()
        rig.feed(b"hello")
        with pytest.raises(LocalProtocolError, match="no body to read while awaiting"):
            rig.read()

    def test_the_next_request_comes_after_done(self) -> None:
        rig = Rig()
        with pytest.raises(LocalProtocolError, match="no next while idle"):
            rig.conn.next_request(rig.now)
        rig.feed(GET)
        with pytest.raises(LocalProtocolError, match="no next while request"):
            rig.conn.next_request(rig.now)
