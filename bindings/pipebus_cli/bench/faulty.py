"""What `pipebus bench errors` loads without URL: an echo, beside routes that fail."""

from typing import Final

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_cli.bench.faults import FAILING, SLOW
from pipebus_cli.echo import new_echo

pipeline: Final[Pipeline[None]] = new_echo()


@pipeline.route(FAILING)
def fail(request: Request) -> Response:
    """Raise."""
    msg = f"asked to fail by {request.method} {request.path}"
    raise RuntimeError(msg)


@pipeline.route(SLOW)
async def sleep(request: Request, ctx: Context[None]) -> Response:
    """Take longer than a request may."""
    await ctx.sleep(3600)
    return Response(200, request.body)
