"""The usual request in one go, by name: what is taken so, what is not, and what comes of it."""

from collections.abc import Sequence
from typing import Final

import pytest

from pipebus.bus.exchange import Exchange
from pipebus.http.response import Response
from tests.core.dispatch.both_ways import ShortWay
from tests.core.dispatch.whole_play import REPLIES
from tests.core.dispatch.world import Peer, World

GET: Final = b"GET /plain/1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST: Final = b"POST /plain/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"


def served(watched: Sequence[str] = (), **limits: object) -> tuple[World, Peer]:
    world = World(ShortWay, watched, **limits)
    world.route("GET /plain/{n}")
    world.route("POST /plain/{n}", max_body=10)
    world.route("PUT /stream/{n}", stream=True)
    return world, world.connect()


def taken(world: World) -> tuple[int, int, int]:
    """How many requests were received, answered and ended in one go."""
    assert isinstance(world.dispatch, ShortWay)
    return world.dispatch.taken


@pytest.mark.parametrize("request_", [GET, POST])
def test_the_usual_request_is_taken_in_one_go(request_: bytes) -> None:
    world, peer = served()
    for number in range(1, 4):
        peer.send(request_)
        assert world.admission.bodies.held == (5 if request_ is POST else 0)
        world.reply(Response(200, b"hello"))
        assert taken(world) == (number, number, number)
    assert peer.statuses == [200] * 3
    peer.reset()
    world.assert_nothing_left()


@pytest.mark.parametrize(
    "data",
    [
        GET + GET,
        GET[:-1],
        b"GE",
        b"\r\n" + GET,
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"plain", b"nothing"),
        GET.replace(b"GET", b"DELETE"),
        GET.replace(b"/plain/1", b"/plain/%zz"),
        GET.replace(b"Host: h", b"Host: h\r\nConnection: close"),
        POST.replace(b": 5", b": 6"),
        POST.replace(b": 5", b": 11") + b" world",
        POST.replace(b"POST /plain", b"PUT /stream"),
    ],
    ids=str,
)
def test_what_is_not_as_usual_is_not(data: bytes) -> None:
    world, peer = served()
    peer.send(data)
    assert taken(world)[:2] == (0, 0)


def test_a_body_as_large_as_may_be_is() -> None:
    world, peer = served()
    peer.send(POST.replace(b": 5", b": 10") + b"world")
    assert taken(world)[0] == 1


def test_a_body_that_a_queue_may_hold_is_not() -> None:
    world, peer = served(watched=["net.http.request"])
    peer.send(POST)
    assert taken(world)[0] == 0
    world.reply()
    peer.send(GET)
    assert taken(world)[0] == 1


def test_a_body_without_room_is_not() -> None:
    world, peer = served(max_buffered=4, buffered_wait=2.0)
    peer.send(POST)
    assert taken(world)[0] == 0
    assert world.timers.deadline_reason == "buffered_wait"


def test_the_request_of_a_connection_over_the_limit_is_not() -> None:
    world, _ = served(max_connections=1)
    second = world.connect()
    second.send(GET)
    assert taken(world)[0] == 0
    assert second.statuses == [503]


def test_a_request_during_a_drain_is_not() -> None:
    world, peer = served()
    world.dispatch.drain(world.now)
    world.pump()
    peer.send(GET)
    assert taken(world)[0] == 0
    world.reply()
    assert taken(world) == (0, 0, 0)
    assert peer.responses[0][1]["connection"] == "close"


def test_a_request_that_is_refused_at_once_is_answered_at_once() -> None:
    world, peer = served(max_in_flight=1)
    peer.send(GET)
    second = world.connect()
    second.send(GET)
    assert taken(world) == (2, 0, 1)
    assert second.statuses == [503]
    second.send(GET)
    assert second.statuses == [503, 503]


@pytest.mark.parametrize("name", ["own bytes", "bytearray", "streamed", "none", "bad name", "204"])
def test_an_answer_that_is_not_as_usual_is_not(name: str) -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.bus.reply(exchange, REPLIES[name](), world.now)
    world.finish(exchange)
    assert taken(world)[1] == 0
    assert len(peer.statuses) == 1


def test_the_head_of_a_slow_reader_is_ended_when_the_last_byte_has_left() -> None:
    world, peer = served()
    peer.gulp = 50
    peer.send(GET)
    world.reply()
    assert taken(world) == (1, 1, 1)
    peer.reads = False
    peer.send(GET)
    world.reply()
    assert peer.session.deadline_reason == "write_timeout"
    peer.send(GET)
    assert taken(world) == (2, 2, 1)
    peer.read_again()
    assert taken(world) == (2, 2, 2)
    assert len(world.started) == 1


def test_an_answer_whose_event_is_parked_stops_the_connection_and_nothing_is_due() -> None:
    world, peer = served(write_timeout=5.0, publish_timeout=60.0, idle_timeout=20.0)
    listener = world.bus.subscribe("net.http.response", world.now, maxsize=1)
    for _ in range(2):
        peer.send(GET)
        world.reply()
    assert taken(world) == (2, 2, 2)
    assert peer.session.publisher.parked == 1
    assert (peer.session.deadline, peer.session.deadline_reason) == (160.0, "publish_timeout")
    peer.send(GET)
    world.wait(10.0)
    assert world.started == []
    world.bus.take(listener, world.now)
    world.pump()
    assert taken(world) == (2, 2, 2)
    assert len(world.started) == 1


def test_a_session_is_reported_once_for_all_that_happened() -> None:
    world, peer = served(read_ahead=10)
    dispatch, session = world.dispatch, peer.session
    dispatch.receive_data(session, GET, world.now)
    dispatch.receive_data(session, GET, world.now)  # too much of it: the peer is to be stopped
    exchange = world.bus.next_output()
    assert isinstance(exchange, Exchange)
    world.bus.reply(exchange, Response(), world.now)
    dispatch.exchange_ended(exchange, world.now)
    assert taken(world) == (1, 1, 0)
    assert list(dispatch.outputs) == [session]


def test_a_peer_that_is_stopped_is_read_again_after_the_answer() -> None:
    world, peer = served(read_ahead=10)
    peer.send(GET)
    peer.send(GET[:20])
    told = [peer.session.wanted_read]
    world.reply()
    assert taken(world) == (1, 1, 1)
    told.append(peer.session.wanted_read)
    assert told == [False, True]
    peer.send(GET[20:])
    assert len(world.started) == 1
