"""What an operator asks a server: is it alive, is it ready, what has it counted."""

from typing import Any

from pipebus.engine.engine import Engine
from pipebus.engine.health_routes import health_pipeline
from pipebus.engine.metrics import metrics_response
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline


def admin_pipeline(engine: Engine) -> Pipeline[Any]:
    """Return what the admin listener serves about an engine."""
    pipeline = health_pipeline(engine.checks, details=True)

    @pipeline.route("GET /metrics")
    def metrics(request: Request) -> Response:
        return metrics_response(engine, ", ".join(request.headers.get_list("accept")))

    return pipeline
