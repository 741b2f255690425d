"""Outgoing HTTP from a thread, which waits instead of awaiting."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipebus.bus.event import Event
from pipebus.engine.host import Start
from pipebus.engine.http_calls import ThreadClient
from pipebus.errors import ResponderFailed
from pipebus.http.client_events import CLIENT_REQUEST
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from tests.core.engine.upstreams import gateway, nothing_left


def test_a_thread_uses_the_client_where_nothing_has_to_wait() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond(CLIENT_REQUEST)
    def stand_in(event: Event) -> Response:
        return Response(200, event.data.method.encode())

    def never() -> Iterator[bytes]:
        yield b"not asked for"

    def broken() -> Iterator[bytes]:
        yield from map(bytes, [1 // len(b"")])

    @pipeline.route("GET /", thread=True)
    def root(request: Request, ctx: ThreadContext) -> Response:
        http = ctx.client
        assert http is ctx.client
        assert http.get("http://a/").body == b"GET"
        assert http.request("PUT", "http://a/", body=never()).body == b"PUT"
        with pytest.raises(ZeroDivisionError):
            http.post("http://a/", body=broken())
        with http.stream("GET", "http://a/") as response:
            assert list(response) == [b"GET"]
        return Response()

    with Simulation(pipeline) as app:
        assert app.get("/").status == 200
    nothing_left(app)


def test_a_thread_that_streams_from_who_stands_in() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.respond(CLIENT_REQUEST)
    def stand_in(event: Event) -> Response:
        if event.data.url.endswith("/bad"):
            raise ValueError
        return Response(200, b"whole")

    @pipeline.route("GET /", thread=True)
    def root(request: Request, ctx: ThreadContext) -> Response:
        with ctx.client.stream("GET", "http://a/") as response:
            assert list(response) == [b"whole"]
            assert list(response) == []
        with pytest.raises(ResponderFailed), ctx.client.stream("GET", "http://a/bad"):
            pytest.fail("it has no response")
        return Response()

    with Simulation(pipeline) as app:
        assert app.get("/").status == 200
    nothing_left(app)


class Patient:
    """A host for a thread that has all the time of a simulated world."""

    def __init__(self, app: Simulation) -> None:
        self.app = app

    def now(self) -> float:
        return self.app.world.now

    def pump(self) -> None:
        self.app.client.pump()

    def call(self, start: Start) -> Any:
        raise NotImplementedError

    def call_from_thread(self, start: Start) -> Any:
        call = start(self.now())
        self.app.run_until(lambda: call.done, 600.0)
        return call.result()

    def run_in_loop(self, action: Callable[[float], Any]) -> Any:
        result = action(self.now())
        self.app.settle()
        return result


def test_a_thread_that_waits_uploads_and_streams() -> None:
    app = gateway(Pipeline("empty"))
    with app:
        http = ThreadClient(app.client.engine, Patient(app), on_bus=False)
        assert http.post("http://up/sum", body=iter([b"abc", b"d"])).text() == "4"
        refused = http.post("http://up/refuse", body=itertools.repeat(bytes(100_000)))
        assert refused.status == 403
        with http.stream("GET", "http://up/count") as response:
            assert response.status == 200
            assert list(response) == [b"0", b"1", b"2", b"3", b"4"]
    nothing_left(app)
