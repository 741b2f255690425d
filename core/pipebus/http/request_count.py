"""What an ended request leaves for the metrics: durations and sizes."""

from pipebus.http.session import Session
from pipebus.telemetry.http_metrics import ServerMetrics


def count_request(metrics: ServerMetrics, session: Session, now: float) -> None:
    """Count the session's request, which ends `now`. It is made into figures later, with others.

    The session's own totals are brought up to date, too.
    """
    route = session.route
    known = metrics.unrouted if route is None else route.series
    key = (session.method, session.status, session.tls, session.reason)
    series = known.get(key)
    if series is None:
        series = metrics.find(known, "" if route is None else route.template, key)
    conn = session.conn
    pending = series.pending
    started = session.started
    completed = session.completed
    # As `stages.measure` does it, whose call and struct would be most of the cost of this.
    began = session.began
    if began < 0.0:
        began = completed
    dispatched = session.dispatched
    if dispatched < 0.0:
        dispatched = began
    # Most requests are dispatched in the step in which their head was complete, with one `now`.
    read = 0.0 if dispatched is started else dispatched - started
    pending.extend((
        read, began - dispatched, completed - began, now - completed, now - started,
        conn.bytes_in - session.head_bytes, conn.body_out,
    ))  # fmt: skip
    if len(pending) >= metrics.batch:
        metrics.fold(series)
    session.requests += 1
    session.bytes_in += conn.bytes_in
    session.bytes_out += conn.bytes_out
