"""Rate limits, a client's share, the loop's lag, and whose a request is: as clients see it."""

from collections.abc import Callable

import pytest

from pipebus.http.gate import LONGEST_KEY
from pipebus.http.message import Address, Request, RequestInfo
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.loop_lag import PROBE_EVERY, LagProbe, LoopLag
from pipebus.resilience.rate_limit import RateLimit
from pipebus.testing import Simulation

ANY = "*"


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("/free")
    def free(request: Request) -> Response:
        return Response.text(str(request.client))

    @pipeline.route("GET /scarce", rate_limit=RateLimit(1.0, 1))
    def scarce(request: Request) -> Response:
        return Response()

    @pipeline.route("GET /slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(5)
        return Response.text(request.id)

    return pipeline


def statuses(app: Simulation, path: str, times: int) -> list[int]:
    return [app.get(path).status for _ in range(times)]


# --- rate limits -------------------------------------------------------------------------------


def test_beyond_the_rate_429_until_there_is_room() -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(0.5, 3)) as app:
        assert statuses(app, "/free", 4) == [200, 200, 200, 429]
        refused = app.get("/free")
        assert refused.headers["retry-after"] == "2"
        assert refused.headers["content-type"] == "application/problem+json"
        assert app.get("/nowhere").status == 429  # all requests count, these too
        app.advance(2.0)
        assert statuses(app, "/free", 2) == [200, 429]
        gate = app.engine.gate
        assert gate is not None
        assert gate.limited == 4
        assert app.topics("net.http.request") == ["net.http.request"] * 4
        [response] = [e for e in app.of("net.http.response") if e.data.status == 429][:1]
        assert (response.data.route, response.data.target) == ("", "/free")
    assert app.engine.admission.in_flight == 0


def test_a_body_that_comes_with_a_refused_request_is_read_and_the_connection_kept() -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, 1)) as app:
        for status in (200, 429, 429):
            assert app.post("/free", b"x" * 1_000).status == status
        assert len(app.of("net.connection.open")) == 1
        assert app.engine.admission.bodies.held == 0


def test_a_body_that_is_still_to_come_is_refused_from_its_head() -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, 1)) as app:
        app.get("/free")
        end = app.dial()
        app.send(end, b"POST /free HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        assert end.received.startswith(b"HTTP/1.1 429 ")


def test_a_route_has_a_limit_of_its_own() -> None:
    with Simulation(new_pipeline()) as app:
        assert statuses(app, "/scarce", 2) == [200, 429]
        assert statuses(app, "/free", 5) == [200] * 5
        end = app.dial()
        app.send(end, b"GET /scarce HTTP/1.1\r\n")  # in pieces: the long way
        app.send(end, b"Host: x\r\n\r\n")
        assert end.received.startswith(b"HTTP/1.1 429 ")
        app.advance(1.0)
        app.send(end, b"GET /scarce HTTP/1.1\r\n")
        app.send(end, b"Host: x\r\n\r\n")
        assert b"HTTP/1.1 200 " in end.received


def by_token(request: RequestInfo) -> str | None:
    return request.headers.get("authorization")


def broken(request: RequestInfo) -> str | None:
    raise KeyError(request.path)


def no_text(request: RequestInfo) -> str | None:
    return 7  # type: ignore[return-value]  # what a program may do all the same


@pytest.mark.parametrize(
    ("key", "expected", "errors"),
    [(by_token, [200, 200, 429, 200], 0), (broken, [200, 429, 429, 429], 4),
     (no_text, [200, 429, 429, 429], 4)],
)  # fmt: skip
def test_a_key_of_the_programs_own(
    key: Callable[[RequestInfo], str | None], expected: list[int], errors: int
) -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, 1, key)) as app:
        found = [
            app.get("/free", headers=({"authorization": token} if token else {})).status
            for token in ("a", "b", "a", "")
        ]
        assert found == expected
        gate = app.engine.gate
        assert gate is not None
        assert gate.key_errors == errors


def test_a_long_key_is_told_from_others_and_not_remembered_whole() -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, 1, by_token)) as app:
        found = [
            app.get("/free", headers={"authorization": "x" * 5_000 + end}).status
            for end in ("a", "b", "a")
        ]
        assert found == [200, 200, 429]
        gate = app.engine.gate
        assert gate is not None
        assert gate.limiter is not None
        assert max(map(len, gate.limiter._names)) <= LONGEST_KEY


# --- whose it is -------------------------------------------------------------------------------


def forwarded(app: Simulation, client: str) -> Response | object:
    return app.get("/free", headers={"x-forwarded-for": client})


def test_behind_a_trusted_proxy_the_client_is_whom_it_names() -> None:
    proxy = peer_of(new_pipeline())
    with Simulation(new_pipeline(), trusted_proxies=[proxy], rate_limit=RateLimit(1.0, 1)) as app:
        headers = {"x-forwarded-for": "9.9.9.9, 1.2.3.4"}
        assert app.get("/free", headers=headers).text() == "('1.2.3.4', 0)"
        assert app.get("/free", headers=headers).status == 429
        assert app.get("/free", headers={"x-forwarded-for": "5.6.7.8"}).status == 200
        clients = {event.data.client for event in app.of("net.http.response")}
        assert clients == {("1.2.3.4", 0), ("5.6.7.8", 0)}
        assert app.of("net.connection.open")[0].data.client[0] == proxy
        untold = app.get("/free")
        assert untold.text() == str(app.of("net.connection.open")[0].data.client)


def test_what_is_no_request_is_not_laid_to_the_last_ones_client() -> None:
    proxy = peer_of(new_pipeline())
    with Simulation(new_pipeline(), trusted_proxies=[proxy]) as app:
        end = app.dial()
        app.send(end, b"GET /free HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
        app.send(end, b"GET /free HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n")
        good, bad = app.of("net.http.response")
        assert (good.data.status, bad.data.status) == (200, 400)
        assert good.data.client == ("1.2.3.4", 0)
        assert bad.data.client[0] == proxy


def test_nobody_else_is_believed() -> None:
    with Simulation(new_pipeline(), trusted_proxies=["203.0.113.0/24"]) as app:
        answer = app.get("/free", headers={"x-forwarded-for": "1.2.3.4", "x-request-id": "mine"})
        assert "1.2.3.4" not in answer.text()


def peer_of(pipeline: Pipeline[None]) -> str:
    """Return the address that a simulation's client has."""
    with Simulation(pipeline) as app:
        app.get("/free")
        address: Address = app.of("net.connection.open")[0].data.client
        assert isinstance(address, tuple)
        return address[0]


# --- a client's share --------------------------------------------------------------------------


def test_one_connection_too_many_of_a_client_is_answered_503_and_closed() -> None:
    limits = Limits(max_connections_per_client=2)
    with Simulation(new_pipeline(), limits=limits) as app:
        first, second, third = (app.dial() for _ in range(3))
        for end in (first, second, third):
            app.send(end, b"GET /free HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [end.received[9:12] for end in (first, second, third)] == [b"200", b"200", b"503"]
        assert b"connection: close" in third.received.lower()
        app.network.close(first)
        app.settle()
        fourth = app.dial()
        app.send(fourth, b"GET /free HTTP/1.1\r\nHost: x\r\n\r\n")
        assert fourth.received[9:12] == b"200"


def test_a_trusted_proxy_may_have_any_number_of_connections() -> None:
    limits = Limits(max_connections_per_client=1)
    proxy = peer_of(new_pipeline())
    with Simulation(new_pipeline(), limits=limits, trusted_proxies=[proxy]) as app:
        ends = [app.dial() for _ in range(3)]
        for end in ends:
            app.send(end, b"GET /free HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [end.received[9:12] for end in ends] == [b"200"] * 3


def test_a_clients_requests_in_flight() -> None:
    limits = Limits(max_in_flight_per_client=1)
    proxy = peer_of(new_pipeline())
    with Simulation(new_pipeline(), limits=limits, trusted_proxies=[proxy]) as app:
        mine = app.start("GET", "/slow", headers={"x-forwarded-for": "1.2.3.4"})
        too_many = app.get("/free", headers={"x-forwarded-for": "1.2.3.4"})
        assert (too_many.status, too_many.headers["retry-after"]) == (503, "1")
        assert app.get("/free", headers={"x-forwarded-for": "5.6.7.8"}).status == 200
        app.advance(5.0)
        assert mine.response.status == 200
        assert app.get("/free", headers={"x-forwarded-for": "1.2.3.4"}).status == 200
        gone = app.start("GET", "/slow", headers={"x-forwarded-for": "1.2.3.4"})
        gone.cancel()
        assert app.get("/free", headers={"x-forwarded-for": "1.2.3.4"}).status == 200
    assert app.engine.admission.in_flight == 0


def test_a_connection_is_of_whom_a_proxy_header_names() -> None:
    with Simulation(
        new_pipeline(), limits=Limits(max_connections_per_client=1), record=False
    ) as app:
        engine, now = app.engine, app.world.now
        gate = engine.gate
        assert gate is not None
        assert gate.connections is not None
        link = engine.accepted(client=("10.0.0.1", 1), tls=False, token=None, now=now, proxied=True)
        assert gate.connections.keys == 0
        engine.proxied(link, ("203.0.113.7", 2), now)
        assert gate.connections.count("203.0.113.7") == 1
        engine.connection_lost(link, now)
        assert gate.connections.keys == 0
        while engine.next_action() is not None:
            pass  # to look at a connection that no driver has


# --- the loop's lag ----------------------------------------------------------------------------


def test_what_has_waited_too_long_in_a_sweep_is_shed() -> None:
    with Simulation(new_pipeline(), limits=Limits(max_loop_lag=0.5)) as app:
        gate = app.engine.gate
        assert gate is not None
        assert gate.watches_lag
        gate.polled(app.world.now)
        assert app.get("/free").status == 200
        gate.polled(app.world.now - 0.6)
        shed = app.get("/free")
        assert (shed.status, shed.headers["retry-after"]) == (503, "1")
        assert gate.shed == 1
        gate.polled(app.world.now)
        assert app.get("/free").status == 200


def test_a_loop_that_is_late_all_the_time_sheds_until_it_is_not() -> None:
    with Simulation(new_pipeline(), limits=Limits(max_loop_lag=0.02)) as app:
        gate = app.engine.gate
        assert gate is not None
        app.get("/free")
        for late in (0.05, 0.04, 0.03):  # each time the timer comes so much too late
            due = app.engine.next_deadline()
            assert due is not None
            app.engine.handle_timeout(due + late)
            app.world.now = due + late
            app.start("GET", "/free")
        assert gate.shed == 1
        due = app.engine.next_deadline()
        assert due is not None
        app.engine.handle_timeout(due)
        assert app.get("/free").status == 200


def test_an_idle_loop_is_not_woken_for_it() -> None:
    with Simulation(new_pipeline(), limits=Limits(max_loop_lag=0.5)) as app:
        app.get("/free")
        app.advance(PROBE_EVERY * 3)
        reason = app.engine.deadline_reason
        assert reason != "loop_lag"


# --- ids and times -----------------------------------------------------------------------------


def test_every_response_has_the_requests_id() -> None:
    with Simulation(new_pipeline(), request_id=True) as app:
        answer = app.get("/slow")
        assert answer.headers["x-request-id"] == answer.text()
        missing = app.get("/nowhere")
        assert missing.json()["instance"] == missing.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [("trace/7:a.b-c", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)],
)
def test_a_trusted_peers_id_is_taken_over_if_it_is_one(given: str, taken: bool) -> None:
    proxy = peer_of(new_pipeline())
    with Simulation(new_pipeline(), request_id=True, trusted_proxies=[proxy]) as app:
        answer = app.get("/slow", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is taken
        assert answer.text() == answer.headers["x-request-id"]
        assert app.of("net.http.response")[0].correlation_id == answer.text()
        own = app.get("/slow")
        assert own.headers["x-request-id"] not in ("", given)
        refused = app.get("/nowhere", headers={"x-request-id": given})
        assert (refused.json()["instance"] == given) is taken


def test_where_the_time_went() -> None:
    pipeline = new_pipeline()

    @pipeline.route("GET /own")
    def own(request: Request) -> Response:
        headers = [("server-timing", "db;dur=1"), ("x-request-id", "own")]
        return Response.text("", headers=headers)

    with Simulation(pipeline, server_timing=True, request_id=True) as app:
        slow = app.get("/slow").headers["server-timing"]
        assert slow == "read;dur=0.000, queue;dur=0.000, handler;dur=5000.000"
        assert app.get("/nowhere").headers["server-timing"] == "read;dur=0.000"
        answer = app.get("/own")
        assert answer.headers.get_list("server-timing") == ["db;dur=1"]
        assert answer.headers.get_list("x-request-id") == ["own"]


def test_a_request_that_no_handler_took_says_how_long_it_was_queued() -> None:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /one", concurrency=1, timeout=2.0)
    async def one(request: Request, ctx: Context) -> Response:
        await ctx.sleep(60)
        return Response()

    with Simulation(pipeline, server_timing=True) as app:
        app.start("GET", "/one")
        app.advance(0.5)
        waiting = app.start("GET", "/one")
        app.advance(2.5)
        # the first one's time is over after 2 s, and its slot goes to this one
        assert waiting.response.headers["server-timing"].startswith("read;dur=0.000, queue;dur=")
        crowd = [app.start("GET", "/one") for _ in range(3)]
        app.advance(5.0)
        last = crowd[-1].response
        assert last.status == 504
        assert (
            last.headers["server-timing"] == "read;dur=0.000, queue;dur=2000.000, handler;dur=0.000"
        )


def test_a_driver_may_tell_what_nobody_watches() -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0)) as app:
        gate = app.engine.gate
        assert gate is not None
        assert not gate.watches_lag
        gate.polled(app.world.now - 60)
        assert app.get("/free").status == 200


def test_a_probe_that_is_asked_too_early_does_nothing() -> None:
    probe = LagProbe(LoopLag())
    probe.deadline = 5.0
    probe.handle_timeout(4.9)
    assert probe.deadline == 5.0


def test_who_asks_whether_it_lives_is_told_so_by_a_server_that_is_full() -> None:
    limits = Limits(max_in_flight=1, max_in_flight_per_client=1)
    with Simulation(new_pipeline(), limits=limits, health_routes=True) as app:
        full = app.start("GET", "/slow")
        assert statuses(app, "/free", 1) == [503]
        assert statuses(app, "/livez", 2) == [200, 200]
        assert app.engine.admission.in_flight == 1
        app.advance(5.0)
        assert full.response.status == 200
        assert statuses(app, "/free", 2) == [200, 200]


@pytest.mark.parametrize("whole", [True, False])
def test_who_asks_whether_it_lives_is_told_whatever_the_limits_say(whole: bool) -> None:
    with Simulation(new_pipeline(), rate_limit=RateLimit(1.0, 1), health_routes=True) as app:
        assert statuses(app, "/free", 2) == [200, 429]
        end = app.dial()
        for piece in (b"GET /livez HTTP/1.1\r\n", b"Host: x\r\n\r\n") if not whole else (
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        ):  # fmt: skip
            app.send(end, piece)
        assert end.received.startswith(b"HTTP/1.1 200 ")
        gate = app.engine.gate
        assert gate is not None
        assert gate.limited == 1


def test_an_answer_that_is_not_the_handlers_says_why() -> None:
    pipeline = new_pipeline()

    @pipeline.route("GET /fails")
    def fails(request: Request) -> Response:
        raise KeyError("x")

    with Simulation(pipeline, rate_limit=RateLimit(1.0, 3)) as app:
        for path in ("/free", "/nowhere", "/fails", "/free"):
            app.get(path)
        ends = app.of("net.http.response")
        assert [event.data.reason for event in ends] == [
            "",
            "not_found",
            "KeyError",
            "rate_limited",
        ]
        refused = ends[1]
        assert refused.correlation_id.startswith("s-connection-")  # of this process alone
