"""How a connection ends: drained, half closed, lost."""

from collections.abc import Callable

import pytest

from pipebus.http.server_events import Close
from pipebus.limits import Limits
from tests.core.http.server_kit import (
    CHUNKED,
    GET,
    LENGTH_2,
    POST,
    SAYS_CLOSE,
    Rig,
    response,
)


class TestDrain:
    @pytest.mark.parametrize("before", [b"", GET, b"\r\n"], ids=["new", "served", "empty line"])
    def test_an_idle_connection_may_bring_a_request_that_is_on_its_way(self, before: bytes) -> None:
        for in_time in (False, True):
            rig = Rig(Limits(idle_grace=0.25))
            if before == GET:
                rig.serve()
                rig.conn.next_request(rig.now)
            else:
                rig.feed(*filter(None, [before]))
            rig.conn.drain(rig.now)
            rig.after(0.24)
            assert rig.closing() is Close.NO
            if in_time:
                # It has begun, so the timer of heads runs.
                rig.feed(GET[:5])
                rig.after(5)
                assert SAYS_CLOSE in rig.serve(GET[5:])
                continue
            rig.feed(b"\r\n")  # begins nothing
            rig.after(0.02)
            assert rig.closing() is Close.AFTER_FLUSH
            assert (rig.feed(GET), rig.flush()) == ([], b"")

    def test_a_timer_that_ends_sooner_is_not_put_off(self) -> None:
        rig = Rig(Limits(head_timeout=10, idle_grace=5))
        rig.after(9)
        rig.conn.drain(rig.now)
        rig.after(1)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_what_has_begun_is_served_and_told(self) -> None:
        rig = Rig()
        rig.feed(GET[:5])
        rig.conn.drain(rig.now)
        assert rig.closing() is Close.NO
        assert rig.serve(GET[5:]) == response(LENGTH_2 + SAYS_CLOSE)
        assert rig.closing() is Close.LINGER  # the next request may be on its way

    def test_after_a_response_that_said_keep_alive(self) -> None:
        rig = Rig()
        rig.serve()
        rig.conn.drain(rig.now)
        rig.conn.next_request(rig.now)
        rig.after(0.2)
        assert rig.closing() is Close.NO  # its next request may be on its way
        rig.after(0.1)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_while_responses_wait_to_be_sent(self) -> None:
        rig = Rig(Limits(write_high_water=16))
        rig.feed(GET)
        rig.read()
        rig.answer()
        rig.conn.next_request(rig.now)
        rig.conn.drain(rig.now)
        rig.after(5)
        assert rig.closing() is Close.NO
        rig.flush()
        rig.after(0.2)
        assert rig.closing() is Close.NO
        rig.after(0.1)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_a_pipelined_request_is_still_served(self) -> None:
        rig = Rig()
        rig.feed(GET + GET)
        rig.read()
        rig.answer(body=None)
        rig.conn.drain(rig.now)
        rig.conn.end_body(rig.now)
        rig.flush()
        assert rig.events() == ["Done"]
        rig.conn.next_request(rig.now)
        assert rig.events() == ["head"]
        rig.read()
        rig.answer()
        assert rig.flush() == response(LENGTH_2 + SAYS_CLOSE)

    def test_only_an_empty_line_left(self) -> None:
        rig = Rig()
        rig.feed(GET + b"\r\n")
        rig.read()
        rig.answer()
        rig.conn.drain(rig.now)
        rig.flush()
        rig.conn.next_request(rig.now)
        rig.after(0.3)
        assert rig.closing() is Close.AFTER_FLUSH


class TestEnds:
    @pytest.mark.parametrize("first", [b"", GET, b"\r\n"])
    def test_eof_when_idle_is_a_clean_close(self, first: bytes) -> None:
        rig = Rig()
        if first == GET:
            rig.serve()
            rig.conn.next_request(rig.now)
        else:
            rig.feed(*filter(None, [first]))
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []
        assert rig.closing() is Close.AFTER_FLUSH
        assert not rig.reading()

    @pytest.mark.parametrize(
        "sent", [GET[:1], GET[:-1], POST, POST + b"hell", CHUNKED, CHUNKED + b"1\r\nx\r\n"]
    )
    @pytest.mark.parametrize("collect", [True, False])
    def test_eof_inside_a_request(self, sent: bytes, collect: bool) -> None:
        rig = Rig()
        if "head" in rig.feed(sent):
            rig.read(collect=collect)
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["PeerGone"]
        assert rig.closing() is Close.AFTER_FLUSH
        assert rig.flush() == b""
        rig.conn.connection_lost(rig.now)
        assert rig.events() == []

    def test_eof_inside_a_request_lets_an_earlier_answer_out(self) -> None:
        rig = Rig()
        rig.feed(GET + POST)
        rig.read()
        rig.answer()
        rig.events()
        rig.conn.next_request(rig.now)
        rig.events()
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["PeerGone"]
        assert rig.flush() == response(LENGTH_2)

    def test_half_close_after_a_complete_request(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["HalfClosed"]
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []
        rig.answer()
        assert rig.events() == ["Done"]
        assert rig.flush() == response(LENGTH_2 + SAYS_CLOSE)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_half_close_while_the_answer_streams(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=None)
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["HalfClosed"]
        rig.conn.end_body(rig.now)
        assert rig.events() == ["Done"]
        rig.conn.next_request(rig.now)
        assert rig.closing() is Close.AFTER_FLUSH

    def test_half_close_between_answer_and_next(self) -> None:
        rig = Rig()
        rig.serve()
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []
        rig.conn.next_request(rig.now)
        assert rig.events() == []
        assert rig.closing() is Close.AFTER_FLUSH

    def test_half_close_before_the_body_was_asked_for(self) -> None:
        for request_ in (GET, POST + b"hello", CHUNKED + b"1\r\nx\r\n0\r\n\r\n"):
            rig = Rig()
            rig.feed(request_)
            rig.conn.receive_eof(rig.now)
            assert rig.events() == []
            complete, half = rig.read()
            assert complete[0] == "body"  # type: ignore[index]  # a word of the kit
            assert half == "HalfClosed"
            rig.answer()
            assert rig.flush().endswith(SAYS_CLOSE + b"\r\nhi")

    def test_half_close_inside_a_body_not_asked_for(self) -> None:
        rig = Rig()
        rig.feed(POST + b"hell")
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["PeerGone"]  # known from the length
        rig = Rig()
        rig.feed(CHUNKED + b"1\r\nx\r\n")
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []  # not known before it is decoded
        assert rig.read() == ["PeerGone"]

    def test_half_close_inside_a_body_while_paused(self) -> None:
        rig = Rig()
        rig.feed(CHUNKED)
        rig.read(collect=False)
        rig.conn.pause_body()
        rig.feed(b"1\r\nx\r\n")
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []
        rig.conn.resume_body(rig.now)
        assert rig.events() == [b"x", "PeerGone"]

    def test_half_close_after_pipelined_requests(self) -> None:
        rig = Rig()
        rig.feed(GET + GET + POST)
        rig.read()
        rig.conn.receive_eof(rig.now)
        assert rig.events() == ["HalfClosed"]
        rig.answer()
        assert rig.events() == ["Done"]
        rig.conn.next_request(rig.now)
        assert rig.events() == ["head"]
        assert rig.read() == [("body", b""), "HalfClosed"]
        rig.answer()
        assert rig.flush() == response(LENGTH_2) * 2
        assert rig.events() == ["Done"]
        rig.conn.next_request(rig.now)
        assert rig.events() == ["head"]
        assert rig.read() == ["PeerGone"]

    def test_half_close_with_half_a_head_behind(self) -> None:
        rig = Rig()
        rig.feed(GET + GET[:5])
        rig.read()
        rig.conn.receive_eof(rig.now)
        rig.answer()
        rig.events()
        rig.conn.next_request(rig.now)
        assert rig.events() == ["PeerGone"]

    def test_half_close_while_the_next_head_is_held(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer(body=b"x" * 500)
        rig.conn.next_request(rig.now)
        rig.conn.receive_eof(rig.now)
        assert rig.closing() is Close.NO
        rig.flush()
        assert rig.closing() is Close.AFTER_FLUSH
        assert rig.events() == ["Done"]

    def test_half_close_after_a_bad_request(self) -> None:
        rig = Rig()
        assert rig.feed(b"bad\r\n\r\n") == [400]
        rig.conn.receive_eof(rig.now)
        assert rig.events() == []
        rig.answer(400)
        assert rig.closing() is Close.AFTER_FLUSH  # nothing more can come: no lingering
        assert rig.flush().startswith(b"HTTP/1.1 400 ")

    def test_eof_inside_a_body_cuts_the_answer_visibly(self) -> None:
        for request_, close in (
            (CHUNKED, Close.AFTER_FLUSH),
            (POST.replace(b"1.1", b"1.0"), Close.RESET),
        ):
            rig = Rig()
            rig.feed(request_)
            rig.read(collect=False)
            rig.answer(body=None)
            rig.conn.receive_eof(rig.now)
            assert rig.events() == ["PeerGone"]
            assert rig.closing() is close
            assert not rig.flush().endswith(b"0\r\n\r\n")

    @pytest.mark.parametrize("stage", range(8))
    def test_lost_at_any_time(self, stage: int) -> None:
        rig = Rig()
        steps: list[Callable[[], object]] = [
            lambda: rig.feed(POST[:9]),
            lambda: rig.feed(POST[9:]),
            lambda: rig.feed(b"hel"),
            rig.read,
            lambda: rig.feed(b"lo"),
            lambda: rig.answer(body=None),
            lambda: rig.conn.send_body(b"hi", rig.now),
            lambda: rig.conn.end_body(rig.now),
        ]
        for step in steps[:stage]:
            step()
        rig.events()
        rig.conn.connection_lost(rig.now)
        rig.conn.connection_lost(rig.now)
        assert rig.events() == ["PeerGone"]
        assert rig.closing() is Close.RESET
        assert rig.conn.deadline == float("inf")
        for step in steps[stage:]:
            step()
        assert rig.events() == []
        assert rig.flush() == b""
        assert not rig.reading()

    def test_sent_bytes_reported_after_a_reset_are_no_news(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer()
        data = rig.conn.data_to_send()
        rig.conn.connection_lost(rig.now)
        rig.conn.data_sent(len(data), rig.now)
        assert rig.conn.unsent == 0

    def test_sending_nothing_is_no_news(self) -> None:
        rig = Rig()
        rig.feed(GET)
        rig.read()
        rig.answer()
        before = rig.conn.deadline
        rig.now += 1
        rig.conn.data_sent(0, rig.now)
        assert rig.conn.deadline == before
