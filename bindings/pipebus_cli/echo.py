"""`pipebus echo`: answers with what it is sent."""

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline


def new_echo() -> Pipeline[None]:
    """Return a pipeline that answers any method and path: 200, the request's body, its type."""
    pipeline: Pipeline[None] = Pipeline("echo")
    pipeline.route("/{path...}")(echo)
    pipeline.route("OPTIONS *")(echo)
    return pipeline


def echo(request: Request) -> Response:
    """Answer with the request's body and Content-Type."""
    return Response(200, request.body, content_type=request.headers.get("content-type"))
