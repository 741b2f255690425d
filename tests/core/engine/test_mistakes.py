"""What a program does wrong costs it that one answer, never the engine that serves the others."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipebus.bus.event import Event
from pipebus.errors import CallCancelled, HTTPError, ResponderFailed
from pipebus.http.client import ClientRequest
from pipebus.http.message import Request, RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation


class Ugly(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("detail", "headers"),
    [
        ("no", {"retry-after": 5}),
        ("no", [(1, 2)]),
        ("no", 7),
        ("no", [("name",)]),
        ("no", {"x": "a\r\nb: c"}),
        (object(), ()),
        (ENDLESS, ()),
    ],
)
def test_an_http_error_that_cannot_be_sent_is_500(detail: Any, headers: Any) -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        raise HTTPError(429, detail, headers=headers)

    with Simulation(pipeline) as app:
        assert app.get("/").status == 500
        assert app.get("/").status == 500


def test_the_answer_to_an_error_may_be_a_stream() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /", concurrency=1)
    async def root(request: Request) -> Response:
        raise Ugly

    @pipeline.on_error(Ugly)
    async def ugly(error: Ugly, request: RequestInfo) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"ug"
            yield b"ly"

        return Response.stream(pieces(), status=503)

    with Simulation(pipeline) as app:
        for _ in range(2):  # the slot of the handler that failed is free again
            response = app.get("/")
            assert (response.status, response.body) == (503, b"ugly")
        assert app.server.reports == []


def _raw(response: Response) -> None:
    response.headers.raw.append(("a", "b"))  # type: ignore[arg-type]  # the mistake under test


def _no_field(response: Response) -> None:
    response.headers.raw.append(5)  # type: ignore[arg-type]  # the mistake under test


def _headers(response: Response) -> None:
    response.headers = {"a": "b"}  # type: ignore[assignment]  # the mistake under test


def _no_raw(response: Response) -> None:
    response.headers.raw = None  # type: ignore[assignment]  # the mistake under test


def _text_status(response: Response) -> None:
    response.status = "200"  # type: ignore[assignment]  # the mistake under test


def _no_status(response: Response) -> None:
    response.status = None  # type: ignore[assignment]  # the mistake under test


def _early_status(response: Response) -> None:
    response.status = 103


def _text_length(response: Response) -> None:
    response.content_length = "5"  # type: ignore[assignment]  # the mistake under test


def _negative_length(response: Response) -> None:
    response.content_length = -5


SPOILED: list[Callable[[Response], None]] = [
    _raw, _no_field, _headers, _no_raw, _text_status, _no_status, _early_status,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_response_that_was_spoiled_after_it_was_made_is_500_and_reported(
    spoil: Callable[[Response], None],
) -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        response = Response.text("hello")
        spoil(response)
        return response

    with Simulation(pipeline) as app:
        assert app.get("/").status == 500
        (report,) = app.server.reports
        assert "root failed on net.http.request (s-" in report.message
        (event,) = app.of("net.http.response")
        assert event.data.response is None
        assert app.get("/").status == 500


@pytest.mark.parametrize("spoil", [*SPOILED, _text_length, _negative_length])
def test_so_is_a_streamed_one(spoil: Callable[[Response], None]) -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"never"

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        response = Response.stream(pieces())
        spoil(response)
        return response

    with Simulation(pipeline) as app:
        assert app.get("/").status == 500
        assert len(app.server.reports) == 1
        (event,) = app.of("net.http.response")
        assert event.data.response is None
        assert app.get("/").status == 500


def test_a_stream_shorter_than_it_promised_is_reported() -> None:
    pipeline: Pipeline[None] = Pipeline()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        return Response.stream(pieces(), content_length=5)

    with Simulation(pipeline) as app:
        assert app.start("GET", "/").error is not None
        (report,) = app.server.reports
        assert "shorter" in str(report.error)


def test_an_exception_without_a_text_is_one_like_any_other() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def root(request: Request) -> Response:
        raise Ugly

    @pipeline.respond("ask")
    async def ask(event: Event) -> None:
        raise Ugly

    @pipeline.subscribe("tell")
    async def tell(event: Event) -> None:
        raise Ugly

    with Simulation(pipeline) as app:
        assert app.get("/").status == 500
        with pytest.raises(ResponderFailed, match="Ugly: <its text cannot be had: RuntimeError>"):
            app.bus_request("ask")
        app.publish("tell")
        app.settle()
        (event,) = app.of("pipebus.handler.error")
        assert (event.data.error, event.data.message) == (
            "Ugly", "<its text cannot be had: RuntimeError>",
        )  # fmt: skip


def test_a_request_body_is_bytes() -> None:
    with pytest.raises(TypeError, match=r"bytes, not str|bytes object expected; got str"):
        ClientRequest("POST", "http://up/", body="text")  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("piece", ["hello", bytearray(b"hello"), 5])
def test_a_piece_of_a_streamed_request_is_bytes(length: int | None, piece: object) -> None:
    pipeline: Pipeline[None] = Pipeline()
    upstream: Pipeline[None] = Pipeline("upstream")
    causes: list[BaseException | None] = []

    @upstream.route("PUT /", stream=True)
    async def take(request: StreamRequest) -> Response:
        async for _ in request:
            pass
        return Response()

    async def pieces() -> AsyncIterator[bytes]:
        yield piece  # type: ignore[misc]  # the mistake under test

    @pipeline.route("GET /")
    async def root(request: Request, ctx: Context) -> Response:
        try:
            async with ctx.client.stream("PUT", "http://up/", body=pieces(), content_length=length):
                return Response()
        except CallCancelled as error:
            causes.append(error.__cause__)
            raise

    with Simulation(pipeline) as app:
        app.serve(upstream, "up")
        assert app.get("/").status == 502
        assert str(causes[0]) == f"a streamed body is made of bytes, not {type(piece).__name__}"
