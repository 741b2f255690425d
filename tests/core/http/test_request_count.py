"""What is left of a request when it ends: as `measure` says, whichever edges were reached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.bus.responders import Group
from pipebus.http.request_count import count_request
from pipebus.http.server_connection import ServerConnection
from pipebus.http.session import NOT_REACHED, RouteTarget, Session
from pipebus.http.wire_h11 import H11Codec
from pipebus.limits import Limits
from pipebus.telemetry.http_metrics import ServerMetrics
from pipebus.telemetry.stages import measure
from pipebus.wall_clock import WallClock

steps = st.sampled_from((0.0, 1e-6, 3e-4, 0.02, 1.5, 30.0))


class Owner:
    def timeout(self, session: Session, now: float) -> None: ...
    def refill(self, session: Session, now: float) -> None: ...


def new_session() -> Session:
    conn = ServerConnection(Limits(), H11Codec(), WallClock(), 0.0)
    session = Session(Owner(), conn, "connection-1", client="", tls=False, token=None)
    session.method = "GET"
    session.status = 200
    return session


def end(session: Session, edges: list[float], now: float) -> list[float]:
    session.started, session.dispatched, session.began, session.completed = edges
    metrics = ServerMetrics()
    count_request(metrics, session, now)
    return metrics.unrouted["GET", 200, False, ""].pending


@given(
    started=st.floats(0, 100),
    gaps=st.tuples(steps, steps, steps, steps),
    reached=st.integers(0, 2),
)
def test_stages(started: float, gaps: tuple[float, ...], reached: int) -> None:
    edges = [started]
    for gap in gaps:
        edges.append(edges[-1] + gap)
    for place in range(reached, 2):
        edges[1 + place] = NOT_REACHED
    _, dispatched, began, completed, now = edges
    told = end(new_session(), edges[:4], now)
    stages = measure(started, dispatched, began, completed, now)
    assert told == [stages.read, stages.queue, stages.handler, stages.write, now - started, 0, 0]


@pytest.mark.parametrize(
    ("edges", "stages"),
    [
        ([1.0, 1.25, 1.5, 1.75], [0.25, 0.25, 0.25, 0.25]),
        ([1.0, 1.25, NOT_REACHED, 1.75], [0.25, 0.5, 0.0, 0.25]),
        ([1.0, NOT_REACHED, NOT_REACHED, 1.75], [0.75, 0.0, 0.0, 0.25]),
    ],
)
def test_edges_that_were_not_reached(edges: list[float], stages: list[float]) -> None:
    assert end(new_session(), edges, 2.0) == [*stages, 1.0, 0, 0]


def test_one_time_for_two_edges() -> None:
    now = 1.0
    assert end(new_session(), [now, now, 1.5, 1.75], 2.0)[:4] == [0.0, 0.5, 0.25, 0.25]


def test_sizes_without_the_heads() -> None:
    session = new_session()
    session.conn.bytes_in, session.head_bytes, session.conn.body_out = 300, 70, 12
    session.conn.bytes_out = 90
    for _ in range(2):
        assert end(session, [1.0, 1.0, 1.0, 1.0], 1.0)[5:] == [230, 12]
    assert (session.requests, session.bytes_in, session.bytes_out) == (2, 600, 180)


def test_a_route_has_series_of_its_own_and_a_full_one_is_folded() -> None:
    session = new_session()
    route = RouteTarget(Group("GET /x", "x", 1), "/x", timeout=1.0, max_body=None)
    session.route = route
    metrics = ServerMetrics()
    for _ in range(512):
        count_request(metrics, session, 3.0)
    assert metrics.unrouted == {}
    series = route.series["GET", 200, False, ""]
    assert series.labels.route == "/x"
    assert (series.duration.count, series.pending) == (512, [])
