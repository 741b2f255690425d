"""What an operator asks a server: is it alive, is it ready."""

from typing import Any

from pipebus.engine.engine import Engine
from pipebus.engine.health_routes import health_pipeline
from pipebus.pipeline.declare import Pipeline


def admin_pipeline(engine: Engine) -> Pipeline[Any]:
    """Return what the admin listener serves about an engine."""
    return health_pipeline(engine.checks, details=True)
