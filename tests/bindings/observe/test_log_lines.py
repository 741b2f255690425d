"""Every line that is logged while a handler runs says which request that is for."""

import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from tests.bindings.conftest import Stack
from tests.bindings.observe.kept import keeping
from tests.bindings.peer import get, peer

pytestmark = pytest.mark.anyio

logger = logging.getLogger("app")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def traced(path: str, trace: str = TRACE) -> bytes:
    return get(path, f"traceparent: 00-{trace}-b7ad6b7169203331-01")


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.route("GET /inline")
    def inline(_: Request) -> Response:
        logger.info("inline")
        return Response.stream(pieces())

    async def pieces() -> AsyncIterator[bytes]:
        logger.info("before")
        yield b"piece"
        await anyio.lowlevel.checkpoint()
        logger.info("after")

    @pipeline.route("GET /thread", thread=True)
    def thread(_: Request) -> Response:
        logger.info("thread")
        return Response.stream(pieces())

    @pipeline.route("GET /task")
    async def task(_: Request, ctx: Context) -> Response:
        logger.info("first")
        await ctx.publish("seen", 1)
        logger.info(await ctx.request("ask"))
        logger.info("last")
        return Response.stream(pieces())

    @pipeline.respond("ask")
    def answer(_: Event) -> str:
        logger.info("asked")
        return "answered"

    @pipeline.subscribe("seen")
    async def seen(_: Event) -> None:
        logger.info("seen")

    @pipeline.route("GET /fails")
    async def fails(_: Request) -> Response:
        raise LookupError("a secret")

    return pipeline


EXPECTED = {
    "/inline": ["inline", "before", "after"],
    "/thread": ["thread", "before", "after"],
    "/task": ["first", "seen", "asked", "answered", "last", "before", "after"],
}


@pytest.mark.parametrize("path", EXPECTED)
async def test_each_line_has_the_ids_of_its_request(stack: Stack, path: str) -> None:
    with keeping("app") as kept:
        async with stack.serve(new_pipeline(), request_id=True) as server:
            async with peer(server.addresses[0]) as client:
                answer = await client.ask(traced(path))
            async with peer(server.addresses[0]) as client:
                other = await client.ask(get(path))
            logger.info("outside")
    assert answer.status == 200
    lines = [
        line for line in kept.objects if line.get("request_id") == answer.headers["x-request-id"]
    ]
    assert sorted(line["message"] for line in lines) == sorted(EXPECTED[path])
    assert {line["trace_id"] for line in lines} == {TRACE}
    others = [
        line for line in kept.objects if line.get("request_id") == other.headers["x-request-id"]
    ]
    assert len(others) == len(lines)
    assert not any("trace_id" in line for line in others)
    [outside] = [line for line in kept.objects if "request_id" not in line]
    assert outside["message"] == "outside"


async def test_a_failure_is_logged_with_its_own_ids_whoever_pumps(stack: Stack) -> None:
    with keeping("pipebus") as kept:
        async with (
            stack.serve(new_pipeline(), request_id=True) as server,
            peer(server.addresses[0]) as client,
        ):
            answer = await client.ask(traced("/fails"))
            again = await client.ask(traced("/fails", TRACE[::-1]))
    assert (answer.status, again.status) == (500, 500)
    first, second = kept.of("pipebus")
    for line, said, trace in ((first, answer, TRACE), (second, again, TRACE[::-1])):
        assert line["exception"]["message"] == "a secret"
        assert line["request_id"] == said.headers["x-request-id"]
        assert line["trace_id"] == trace


async def test_the_access_log_leaves_the_pipeline_as_it_is(stack: Stack) -> None:
    pipeline = new_pipeline()
    declared = list(pipeline.subscribers)
    with keeping("pipebus.access") as kept:
        async with (
            stack.serve(pipeline, access_log=True, request_id=True) as server,
            peer(server.addresses[0]) as client,
        ):
            answer = await client.ask(traced("/inline"))
            refused = await client.ask(get("/nowhere"))
        async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
            await client.ask(get("/inline"))  # not logged: it is off by default
    assert pipeline.subscribers == declared
    first, second = kept.objects
    assert (first["target"], first["status"], first["client"]) == ("/inline", 200, "127.0.0.1")
    assert first["request_id"] == answer.headers["x-request-id"]
    assert first["trace_id"] == TRACE
    assert (second["target"], second["status"]) == ("/nowhere", 404)
    assert second["request_id"] == refused.headers["x-request-id"]


async def test_the_pieces_of_an_outgoing_body_are_its_handlers_work(stack: Stack) -> None:
    pipeline: Pipeline[None] = Pipeline("app")

    async def pieces() -> AsyncIterator[bytes]:
        logger.info("piece")
        yield b"piece"

    @pipeline.route("GET /upload")
    async def upload(request: Request, ctx: Context) -> Response:
        return Response.text(
            (await ctx.client.put(request.query.get("to", ""), body=pieces())).text()
        )

    @pipeline.route("PUT /echo")
    def echo(request: Request) -> Response:
        return Response.text(request.text())

    with keeping("app") as kept:
        async with (
            stack.serve(pipeline, request_id=True) as server,
            peer(server.addresses[0]) as client,
        ):
            answer = await client.ask(traced(f"/upload?to={server.url}/echo"))
    assert answer.body == b"piece"
    [line] = kept.objects
    assert (line["message"], line["trace_id"]) == ("piece", TRACE)
    assert line["request_id"] == answer.headers["x-request-id"]
