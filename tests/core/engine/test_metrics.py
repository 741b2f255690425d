"""What is told of an engine, against what was done to it."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from pipebus.bus.event import Event
from pipebus.engine.metrics import METRICS, collect, metrics_response
from pipebus.errors import HTTPError, NoResponder
from pipebus.http.events import HttpFailed
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus.limits import ClientLimits, Limits, Timeouts
from pipebus.pipeline.context import Context, InlineContext
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.policies import BreakerPolicy, RateLimit, RetryPolicy
from pipebus.telemetry.families import HistogramSample
from pipebus.testing import Simulation

Told = dict[tuple[str, ...], float]
"""(name, "label=value", ...) -> value; of a histogram the number of observations."""


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /items/{id}")
    def item(request: Request) -> Response:
        if request.path_params["id"] == "0":
            raise HTTPError(503)
        return Response.text("item")

    @pipeline.route("POST /slow", timeout=5.0)
    async def slow(request: Request, ctx: Context[None]) -> Response:
        await ctx.sleep(float(request.text()))
        return Response.text("late")

    @pipeline.route("GET /ask")
    async def ask(request: Request, ctx: Context[None]) -> Response:
        reply = await ctx.request("price", 2)
        with pytest.raises(NoResponder):
            await ctx.request("nobody", 2)
        return Response.json(reply)

    @pipeline.respond("price")
    def price(event: Event, ctx: InlineContext[None]) -> object:
        return 2 * event.data

    @pipeline.subscribe("net.http.response", queue=2, overflow="drop_newest")
    async def watch(event: Event, ctx: Context[None]) -> None:
        await ctx.sleep(100.0)

    @pipeline.tap("net.http.request")
    def broken(event: Event) -> None:
        raise RuntimeError("as it is meant to")

    return pipeline


@pytest.fixture
def app() -> Iterator[Simulation]:
    with Simulation(new_pipeline(), limits=Limits(grace=500.0), record=False) as app:
        yield app
        app.advance(400.0)


def read(app: Simulation) -> Told:
    told: Told = {}
    for family in collect(app.engine):
        for sample in family.samples:
            key = (family.name, *(f"{name}={value}" for name, value in sample.labels if value))
            assert key not in told
            told[key] = sample.observations if isinstance(sample, HistogramSample) else sample.value
    return told


def having(told: Told, name: str, *labels: str) -> float:
    """Add up what has this name and these labels."""
    return sum(
        value for key, value in told.items() if key[0] == name and set(labels) <= set(key[1:])
    )


DURATION = "http_server_request_duration_seconds"


def test_requests_by_method_route_status(app: Simulation) -> None:
    for path in ("/items/1", "/items/2", "/items/0", "/nothing/here"):
        app.request("GET", path)
    app.request("HEAD", "/items/1")
    app.request("BREW", "/items/1")
    told = read(app)
    scheme = "url_scheme=http"
    assert {key[1:]: value for key, value in told.items() if key[0] == DURATION} == {
        ("http_request_method=GET", "http_route=/items/{id}", "http_response_status_code=200",
         scheme): 2,
        ("http_request_method=GET", "http_route=/items/{id}", "http_response_status_code=503",
         scheme, "error_type=503"): 1,
        ("http_request_method=GET", "http_response_status_code=404", scheme): 1,
        ("http_request_method=HEAD", "http_route=/items/{id}", "http_response_status_code=200",
         scheme): 1,
        ("http_request_method=_OTHER", "http_response_status_code=405", scheme): 1,
    }  # fmt: skip
    for stage in ("read", "queue", "handler", "write"):
        assert told["pipebus_stage_duration_seconds", f"stage={stage}"] == 6
    assert told["pipebus_requests_refused", "reason=not_found"] == 1
    assert told["pipebus_requests_refused", "reason=method_not_allowed"] == 1
    assert told["pipebus_requests_refused", "reason=rate_limited"] == 0


def test_what_is_active_and_then_is_not(app: Simulation) -> None:
    calls = [app.start("POST", "/slow", body=b"2") for _ in range(3)]
    told = read(app)
    active = ("http_server_active_requests", "http_request_method=POST", "url_scheme=http")
    assert told[active] == 3
    assert told["pipebus_requests_in_flight",] == told["pipebus_exchanges_open",] == 3
    assert told["pipebus_responder_running", "responder=POST /slow"] == 3
    assert told["pipebus_handlers_running", "kind=route"] == 3
    assert told["pipebus_connections_open",] == 3
    assert having(told, DURATION) == 0
    app.advance(2.0)
    assert [call.response.status for call in calls] == [200] * 3
    told = read(app)
    assert active not in told
    assert told["pipebus_requests_in_flight",] == told["pipebus_exchanges_open",] == 0
    assert told["pipebus_responder_running", "responder=POST /slow"] == 0
    assert having(told, DURATION, "http_route=/slow") == 3
    handler = next(
        sample for family in collect(app.engine) for sample in family.samples
        if sample.labels == (("stage", "handler"),) and isinstance(sample, HistogramSample)
    )  # fmt: skip
    assert handler.sum == pytest.approx(6.0)
    counts = dict(zip(handler.bounds, handler.counts, strict=True))
    assert (counts[1.0], counts[2.5]) == (0, 3)


def test_sizes_are_those_of_bodies_however_they_come(app: Simulation) -> None:
    app.request("POST", "/slow", body=b"0.1")
    app.advance(1.0)
    app.request("HEAD", "/items/1")
    app.request("GET", "/items/1")
    sizes = {
        (family.name, dict(sample.labels)["http_request_method"]): sample.sum
        for family in collect(app.engine)
        for sample in family.samples
        if isinstance(sample, HistogramSample) and family.unit == "bytes"
    }
    assert sizes == {
        ("http_server_request_body_size_bytes", "POST"): len("0.1"),
        ("http_server_response_body_size_bytes", "POST"): len("late"),
        ("http_server_request_body_size_bytes", "HEAD"): 0,
        ("http_server_response_body_size_bytes", "HEAD"): 0,
        ("http_server_request_body_size_bytes", "GET"): 0,
        ("http_server_response_body_size_bytes", "GET"): len("item"),
    }


def test_a_cut_answer_says_why(app: Simulation) -> None:
    call = app.start("POST", "/slow", body=b"2")
    call.cancel()
    late = app.start("POST", "/slow", body=b"50")
    app.advance(5.0)
    assert late.response.status == 504
    told = read(app)
    assert having(told, DURATION, "http_route=/slow", "error_type=disconnect") == 1
    assert having(told, DURATION, "http_response_status_code=504", "error_type=504") == 1
    assert told["pipebus_exchanges_ended", "outcome=cancelled"] == 1
    assert told["pipebus_exchanges_ended", "outcome=timed_out"] == 1


@pytest.mark.parametrize("wire", [H11Codec(), LlhttpCodec()], ids=lambda wire: wire.name)
def test_each_request_that_ends_with_an_event_is_counted_once(wire: WireCodec) -> None:
    limits = Limits(grace=500.0, max_body=10, idle_timeout=1.0, max_in_flight=2)
    with Simulation(new_pipeline(), limits=limits, wire=wire) as app:
        for path in ("/items/1", "/items/0", "/nothing", "/ask", "/slow"):
            app.request("GET", path)
        for _ in range(3):  # one more than may be in flight
            app.start("POST", "/slow", body=b"2")
        app.advance(3.0)
        app.start("POST", "/slow", body=b"2").cancel()
        app.start("POST", "/slow", body=b"50")  # 504
        app.advance(6.0)
        app.request("POST", "/slow", body=b"more than ten bytes")
        for data in (
            b"nonsense\r\n\r\n",
            b"GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /items/2 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n0",
        ):
            app.send(app.dial(), data)
        app.advance(40.0)
        ends = [event.data for event in (*app.of("net.http.response"), *app.of("net.http.error"))]
        counted = Counter[tuple[str, str, str]]()
        for family in collect(app.engine):
            if family.name == DURATION:
                for sample in family.samples:
                    labels = dict(sample.labels)
                    assert isinstance(sample, HistogramSample)
                    counted[
                        labels["http_request_method"], labels["http_response_status_code"],
                        labels["error_type"],
                    ] += sample.observations  # fmt: skip
        assert counted == Counter(
            (end.method or "_OTHER", str(end.status or ""), (end.reason if isinstance(end, HttpFailed) else "") or (
                str(end.status) if end.status >= 500 else ""))
            for end in ends
        )  # fmt: skip
        statuses = {status for _, status, _ in counted}
        assert statuses == {"200", "400", "404", "405", "408", "413", "503", "504", ""}
        app.advance(400.0)


def test_what_is_opened_has_ended_or_is_open(app: Simulation) -> None:
    for _ in range(3):
        assert app.request("GET", "/ask").json() == 4
    app.start("POST", "/slow", body=b"2")
    told = read(app)
    assert told["pipebus_exchanges_opened",] == 10
    ended = having(told, "pipebus_exchanges_ended")
    assert ended == 9
    assert told["pipebus_exchanges_opened",] == ended + told["pipebus_exchanges_open",]
    assert told["pipebus_exchanges_ended", "outcome=no_responder"] == 3
    assert told["pipebus_exchanges_ended", "outcome=replied"] == 6
    assert told["pipebus_exchanges_ended", "outcome=rejected"] == 0
    assert told["pipebus_responder_queue_limit", "responder=price"] == 64
    assert told["pipebus_responder_slots", "responder=price"] == 1
    assert told["pipebus_replies_discarded", "reason=late"] == 0


def test_what_a_subscription_was_given_it_has_or_has_lost(app: Simulation) -> None:
    handler = f"handler={__name__}.new_pipeline.<locals>.watch"
    watching = ("kind=subscriber", "pattern=net.http.response", handler)
    for _ in range(5):
        app.request("GET", "/items/1")
    told = read(app)
    # One is handled and two wait.
    assert told["pipebus_subscription_queued", *watching] == 2
    assert told["pipebus_subscription_queue_limit", *watching] == 2
    assert told["pipebus_subscription_parked", *watching] == 0
    assert told["pipebus_subscription_dropped", *watching, "reason=overflow"] == 2
    assert told["pipebus_events_dropped", "reason=overflow"] == 2
    assert told["pipebus_events_dropped", "reason=shutdown"] == 0
    assert told["pipebus_handler_errors",] == 5
    assert told["pipebus_events_published",] >= 10
    assert told["pipebus_events_delivered",] == 6


def test_a_program_makes_any_number_of_subscriptions_and_one_series(app: Simulation) -> None:
    for number in range(20):
        app.engine.subscribe(f"room.{number}", app.world.now, maxsize=3, overflow="drop_newest")
        for _ in range(4):
            app.engine.publish_nowait(f"room.{number}", None, app.world.now)
    own = ("kind=subscriber", "pattern=_OTHER", "handler=_OTHER")
    told = read(app)
    assert told["pipebus_subscription_queued", *own] == 60
    assert told["pipebus_events_dropped", "reason=overflow"] == 20
    assert having(told, "pipebus_subscription_dropped") == 0


def test_connections(app: Simulation) -> None:
    for _ in range(3):
        app.request("GET", "/items/1")
    told = read(app)
    assert told["pipebus_connections_accepted",] == told["pipebus_connections_open",] == 1
    assert told["pipebus_connections_refused",] == told["pipebus_connections_dropped",] == 0


def test_rate_limits() -> None:
    def key(about: object) -> str:
        raise KeyError("as it is meant to")

    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, burst=2, key=key)) as app:
        assert [app.request("GET", "/items/1").status for _ in range(5)] == [
            200,
            200,
            429,
            429,
            429,
        ]
        told = read(app)
        assert told["pipebus_requests_refused", "reason=rate_limited"] == 3
        assert told["pipebus_rate_limit_key_errors",] == 5
        assert having(told, DURATION, "http_response_status_code=429") == 3
        app.advance(400.0)


def test_breakers() -> None:
    upstream: Pipeline[None] = Pipeline()

    @upstream.route("GET /")
    def fails(request: Request) -> Response:
        raise HTTPError(503)

    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    async def out(request: Request, ctx: Context[None]) -> Response:
        answer = await ctx.client.get("http://up/")
        return Response(answer.status)

    breaker = BreakerPolicy(min_calls=4, open_time=5.0, jitter=0.0)
    state = ("pipebus_client_breaker_state", *ORIGIN)
    with Simulation(pipeline, breaker=breaker, retry=RetryPolicy(attempts=2, base=0.0)) as app:
        app.serve(upstream, "up")
        assert having(read(app), "pipebus_client_breaker_state") == 0
        assert app.get("/").status == 503
        told = read(app)
        assert (told[state], told["pipebus_client_retries",]) == (0, 1)
        app.get("/")
        app.get("/")
        told = read(app)
        assert told[state] == 2
        assert told["pipebus_client_breaker_rejected",] == 1
        assert having(told, CALLS, "error_type=BreakerOpen") == 1
        assert having(told, CALLS, "error_type=503") == 2


def test_breakers_of_responders() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /", breaker=BreakerPolicy(min_calls=2, open_time=5.0, jitter=0.0))
    def fails(request: Request) -> Response:
        raise RuntimeError("as it is meant to")

    with Simulation(pipeline) as app:
        state = ("pipebus_responder_breaker_state", "responder=GET /")
        assert app.get("/").status == 500
        assert read(app)[state] == 0
        assert [app.get("/").status for _ in range(3)] == [500, 503, 503]
        told = read(app)
        assert told[state] == 2
        assert told["pipebus_responder_breaker_rejected", "responder=GET /"] == 2


def test_readiness() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.check("never")(lambda ctx: False)
    with Simulation(pipeline) as app:
        told = read(app)
        assert (told["pipebus_ready",], told["pipebus_draining",]) == (0, 0)
        assert told["pipebus_health_check_passing", "check=never"] == 0
        app.drain()
        assert read(app)["pipebus_draining",] == 1


ORIGIN = ("url_scheme=http", "server_address=up", "server_port=80")
CALLS = "http_client_request_duration_seconds"


@pytest.fixture
def caller() -> Iterator[Simulation]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /out/{method}/{rest...}")
    async def out(request: Request, ctx: Context[None]) -> Response:
        method, rest = request.path_params["method"], request.path_params["rest"]
        answer = await ctx.client.request(method, f"http://up/{rest}", body=b"2")
        return Response.text(str(answer.status))

    limits = ClientLimits(max_connections=1)
    with Simulation(pipeline, client_limits=limits, timeouts=Timeouts(pool=3.0)) as app:
        app.serve(new_pipeline(), "up")
        yield app


def test_outgoing_calls(caller: Simulation) -> None:
    assert caller.get("/out/GET/items/1").text() == "200"
    slow = caller.start("GET", "/out/POST/slow")
    waiting = caller.start("GET", "/out/GET/nothing")
    told = read(caller)
    assert told["http_client_active_requests", "http_request_method=POST", *ORIGIN] == 1
    assert told["http_client_active_requests", "http_request_method=GET", *ORIGIN] == 1
    assert told["http_client_open_connections", "http_connection_state=active", *ORIGIN] == 1
    assert told["pipebus_client_pool_slots",] == told["pipebus_client_pool_slots_limit",] == 1
    assert told["pipebus_client_pool_waiting",] == 1
    caller.advance(2.5)
    assert (slow.response.text(), waiting.response.text()) == ("200", "404")
    told = read(caller)
    ok = "http_response_status_code=200"
    assert told[CALLS, "http_request_method=GET", *ORIGIN, ok] == 1
    assert told[CALLS, "http_request_method=POST", *ORIGIN, ok] == 1
    assert having(told, CALLS, "http_response_status_code=404", "error_type=404") == 1
    assert told["pipebus_client_pool_wait_seconds",] == 3
    assert told["pipebus_client_pool_waiting",] == 0
    assert told["http_client_open_connections", "http_connection_state=idle", *ORIGIN] == 1
    assert told["pipebus_client_connections_opened",] == 1
    assert told["pipebus_client_connections_reused",] == 2
    assert having(told, "http_client_active_requests") == 0


def test_a_call_that_fails_says_how(caller: Simulation) -> None:
    caller.start("GET", "/out/POST/slow")
    caller.advance(0.1)
    for _ in range(2):
        caller.start("GET", "/out/POST/slow")
    late = caller.start("GET", "/out/GET/items/1")
    caller.advance(3.2)
    assert late.response.status == 503
    told = read(caller)
    failed = (CALLS, "http_request_method=GET", *ORIGIN, "error_type=PoolTimeout")
    assert told[failed] == 1
    caller.advance(10.0)


@pytest.mark.parametrize(
    ("accept", "parser", "end"),
    [("", prometheus, "\n"), ("application/openmetrics-text", openmetrics, "# EOF\n")],
)
def test_a_scrape(app: Simulation, accept: str, parser: object, end: str) -> None:
    assert callable(parser)
    app.request("GET", "/ask")
    response = metrics_response(app.engine, accept)
    assert response.status == 200
    assert response.headers.get("cache-control") == "no-store"
    assert isinstance(response.body, bytes)
    text = response.body.decode()
    assert text.endswith(end)
    names = [family.name for family in parser(text)]
    assert names == [family.name for family in collect(app.engine) if family.samples]
    type_ = response.headers.get("content-type", "")
    assert type_.startswith("application/openmetrics-text" if accept else "text/plain")


def test_two_scrapes_with_nothing_between_say_the_same(app: Simulation) -> None:
    app.request("GET", "/ask")
    assert metrics_response(app.engine, "").body == metrics_response(app.engine, "").body


def test_names() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith(("http_", "pipebus_"))
        assert metric.name.endswith(f"_{metric.unit}" if metric.unit else "")
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert len(set(metric.labels)) == len(metric.labels)


@pytest.mark.peer("promtool")
def test_promtool_finds_nothing_to_say(app: Simulation) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    for path in ("/items/1", "/ask", "/nothing"):
        app.request("GET", path)
    body = metrics_response(app.engine, "").body
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
