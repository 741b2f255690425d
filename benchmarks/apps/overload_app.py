"""Two handlers with a capacity of their own, for `benchmarks.overload`."""

import time

from pipebus import Context, Pipeline, Request, Response

pipeline: Pipeline[None] = Pipeline("overload")


@pipeline.route("GET /few", concurrency=20, queue=20)
@pipeline.route("GET /wait", concurrency=50)
async def wait(request: Request, ctx: Context) -> Response:
    await ctx.sleep(0.020)
    return Response.text("done")


@pipeline.route("GET /spin")
def spin(request: Request) -> Response:
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return Response.text("done")
