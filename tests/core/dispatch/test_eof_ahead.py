"""The peer's end that a driver sees behind bytes which it has not read."""

import pytest

from pipebus.bus.exchange import Exchange
from pipebus.http.response import Response
from tests.core.dispatch.world import Peer, World, streamed

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
UPLOAD = b"POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


def served(**limits: object) -> tuple[World, Peer]:
    world = World(half_close_grace=1.0, **limits)
    world.route("GET /a")
    world.route("POST /a")
    world.route("POST /s", stream=True)
    return world, world.connect()


def fin(world: World, peer: Peer) -> None:
    world.dispatch.eof_ahead(peer.session, world.now)
    world.pump()


def cancelled(exchange: Exchange) -> bool:
    return (exchange.outcome, exchange.cancel_reason) == ("cancelled", "disconnect")


def test_a_handler_that_runs_on_is_cancelled() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    fin(world, peer)
    assert world.timers.deadline_reason == "half_close_grace"
    world.wait(0.99)
    assert exchange.outcome is None
    world.wait(0.01)
    assert cancelled(exchange)
    assert peer.received == b""
    assert peer.ended


def test_what_is_answered_in_time_is_answered_and_what_is_left_is_read() -> None:
    world, peer = served()
    peer.send(GET)
    fin(world, peer)
    world.reply(Response.text("one"))
    peer.send(GET)
    peer.shut()
    world.reply(Response.text("two"))
    assert [body for _, _, body in peer.responses] == [b"one", b"two"]
    assert peer.ended == "closed"
    world.assert_nothing_left()


def test_it_is_remembered_for_the_requests_that_wait_behind() -> None:
    world, peer = served()
    peer.send(GET + GET)
    fin(world, peer)
    world.reply()
    second = world.started[0]
    world.wait(1.0)
    assert cancelled(second)
    assert peer.statuses == [200]


def test_a_stream_goes_on_while_it_moves() -> None:
    world, peer = served()
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    fin(world, peer)
    for _ in range(5):
        world.wait(0.9)
        world.dispatch.stream_chunk(exchange, b"x", world.now)
        world.pump()
    assert peer.is_open()
    world.wait(1.0)
    assert cancelled(exchange)


def test_a_slow_reader_has_its_time_and_the_grace_begins_when_it_reads() -> None:
    world, peer = served(write_high_water=10, write_timeout=30.0)
    peer.send(GET)
    exchange = world.started[0]
    world.stream(streamed())
    peer.reads = False
    assert not world.dispatch.stream_chunk(exchange, b"x" * 20, world.now)
    fin(world, peer)
    world.wait(5.0)
    assert peer.is_open()
    peer.read_again()
    world.wait(0.99)
    assert peer.is_open()
    world.wait(0.01)
    assert cancelled(exchange)


@pytest.mark.parametrize("route", ["/a", "/s"])
def test_the_rest_of_a_body_may_be_what_is_unread(route: str) -> None:
    world, peer = served()
    peer.send(UPLOAD.replace(b"/s", route.encode()) + b"12345")
    fin(world, peer)
    world.wait(5.0)
    assert peer.is_open()
    peer.send(b"67890")
    exchange = world.started[0]
    assert world.timers.deadline_reason == "half_close_grace"
    world.wait(1.0)
    assert cancelled(exchange)


def test_an_upload_that_is_answered_while_it_comes_is_not_cut() -> None:
    world, peer = served()
    peer.send(UPLOAD + b"12345")
    exchange = world.started[0]
    fin(world, peer)
    world.stream(streamed())
    world.dispatch.stream_chunk(exchange, b"x", world.now)
    world.pump()
    world.wait(5.0)
    assert exchange.outcome is None
    assert peer.is_open()


def test_nothing_to_say_about_a_connection_without_a_request() -> None:
    world, peer = served()
    fin(world, peer)
    assert peer.is_open()
    peer.reset()
    fin(world, peer)
    world.assert_nothing_left()
