"""What an ended request leaves for the metrics: its edges and sizes, as they are."""

from pipebus.http.session import Session
from pipebus.telemetry.http_metrics import ServerMetrics


def count_request(metrics: ServerMetrics, session: Session, now: float) -> None:
    """Count the session's request, which ends `now`. It is made into figures later, with others."""
    route = session.route
    known = metrics.unrouted if route is None else route.series
    key = (session.method, session.status, session.tls, session.reason)
    series = known.get(key)
    if series is None:
        series = metrics.find(known, "" if route is None else route.template, key)
    conn = session.conn
    pending = series.pending
    pending.extend((
        session.started, session.dispatched, session.began, session.completed, now,
        conn.bytes_in - session.head_bytes, conn.body_out,
    ))  # fmt: skip
    if len(pending) >= metrics.batch:
        metrics.fold(series)
