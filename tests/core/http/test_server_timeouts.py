"""Every timer of a server connection, in virtual time."""

import pytest

from pipebus.http.server_events import Close
from pipebus.limits import INFINITY
from tests.core.http.server_kit import CHUNKED, GET, POST, SMALL, Rig

EDGE = 0.001


def test_nothing_ever_came_closes_silently() -> None:
    rig = Rig(now=100.0)
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (110.0, "head_timeout")
    rig.after(10 - EDGE)
    assert rig.closing() is Close.NO
    rig.after(EDGE)
    assert rig.closing() is Close.AFTER_FLUSH
    assert rig.events() == []
    assert rig.conn.deadline == INFINITY


def test_an_empty_line_is_nothing() -> None:
    rig = Rig()
    rig.feed(b"\r\n")
    rig.after(10)
    assert rig.events() == []
    assert rig.closing() is Close.AFTER_FLUSH


def test_the_first_head_counts_from_accept() -> None:
    rig = Rig()
    rig.after(9)
    rig.feed(GET[:5])
    rig.after(0.5)
    rig.feed(GET[5:9])
    assert rig.conn.deadline == 10.0
    rig.after(0.5)
    assert rig.events() == [408]
    rig.answer(408)
    assert rig.closing() is Close.LINGER


def test_a_later_head_counts_from_its_first_byte() -> None:
    rig = Rig()
    rig.serve()
    rig.conn.next_request(rig.now)
    rig.after(70)
    rig.feed(GET[:5])
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (80.0, "head_timeout")
    rig.after(5)
    rig.feed(GET[5:9])
    assert rig.conn.deadline == 80.0
    rig.after(5)
    assert rig.events() == [408]


def test_a_head_that_waited_half_read() -> None:
    rig = Rig()
    rig.feed(GET + GET[:5])
    rig.read()
    rig.after(1000)
    rig.answer()
    rig.flush()
    rig.conn.next_request(rig.now)
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (rig.now + 10, "head_timeout")


def test_idle_closes_silently() -> None:
    rig = Rig()
    rig.serve()
    rig.conn.next_request(rig.now)
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (75.0, "idle_timeout")
    rig.after(75 - EDGE)
    assert rig.closing() is Close.NO
    rig.after(EDGE)
    assert rig.closing() is Close.AFTER_FLUSH
    assert rig.events() == []


def test_no_timer_runs_while_an_answer_is_owed() -> None:
    rig = Rig()
    rig.feed(GET)
    assert rig.conn.deadline == INFINITY
    rig.read()
    assert rig.conn.deadline == INFINITY
    assert rig.conn.deadline_reason == ""


@pytest.mark.parametrize("request_", [POST, CHUNKED])
def test_a_body_may_not_stall(request_: bytes) -> None:
    rig = Rig()
    rig.feed(request_)
    rig.after(100)  # nobody has asked for it: its owner's time
    rig.read(collect=False)
    rig.after(29)
    rig.feed(b"1")
    rig.after(29)
    rig.feed(b"1")
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (rig.now + 30, "body_timeout")
    rig.after(30)
    assert rig.events()[-1] == 408
    rig.answer(408)
    assert rig.closing() is Close.LINGER


def test_a_paused_body_does_not_stall() -> None:
    rig = Rig()
    rig.feed(POST)
    rig.read(collect=False)
    rig.conn.pause_body()
    rig.feed(b"h")
    assert rig.conn.deadline == INFINITY
    rig.after(1000)
    rig.conn.resume_body(rig.now)
    assert rig.events() == [b"h"]
    assert rig.conn.deadline == rig.now + 30


def test_a_body_that_stalls_while_its_answer_streams() -> None:
    rig = Rig()
    rig.feed(CHUNKED)
    rig.read(collect=False)
    rig.answer(body=None)
    rig.flush()
    rig.after(30)
    assert rig.events() == [408]
    rig.conn.abort(rig.now)
    assert rig.closing() is Close.AFTER_FLUSH


def test_a_peer_that_takes_nothing_is_reset() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.answer(body=b"x" * 1000)
    rig.events()
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (30.0, "write_timeout")
    rig.after(29)
    rig.conn.data_sent(1, rig.now)
    rig.after(29)
    assert rig.closing() is Close.NO
    rig.after(1)
    assert rig.events() == ["PeerGone"]
    assert rig.closing() is Close.RESET
    assert rig.conn.data_to_send() == b""
    rig.conn.connection_lost(rig.now)
    assert rig.events() == []


def test_more_output_does_not_put_the_write_timeout_off() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.answer(body=None)
    for _ in range(29):
        rig.after(1)
        rig.conn.send_body(b"x", rig.now)
    rig.after(1)
    assert rig.closing() is Close.RESET


def test_a_stream_starts_the_write_timer_anew() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.answer(body=None)
    rig.flush()
    assert rig.conn.deadline == INFINITY
    rig.after(100)
    rig.conn.send_body(b"x", rig.now)
    assert rig.conn.deadline == rig.now + 30
    rig.flush()
    rig.conn.send_body(b"", rig.now)
    assert rig.conn.deadline == INFINITY


def test_the_last_answer_may_stall_too() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.conn.close_after_response()
    rig.answer()
    rig.after(30)
    assert rig.closing() is Close.RESET
    assert rig.events() == ["Done", "PeerGone"]


def test_the_earlier_of_two_timers_is_told() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.answer()
    rig.conn.next_request(rig.now)
    assert rig.conn.deadline_reason == "write_timeout"
    rig.flush()
    assert rig.conn.deadline_reason == "idle_timeout"
    assert rig.conn.deadline == 75.0


def test_lingering_is_bounded_from_the_flush() -> None:
    rig = Rig()
    rig.feed(b"bad\r\n\r\n")
    rig.answer(400)
    rig.after(20)
    assert rig.closing() is Close.LINGER
    rig.flush()
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (22.0, "linger_timeout")
    rig.after(1)
    rig.feed(b"x" * 1000)
    rig.after(1 - EDGE)
    assert rig.closing() is Close.LINGER
    rig.after(EDGE)
    assert rig.closing() is Close.AFTER_FLUSH
    assert rig.conn.deadline == INFINITY


def test_lingering_when_everything_was_out_before() -> None:
    rig = Rig()
    rig.feed(POST.replace(b"POST", b"HEAD"))
    rig.answer(body=None)
    rig.flush()
    rig.after(5)
    rig.conn.end_body(rig.now)
    assert rig.closing() is Close.LINGER
    assert rig.conn.deadline == rig.now + 2


def test_lost_while_lingering() -> None:
    rig = Rig()
    rig.feed(b"bad\r\n\r\n")
    rig.answer(400)
    rig.flush()
    rig.events()
    rig.conn.connection_lost(rig.now)
    assert rig.events() == ["PeerGone"]
    assert rig.conn.deadline == INFINITY


def test_held_back_answers_stop_the_idle_timer() -> None:
    rig = Rig()
    rig.feed(GET)
    rig.read()
    rig.answer(body=b"x" * 500)
    rig.conn.next_request(rig.now)
    rig.after(20)
    assert rig.conn.deadline_reason == "write_timeout"
    rig.flush()
    assert (rig.conn.deadline, rig.conn.deadline_reason) == (rig.now + 75, "idle_timeout")


@pytest.mark.parametrize("early", [0.0, 5.0])
def test_early_calls_do_nothing(early: float) -> None:
    rig = Rig()
    rig.feed(GET[:3])
    rig.conn.handle_timeout(early)
    assert rig.closing() is Close.NO
    assert rig.events() == []
    assert rig.conn.deadline == SMALL.head_timeout


def test_late_and_repeated_calls_are_harmless() -> None:
    rig = Rig()
    rig.feed(GET[:3])
    rig.conn.handle_timeout(1000.0)
    rig.conn.handle_timeout(1000.0)
    assert rig.events() == [408]
