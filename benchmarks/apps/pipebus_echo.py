"""`python -m benchmarks.apps.pipebus_echo RUNTIME KIND DRIVER WIRE PORT`; KIND: `def`, `async`."""

import importlib
import sys

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline


def new_pipeline(kind: str) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("echo")
    if kind == "async":

        @pipeline.route("POST /echo")
        async def echo_in_task(request: Request) -> Response:
            return Response(200, request.body, content_type=request.headers.get("content-type"))
    else:

        @pipeline.route("POST /echo")
        def echo(request: Request) -> Response:
            return Response(200, request.body, content_type=request.headers.get("content-type"))

    return pipeline


if __name__ == "__main__":
    runtime, kind, driver, wire, port = sys.argv[1:]
    importlib.import_module(f"pipebus_{runtime}").run(
        new_pipeline(kind),
        bind=f"127.0.0.1:{port}",
        driver=driver,
        wire=wire,
        log_level="WARNING",
    )
