"""Content codings on their way through a call: decoded, bounded, or refused."""

import gzip
import zlib

import pytest

from pipebus.errors import ResponseTooLarge, UpstreamProtocolError
from tests.core.http_client.world import CHUNKED, World, encoded


def test_a_buffered_body_is_decoded_and_its_headers_are_not_touched() -> None:
    world = World()
    call = world.call()
    world.feed(world.connect(), encoded(gzip.compress(b"hello")))
    assert call.response is not None
    assert call.response.body == b"hello"
    assert call.response.headers.get("content-encoding") == "gzip"


def test_a_body_is_not_decoded_where_that_was_not_wanted() -> None:
    world = World()
    call = world.call(decode=False)
    data = zlib.compress(b"hello")
    world.feed(world.connect(), encoded(data, b"deflate"))
    assert call.response is not None
    assert call.response.body == data


def test_a_bomb_ends_at_the_bound() -> None:
    world = World(max_body=1000)
    call = world.call()
    conn = world.connect()
    world.feed(conn, encoded(gzip.compress(b"\0" * 100_000)))
    assert isinstance(call.error, ResponseTooLarge)
    assert world.closed == [conn]


def test_what_decodes_to_nothing_is_bounded_too() -> None:
    world = World(max_body=1000)
    call = world.call()
    nothing = gzip.compress(b"") * 60
    world.feed(world.connect(), CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"))
    world.feed(world.open[0], b"%x\r\n" % len(nothing) + nothing)
    assert isinstance(call.error, ResponseTooLarge)


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"hello", mtime=0)[:-1]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_is_not_what_its_coding_says(body: bytes, stream: bool) -> None:
    world = World()
    call = world.call(stream=stream)
    world.feed(world.connect(), encoded(body))
    while stream and world.take(call) is not None:
        pass
    assert isinstance(call.error, UpstreamProtocolError)
    assert call.response is None
    assert not call.body_done
    world.check_nothing_left()


def test_too_many_codings() -> None:
    world = World()
    call = world.call()
    conn = world.connect()
    world.feed(conn, encoded(b"x", b"gzip, gzip, gzip, gzip, gzip, gzip"))
    assert isinstance(call.error, UpstreamProtocolError)
    assert world.closed == [conn]
