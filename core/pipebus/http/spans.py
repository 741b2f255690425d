"""Spans of HTTP: names and attributes as OpenTelemetry's semantic conventions say (HTTP 1.23+)."""

from pipebus.http.client_call import ClientCall
from pipebus.http.client_request import ClientRequest
from pipebus.http.message import split_target
from pipebus.http.session import Session
from pipebus.telemetry.http_metrics import METHODS, OTHER
from pipebus.telemetry.stages import measure
from pipebus.telemetry.trace import Span, TraceContext, Tracing

# --- the server ------------------------------------------------------------------------------


def start_server_span(
    tracing: Tracing, session: Session, parent: TraceContext | None
) -> Span | None:
    """Begin the span of a request that is dispatched, at its head."""
    method = _label(session.method)
    route = session.route
    assert route is not None, "a request without one is refused before"
    path, query = split_target(session.target)
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method,
        "url.scheme": "https" if session.tls else "http",
        "url.path": path,
        "http.route": route.template,
    }
    if method == OTHER:
        attributes["http.request.method_original"] = session.method
    if query:
        attributes["url.query"] = query
    _add_address(attributes, "client", session.client)
    _add_address(attributes, "network.peer", session.peer)
    name = f"{'HTTP' if method == OTHER else method} {route.template}"
    return tracing.start("server", name, parent, session.started, attributes)


def end_server_span(span: Span, session: Session, now: float) -> None:
    """End it with how it went, and a stage for each that it has come to."""
    stages = measure(session.started, session.dispatched, session.began, session.completed, now)
    at = session.started
    for name, seconds in (
        ("read", stages.read),
        ("queue", stages.queue),
        ("handler", stages.handler),
        ("write", stages.write),
    ):
        if seconds > 0.0:
            span.stage(name, at, at + seconds)
        at += seconds
    attributes: dict[str, str | int | float | bool] = {}
    if session.status:
        attributes["http.response.status_code"] = session.status
    error = session.reason or (str(session.status) if session.status >= 500 else "")
    span.end(now, attributes, error)


# --- the client ------------------------------------------------------------------------------


def start_client_span(
    tracing: Tracing, request: ClientRequest, parent: TraceContext | None, now: float
) -> Span | None:
    """Begin the span of an outgoing call."""
    method = _label(request.method)
    target = request.target
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method,
        "url.full": request.url,
        "server.address": target.host,
        "server.port": target.port,
    }
    if method == OTHER:
        attributes["http.request.method_original"] = request.method
    name = "HTTP" if method == OTHER else method
    return tracing.start("client", name, parent, now, attributes)


def end_client_span(
    span: Span, call: ClientCall | None, error: BaseException | None, now: float
) -> None:
    """End it; an answer of 400 or more is an error to who asked."""
    attributes: dict[str, str | int | float | bool] = {}
    status = 0 if call is None or call.head is None else call.head.status
    if status:
        attributes["http.response.status_code"] = status
    failure = str(status) if status >= 400 else ""
    span.end(now, attributes, failure if error is None else type(error).__name__)


def _label(method: str) -> str:
    return method if method in METHODS else OTHER


def _add_address(
    attributes: dict[str, str | int | float | bool], prefix: str, address: tuple[str, int] | str
) -> None:
    if isinstance(address, tuple):
        attributes[f"{prefix}.address"] = address[0]
        attributes[f"{prefix}.port"] = address[1]
    elif address:
        attributes[f"{prefix}.address"] = address
