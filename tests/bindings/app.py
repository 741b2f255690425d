"""A pipeline with a bit of everything, and a server and a peer for it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from pipebus.errors import StreamInterrupted
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.server import Server
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, peer


class App:
    """A pipeline with a bit of everything, and what its handlers met."""

    def __init__(self) -> None:
        self.pipeline: Pipeline[None] = Pipeline("app")
        self.started = anyio.Event()
        self.stopped = anyio.Event()
        self.go_on = anyio.Event()
        self.log: list[str] = []
        pipeline = self.pipeline

        @pipeline.route("POST /echo")
        async def echo(request: Request) -> Response:
            return Response(200, request.body)

        @pipeline.route("GET /inline")
        def inline(request: Request) -> Response:
            return Response.text(f"inline {request.query.get('n', '')}")

        @pipeline.route("GET /big")
        def big(_: Request) -> Response:
            return Response(200, b"x" * 3_000_000)

        @pipeline.route("GET /wait")
        async def wait(_: Request) -> Response:
            self.started.set()
            try:
                await self.go_on.wait()
            except BaseException:
                self.log.append("cancelled")
                raise
            finally:
                self.stopped.set()
            return Response.text("waited")

        @pipeline.route("POST /count", stream=True, max_body=None)
        async def count(request: StreamRequest) -> Response:
            size = 0
            self.started.set()
            try:
                async for chunk in request:
                    size += len(chunk)
            except StreamInterrupted:
                self.log.append("interrupted")
                raise
            finally:
                self.stopped.set()
            return Response.text(str(size))

        @pipeline.route("GET /stream")
        async def stream(_: Request) -> Response:
            return Response.stream(self.chunks())

        @pipeline.route("GET /inline-stream")
        def inline_stream(_: Request) -> Response:
            return Response.stream(self.chunks())

        @pipeline.route("GET /events")
        async def events(_: Request) -> Response:
            return Response.events(self.texts())

        @pipeline.route("GET /broken-stream")
        async def broken_stream(_: Request) -> Response:
            return Response.stream(self.breaks())

        @pipeline.route("GET /raises")
        async def raises(_: Request) -> Response:
            raise LookupError("a secret")

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            self.started.set()
            yield b"one"
            await self.go_on.wait()
            yield b"two"
        finally:
            self.log.append("closed")
            self.stopped.set()

    async def texts(self) -> AsyncIterator[str]:
        yield "hello"
        yield "world"

    async def breaks(self) -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("a secret")


@asynccontextmanager
async def served(
    stack: Stack, app: App, *, trust: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[tuple[Server, Peer]]:
    """Serve, and connect one peer."""
    async with (
        stack.serve(app.pipeline, **options) as server,
        peer(server.addresses[0], trust) as client,
    ):
        yield server, client
