"""Take a large upload piece by piece, and send events for as long as somebody listens.

Run it by `pipebus serve examples.streaming:pipeline`; upload by
`curl -T FILE http://127.0.0.1:8000/files/name`, listen by `curl -N http://127.0.0.1:8000/ticks`. The
upload needs memory for a piece at a time: while the handler is busy the sender has to wait. The
events end when the listener goes, or when the server drains.
"""

import hashlib
import re
from collections.abc import AsyncIterator

from pipebus import Context, Pipeline, Request, Response, ServerSentEvent, StreamRequest

pipeline = Pipeline("streaming")


@pipeline.route("PUT /files/{name}", stream=True, max_body=None)
async def upload(request: StreamRequest) -> Response:
    size, digest = 0, hashlib.sha256()
    async for piece in request:
        size += len(piece)
        digest.update(piece)
    name = request.path_params["name"]
    return Response.json({"name": name, "size": size, "sha256": digest.hexdigest()}, 201)


@pipeline.route("GET /ticks")
async def ticks(request: Request, ctx: Context) -> Response:
    async def events(number: int) -> AsyncIterator[ServerSentEvent]:
        while not ctx.draining:
            number += 1
            yield ServerSentEvent(f"tick {number}", event="tick", id=str(number))
            await ctx.sleep(0.1)

    # A browser that lost the connection says what it saw last.
    last = request.headers.get("last-event-id", "")
    return Response.events(events(int(last) if re.fullmatch("[0-9]{1,9}", last) else 0))
