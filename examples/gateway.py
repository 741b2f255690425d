"""Pass requests on to another service, and answer for it when it cannot be reached.

Start an upstream by `python examples/echo.py asyncio 127.0.0.1:8001`, the gateway by
`pipebus serve examples.gateway:pipeline`, and try `curl -d hello http://127.0.0.1:8000/api/x`. Then
stop the upstream and try again. UPSTREAM names another one. What goes out is on the bus, too: a tap
on `net.http.client.>` sees it. An upstream that is too slow is answered 504 without a line here.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

from pipebus import ConnectError, Context, Headers, Pipeline, Request, RequestInfo, Response

PASSED_ON: Final = frozenset({"accept", "content-type", "etag", "if-none-match", "location"})
"""Neither connection fields nor credentials cross a gateway unless it means them to."""


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    yield os.environ.get("UPSTREAM", "http://127.0.0.1:8001")


pipeline = Pipeline("gateway", lifespan=upstream)


@pipeline.route("/api/{path...}")
async def forward(request: Request, ctx: Context[str]) -> Response:
    url = f"{ctx.state}/{quote(request.path_params['path'])}"
    if request.raw_query:
        url += f"?{request.raw_query}"
    answer = await ctx.client.request(
        request.method, url, headers=passed_on(request.headers), body=request.body
    )
    return Response(answer.status, answer.body, passed_on(answer.headers))


@pipeline.on_error(ConnectError)
def unreachable(error: ConnectError, request: RequestInfo) -> Response:
    return Response.problem(503, "the service behind is down", headers={"retry-after": "5"})


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name in PASSED_ON]
