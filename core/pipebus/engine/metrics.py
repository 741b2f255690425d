"""What an engine tells whoever scrapes it. CPU, memory and the like are not its business."""

from typing import Final

from pipebus.engine.assembly import Assembly
from pipebus.engine.metric import Metric, family
from pipebus.engine.metrics_http import HTTP_METRICS
from pipebus.engine.metrics_own import OWN_METRICS
from pipebus.http.response import Response
from pipebus.telemetry.exposition import CONTENT_TYPES, negotiate, render
from pipebus.telemetry.families import Family

METRICS: Final[tuple[Metric, ...]] = (*HTTP_METRICS, *OWN_METRICS)
"""All of them. Those with `http_` names are read first, which counts in what is pending."""


def collect(engine: Assembly) -> list[Family]:
    """Read every metric, all at one moment of the engine."""
    return [family(metric, engine) for metric in METRICS]


def metrics_response(engine: Assembly, accept: str) -> Response:
    """Answer a scrape whose `Accept` field is `accept` (empty: it has none)."""
    form = negotiate(accept)
    # Labels may come from a path of the file system, where a surrogate stands for a strange byte.
    body = render(collect(engine), form).encode("utf-8", "replace")
    return Response(200, body, {"content-type": CONTENT_TYPES[form], "cache-control": "no-store"})
