"""Server-sent events: what goes to the wire, read back by a parser written from the standard."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.http.response import Response
from pipebus.http.sse import EncodedEvents, ServerSentEvent

text = st.text(st.characters(codec="utf-8"), max_size=20)
one_line = text.map(lambda value: value.translate({10: None, 13: None, 0: None}))


def parse(stream: str) -> list[tuple[str, str, str, int | None]]:
    """Interpret an event stream (WHATWG HTML section 9.2.6): (event, data, id, retry) of each."""
    events: list[tuple[str, str, str, int | None]] = []
    name = last_id = ""
    data: list[str] = []
    retry = None
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line == "":
            if data:
                events.append((name, "\n".join(data), last_id, retry))
            name, data, retry = "", [], None
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            last_id = value
        elif field == "retry":
            retry = int(value)
    return events


@given(text, one_line, one_line, st.none() | st.integers(0, 10**9))
def test_browser_reads_what_was_meant(data: str, event: str, ident: str, retry: int | None) -> None:
    wire = ServerSentEvent(data, event, ident, retry).encode().decode()
    lines = data.replace("\r\n", "\n").replace("\r", "\n")
    assert parse(wire) == [(event, lines, ident, retry)]


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (ServerSentEvent("a"), b"data: a\n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent("a\n"), b"data: a\ndata: \n\n"),
        (ServerSentEvent("a\x0b\u2028b"), "data: a\x0b\u2028b\n\n".encode()),
        (ServerSentEvent("a", "e", "i", 5), b"event: e\nid: i\nretry: 5\ndata: a\n\n"),
        (ServerSentEvent("a", id=""), b"id: \ndata: a\n\n"),
    ],
)
def test_wire(event: ServerSentEvent, wire: bytes) -> None:
    assert event.encode() == wire


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "\n"])
def test_line_ends_and_nul_cannot_be_in_event_or_id(bad: str) -> None:
    with pytest.raises(ValueError, match="event's event"):
        ServerSentEvent("x", event=bad)
    with pytest.raises(ValueError, match="event's id"):
        ServerSentEvent("x", id=bad)


@pytest.mark.parametrize("retry", [-1, True, 1.5, "5"])
def test_retry_is_whole_milliseconds(retry: Any) -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        ServerSentEvent("x", retry=retry)


@pytest.mark.parametrize("data", [b"x", None, 5, {"a": 1}])
def test_data_is_text(data: Any) -> None:
    with pytest.raises(TypeError, match="must be str"):
        ServerSentEvent(data)


def test_repr() -> None:
    assert repr(ServerSentEvent("a", id="1")) == (
        "ServerSentEvent('a', event=None, id='1', retry=None)"
    )


def step(awaitable: Any) -> Any:
    """Run an awaitable that never waits to its result."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as end:
        return end.value
    pytest.fail("it waits")


class Source:
    """An async generator that says whether it was closed."""

    def __init__(self, *items: object) -> None:
        self.items = items
        self.closed = False

    async def stream(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                yield item
        finally:
            self.closed = True


def test_stream_of_events() -> None:
    source = Source(ServerSentEvent("a", "x"), "b")
    response = Response.events(source.stream(), headers={"x": "y"})
    assert response.headers.get("content-type") == "text/event-stream"
    assert response.headers.get("cache-control") == "no-store"
    assert response.idle_timeout is False
    assert response.stream_body is not None
    stream = aiter(response.stream_body)
    assert stream is response.stream_body
    assert step(anext(stream)) == b"event: x\ndata: a\n\n"
    assert step(anext(stream)) == b"data: b\n\n"
    with pytest.raises(StopAsyncIteration):
        step(anext(stream))
    assert source.closed


def test_own_cache_control_holds() -> None:
    response = Response.events(Source().stream(), headers={"Cache-Control": "no-cache"})
    assert response.headers.get_list("cache-control") == ["no-cache"]


def test_wrong_item_is_the_streams_error() -> None:
    stream = EncodedEvents(Source(b"bytes").stream())
    with pytest.raises(TypeError, match="not bytes"):
        step(anext(stream))


def test_closing_closes_the_source() -> None:
    source = Source("a", "b")
    stream = EncodedEvents(source.stream())
    step(anext(stream))
    step(stream.aclose())
    assert source.closed


class Bare:
    """An async iterator without `aclose`."""

    def __aiter__(self) -> "Bare":
        return self

    async def __anext__(self) -> str:
        return "x"


def test_source_that_cannot_be_closed() -> None:
    stream = EncodedEvents(Bare())
    assert step(anext(stream)) == b"data: x\n\n"
    step(stream.aclose())
