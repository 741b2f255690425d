"""`python -m tests.load.upload_server RUNTIME`: takes uploads as streams, and waits in the middle."""

import hashlib
import importlib
import sys

import anyio

from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline

SLOW_AFTER = 32 * 1024


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("uploads")
    go_on = anyio.Event()

    @pipeline.route("PUT /upload", stream=True, max_body=None)
    async def upload(request: StreamRequest) -> Response:
        """Read some, nothing at all until `/go`, and then the rest; answer with the digest."""
        size = 0
        digest = hashlib.sha256()
        async for chunk in request:
            size += len(chunk)
            digest.update(chunk)
            if size >= SLOW_AFTER:
                await go_on.wait()
        return Response.text(f"{size} {digest.hexdigest()}")

    @pipeline.route("POST /go")
    async def go(_: Request) -> Response:
        go_on.set()
        return Response(204)

    return pipeline


if __name__ == "__main__":
    importlib.import_module(f"pipebus_{sys.argv[1]}").run(
        new_pipeline(),
        bind="127.0.0.1:0",
        log_level="WARNING",
        started=lambda server: print(server.url, flush=True),
    )
