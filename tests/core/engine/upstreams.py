"""A server for handlers to call, and what must be left of their calls: nothing."""

from collections.abc import AsyncIterator

from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind


def upstream() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("upstream")

    @pipeline.route("/echo")
    def echo(request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        return Response(200, request.body, {"x-method": request.method, "x-type": kind})

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(50)
        return Response()

    @pipeline.route("GET /count")
    async def count(request: Request, ctx: Context) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(5):
                await ctx.sleep(1)
                yield b"%d" % number

        return Response.stream(pieces())

    @pipeline.route("POST /refuse", stream=True)
    async def refuse(request: StreamRequest) -> Response:
        return Response(403)

    @pipeline.route("POST /sum", stream=True)
    async def total(request: StreamRequest) -> Response:
        return Response.text(str(sum([len(piece) async for piece in request])))

    return pipeline


def gateway(pipeline: Pipeline[None]) -> Simulation:
    app = Simulation(pipeline)
    app.serve(upstream(), "up")
    return app


def nothing_left(app: Simulation) -> None:
    for node in (app.server, app.client, *app._upstreams):
        assert not any(left_behind(node.engine).values()), node.name
        assert node.tasks == 0


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
