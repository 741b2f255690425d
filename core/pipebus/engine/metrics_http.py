"""The metrics that OpenTelemetry names, in the words that its rules for Prometheus make of them.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ and
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipebus.engine.assembly import Assembly
from pipebus.engine.metric import Metric, Reading
from pipebus.http.session import ANSWERED, OPEN, READING, STREAMING
from pipebus.telemetry.histogram import Histogram
from pipebus.telemetry.http_metrics import METHODS, OTHER, ServerSeries

_ACTIVE: Final = frozenset({READING, OPEN, STREAMING, ANSWERED})

_SERVER: Final = (
    "http_request_method", "http_route", "http_response_status_code", "url_scheme", "error_type",
)  # fmt: skip
_ORIGIN: Final = ("url_scheme", "server_address", "server_port")
_CLIENT: Final = ("http_request_method", *_ORIGIN, "http_response_status_code", "error_type")


def _method(method: str) -> str:
    return method if method in METHODS else OTHER


def _server(
    histogram: Callable[[ServerSeries], Histogram],
) -> Callable[[Assembly], Iterable[Reading]]:
    def read(engine: Assembly) -> Iterator[Reading]:
        for series in engine.dispatch.metrics.all():
            method, route, status, scheme, error = series.labels
            yield (method, route, str(status or ""), scheme, error), histogram(series)

    return read


def _active_requests(engine: Assembly) -> Iterable[Reading]:
    return Counter(
        (_method(session.method), "https" if session.tls else "http")
        for session in engine.dispatch.sessions.values()
        if session.state in _ACTIVE
    ).items()


def _calls(engine: Assembly) -> Iterator[Reading]:
    for series in engine.client.metrics.all():
        method, origin, status, error = series.labels
        yield (method, *origin, str(status or ""), error), series.duration


def _active_calls(engine: Assembly) -> Iterable[Reading]:
    origin = engine.client.metrics.origin
    return Counter(
        (_method(call.request.method), *origin(call.origin)) for call in engine.client.calls
    ).items()


def _connections(engine: Assembly) -> Iterable[Reading]:
    origin = engine.client.metrics.origin
    return Counter(
        ("idle" if conn.owner is None else "active", *origin(conn.origin_key))
        for conn in engine.client.connections
    ).items()


HTTP_METRICS: Final = (
    Metric(
        "http_server_request_duration_seconds", "histogram", "seconds",
        "From a request's complete head to the last byte of its answer handed to the system.",
        _SERVER, _server(lambda series: series.duration),
    ),
    Metric(
        "http_server_active_requests", "gauge", "",
        "Requests whose head is complete and whose answer has not left.",
        ("http_request_method", "url_scheme"), _active_requests,
    ),
    Metric(
        "http_server_request_body_size_bytes", "histogram", "bytes",
        "Bodies of requests as they came, without the head.",
        _SERVER, _server(lambda series: series.request_size),
    ),
    Metric(
        "http_server_response_body_size_bytes", "histogram", "bytes",
        "Bodies of responses as they were written, without the head.",
        _SERVER, _server(lambda series: series.response_size),
    ),
    Metric(
        "http_client_request_duration_seconds", "histogram", "seconds",
        "Outgoing calls, from the call to its end, with all attempts and waits.",
        _CLIENT, _calls,
    ),
    Metric(
        "http_client_active_requests", "gauge", "",
        "Outgoing calls that have not ended, those that wait included.",
        ("http_request_method", *_ORIGIN), _active_calls,
    ),
    Metric(
        "http_client_open_connections", "gauge", "",
        "Open connections of the client.",
        ("http_connection_state", *_ORIGIN), _connections,
    ),
)  # fmt: skip
