"""What an operator asks a server: is it alive, is it ready, what has it counted."""

from typing import Any

from pipebus.engine.engine import Engine
from pipebus.engine.health_routes import health_pipeline
from pipebus.engine.metrics import metrics_response
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline


class Operated:
    """What the admin listener tells about. There is no engine before the lifespan was entered."""

    __slots__ = ("engine",)

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine: Engine | None = engine


def admin_pipeline(operated: Operated) -> Pipeline[Any]:
    """Return what the admin listener serves about an engine."""
    pipeline = health_pipeline(
        lambda: None if operated.engine is None else operated.engine.checks, details=True
    )

    @pipeline.route("GET /metrics")
    def metrics(request: Request) -> Response:
        if operated.engine is None:
            return Response.problem(503, "not started yet")
        return metrics_response(operated.engine, ", ".join(request.headers.get_list("accept")))

    return pipeline
