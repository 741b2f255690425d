"""Bodies that move while the handler runs, in both directions."""

import pytest

from pipebus.errors import LocalProtocolError, StreamInterrupted
from pipebus.http.message import StreamRequest
from pipebus.http.response import Response
from pipebus.http.session import BodyStream
from tests.core.dispatch.world import Peer, World, streamed

GET = b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n"
UPLOAD = b"POST /s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def served(**limits: object) -> tuple[World, Peer]:
    world = World(**limits)
    world.route("GET /s")
    world.route("POST /s", stream=True)
    return world, world.connect()


def body_of(world: World) -> BodyStream:
    request = world.started[0].request.data
    assert isinstance(request, StreamRequest)
    assert isinstance(request.body_state, BodyStream)
    return request.body_state


def stopped(body: BodyStream) -> bool:
    return body.paused


def over(body: BodyStream) -> bool:
    return body.finished


# --- responses ---------------------------------------------------------------------------------


def test_a_streamed_response_goes_out_chunk_by_chunk() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    assert world.stream(streamed())
    assert world.dispatch.stream_chunk(exchange, b"one", world.now)
    assert world.dispatch.stream_chunk(exchange, b"", world.now)  # not the last chunk of the wire
    world.pump()
    assert b"one" in peer.received
    assert world.of("net.http.response") == []
    assert world.admission.in_flight == 1
    assert world.dispatch.stream_chunk(exchange, b"two", world.now)
    world.dispatch.stream_end(exchange, world.now)
    world.pump()
    assert peer.responses[0][2] == b"onetwo"
    assert exchange.outcome == "replied"
    assert world.admission.in_flight == 0
    (event,) = world.of("net.http.response")
    assert (event.data.status, event.data.bytes_out) == (200, len(peer.received))
    peer.send(GET)
    assert len(world.started) == 1


def test_the_head_meets_the_deadline() -> None:
    world, peer = served(stream_idle=None)
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    world.wait(100.0)
    assert exchange.outcome is None
    assert peer.is_open()


def test_a_head_after_the_deadline_is_too_late() -> None:
    world, peer = served()
    peer.send(GET)
    world.now += 30.0
    assert not world.stream(streamed())
    assert peer.statuses == [504]


def test_a_stream_that_produces_nothing_is_cut() -> None:
    world, peer = served(stream_idle=60.0)
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    world.wait(59.0)
    world.dispatch.stream_chunk(exchange, b"x", world.now)
    world.pump()
    world.wait(59.0)
    assert peer.is_open()
    assert world.timers.deadline_reason == "stream_idle"
    world.wait(1.0)
    assert peer.ended
    assert not peer.received.endswith(b"0\r\n\r\n")
    assert exchange.outcome == "failed"
    (event,) = world.of("net.http.error")
    assert (event.data.reason, event.data.status) == ("stream_idle", 200)


def test_server_sent_events_may_be_silent() -> None:
    world, peer = served(stream_idle=60.0)
    peer.send(GET)
    response = streamed()
    response.idle_timeout = False
    world.stream(response)
    world.wait(1000.0)
    assert peer.is_open()


def test_a_slow_peer_pauses_the_stream_and_it_is_not_the_streams_fault() -> None:
    world, peer = served(write_high_water=10, stream_idle=5.0, write_timeout=60.0)
    peer.reads = False
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    assert not world.dispatch.stream_chunk(exchange, b"x" * 100, world.now)
    world.wait(30.0)
    assert exchange.outcome is None
    assert world.writable == []
    peer.read_again()
    assert world.writable == [exchange]
    world.wait(5.0)  # now it is
    assert exchange.outcome == "failed"


def test_a_failing_body_is_cut_so_that_the_peer_sees_it() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    world.dispatch.stream_chunk(exchange, b"x", world.now)
    world.dispatch.stream_failed(exchange, ValueError("secret"), world.now)
    world.pump()
    assert peer.ended
    assert not peer.received.endswith(b"0\r\n\r\n")
    assert exchange.outcome == "failed"
    (event,) = world.of("net.http.error")
    assert event.data.reason == "handler"
    world.assert_nothing_left()


@pytest.mark.parametrize("size", [2, 4])
def test_a_body_of_another_size_than_was_said_is_cut(size: int) -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed(content_length=3))
    if size > 3:
        with pytest.raises(LocalProtocolError):
            world.dispatch.stream_chunk(exchange, b"x" * size, world.now)
        world.dispatch.stream_failed(exchange, ValueError(), world.now)
    else:
        world.dispatch.stream_chunk(exchange, b"x" * size, world.now)
        world.dispatch.stream_end(exchange, world.now)
    world.pump()
    assert exchange.outcome == "failed"
    assert peer.ended
    assert peer.received.partition(b"\r\n\r\n")[2] == (b"" if size > 3 else b"xx")


def test_a_chunk_is_bytes() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    with pytest.raises(TypeError, match=r"bytes, not str|bytes object expected; got str"):
        world.dispatch.stream_chunk(exchange, "text", world.now)  # type: ignore[arg-type]  # the point
    world.dispatch.stream_chunk(exchange, b"x", world.now)
    assert exchange.outcome is None


def test_a_late_producer_cannot_write_into_the_next_response() -> None:
    world, peer = served()
    peer.send(GET)
    first = world.started[0]
    world.stream(streamed())
    world.dispatch.stream_end(first, world.now)
    world.pump()
    peer.send(GET)
    world.stream(streamed())
    before = peer.received
    with pytest.raises(StreamInterrupted):
        world.dispatch.stream_chunk(first, b"late", world.now)
    world.dispatch.stream_end(first, world.now)
    world.dispatch.stream_failed(first, ValueError(), world.now)
    assert not world.dispatch.start_stream(first, streamed(), world.now)
    world.pump()
    assert peer.received == before
    assert peer.is_open()


@pytest.mark.parametrize("request_line", [b"HEAD /s", b"GET /s"])
def test_a_response_without_content_is_not_iterated(request_line: bytes) -> None:
    world, peer = served()
    peer.send(request_line + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    status = 204 if request_line.startswith(b"GET") else 200
    response = streamed()
    response.status = status
    assert not world.stream(response)
    assert peer.received.endswith(b"\r\n\r\n")
    (event,) = world.of("net.http.response")
    assert (event.data.status, event.data.outcome) == (status, "replied")
    assert peer.is_open()


def test_spoilt_fields_of_a_stream_are_answered_500() -> None:
    world, peer = served()
    peer.send(GET)
    response = streamed()
    response.headers.raw.append((b"x", b"a\r\nb: c"))
    assert not world.stream(response)
    assert peer.statuses == [500]
    (event,) = world.of("net.http.response")
    assert event.data.outcome == "failed"


def test_disconnecting_ends_a_stream_at_once() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    peer.reset()
    assert (exchange.outcome, exchange.cancel_reason) == ("cancelled", "disconnect")
    (event,) = world.of("net.http.error")
    assert (event.data.reason, event.data.status) == ("disconnect", 200)
    world.assert_nothing_left()


# --- requests ----------------------------------------------------------------------------------


def test_a_streamed_request_is_dispatched_at_its_head() -> None:
    world, peer = served()
    peer.send(UPLOAD)
    body = body_of(world)
    assert world.started[0].request.deadline is None  # it moves with the body
    assert body.take(world.now) is None
    assert not over(body)
    peer.send(b"3\r\nabc\r\n")
    assert world.news == [body]
    assert body.take(world.now) == b"abc"
    peer.send(b"1\r\nd\r\n0\r\n\r\n")
    assert body.done
    assert not over(body)
    assert body.take(world.now) == b"d"
    assert over(body)
    world.reply(Response.text("4"))
    assert peer.statuses == [200]


def test_a_request_without_a_body_ends_at_once() -> None:
    world, peer = served()
    peer.send(b"POST /s HTTP/1.1\r\nHost: h\r\n\r\n")
    body = body_of(world)
    assert over(body)
    assert world.news == [body]
    assert body.take(world.now) is None


def test_continue_is_sent_when_the_body_will_be_read_and_only_then() -> None:
    world, peer = served(max_in_flight=1)
    other = world.connect()
    peer.send(UPLOAD[:-2] + b"Expect: 100-continue\r\n\r\n")
    other.send(UPLOAD[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert peer.received.startswith(b"HTTP/1.1 100 ")
    assert b" 100 " not in other.received
    assert other.statuses == [503]


def test_a_slow_handler_stops_the_peer_and_goes_on_at_half() -> None:
    world, peer = served(read_ahead=8)
    peer.send(UPLOAD)
    body = body_of(world)
    for _ in range(4):
        peer.send(b"4\r\nabcd\r\n")
    assert (body.size, stopped(body), peer.session.wants_read) == (12, True, False)
    assert body.take(world.now) == b"abcd"
    assert (body.size, stopped(body)) == (8, True)
    assert body.take(world.now) == b"abcd"
    world.pump()
    assert (body.size, stopped(body), peer.session.wants_read) == (8, False, True)
    assert [body.take(world.now) for _ in range(3)] == [b"abcd", b"abcd", None]
    peer.send(b"0\r\n\r\n")
    assert over(body)


def test_the_timeout_runs_from_the_last_byte_that_came_or_was_taken() -> None:
    world, peer = served(read_ahead=4, body_timeout=100.0)
    peer.send(UPLOAD)
    exchange = world.started[0]
    world.wait(20.0)
    peer.send(b"4\r\nabcd\r\n")
    world.wait(20.0)
    body_of(world).take(world.now)
    world.wait(29.0)
    assert peer.statuses == []
    world.wait(1.0)
    assert exchange.outcome == "timed_out"
    assert peer.statuses == [504]
    assert body_of_error(exchange.request.data) == "StreamInterrupted"


def body_of_error(request: object) -> str:
    assert isinstance(request, StreamRequest)
    assert isinstance(request.body_state, BodyStream)
    return type(request.body_state.error).__name__


def test_after_the_whole_body_taking_it_does_not_move_the_deadline() -> None:
    world, peer = served()
    peer.send(UPLOAD + b"4\r\nabcd\r\n0\r\n\r\n")
    exchange = world.started[0]
    world.wait(20.0)
    assert body_of(world).take(world.now) == b"abcd"
    world.wait(10.0)
    assert exchange.outcome == "timed_out"


def test_an_early_answer_ends_the_reading() -> None:
    world, peer = served()
    peer.send(UPLOAD + b"4\r\nabcd\r\n")
    body = body_of(world)
    world.reply(Response.text("enough"))
    assert isinstance(body.error, StreamInterrupted)
    assert body.take(world.now) is None
    assert peer.statuses == [200]
    assert peer.responses[0][1]["connection"] == "close"
    assert peer.fin
    peer.send(b"4\r\nabcd\r\n0\r\n\r\n")
    assert body.size == 0


def test_a_body_that_breaks_is_answered_and_the_handler_told() -> None:
    world, peer = served()
    peer.send(UPLOAD)
    exchange = world.started[0]
    body = body_of(world)
    peer.send(b"nonsense\r\n")
    assert isinstance(body.error, StreamInterrupted)
    assert peer.statuses == [400]
    assert exchange.outcome == "cancelled"
    (event,) = world.of("net.http.response")
    assert (event.data.status, event.data.outcome, event.data.route) == (400, "cancelled", "/s")
    assert event.correlation_id == exchange.id


def test_a_body_that_breaks_under_a_streamed_answer_cuts_it() -> None:
    world, peer = served()
    peer.send(UPLOAD)
    exchange = world.started[0]
    world.stream(streamed())
    peer.send(b"nonsense\r\n")
    assert exchange.outcome == "cancelled"
    (event,) = world.of("net.http.error")
    assert (event.data.reason, event.data.status) == ("request_body", 200)
    assert peer.ended
    world.assert_nothing_left()


def test_a_body_that_stalls_is_408() -> None:
    world, peer = served(body_timeout=5.0)
    peer.send(UPLOAD)
    world.wait(5.0)
    assert peer.statuses == [408]


def test_a_body_over_the_bound_under_way_is_413() -> None:
    world, peer = served()
    peer.send(UPLOAD)
    for _ in range(11):
        peer.send(b"64\r\n" + b"x" * 100 + b"\r\n")
        while world.started and body_of(world).take(world.now):
            pass
    assert peer.statuses == [413]


def test_echo_both_ways_at_once() -> None:
    world, peer = served()
    peer.send(UPLOAD)
    exchange = world.started[0]
    body = body_of(world)
    world.stream(streamed())
    for piece in (b"abc", b"defg"):
        peer.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        assert body.take(world.now) == piece
        world.dispatch.stream_chunk(exchange, piece, world.now)
        world.pump()
        assert peer.received.endswith(piece + b"\r\n")
    peer.send(b"0\r\n\r\n")
    assert over(body)
    world.dispatch.stream_end(exchange, world.now)
    world.pump()
    assert peer.responses[0][2] == b"abcdefg"
    assert peer.fin  # that the request would be read to its end was not sure
    peer.shut()
    world.assert_nothing_left()
