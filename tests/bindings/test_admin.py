"""The admin listener, beside the server that it tells about."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.options import Options
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer, until

pytestmark = pytest.mark.anyio


def new_pipeline(database: dict[str, bool]) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.check("database", interval=0.01)
    async def check(ctx: Context) -> bool:
        await anyio.lowlevel.checkpoint()
        return database["up"]

    @pipeline.route("GET /{$}")
    def root(request: Request) -> Response:
        return Response.text("root")

    return pipeline


async def test_alive_and_ready_and_then_not(stack: Stack) -> None:
    database = {"up": True}
    pipeline = new_pipeline(database)
    limits = Limits(drain_delay=0.2)
    options = {"admin": "127.0.0.1:0", "health_routes": True, "limits": limits}
    async with stack.serve(pipeline, **options) as server:
        [url] = server.admin_urls
        admin_address = ("127.0.0.1", int(url.rpartition(":")[2]))
        assert admin_address not in server.addresses
        async with peer(admin_address) as admin, peer(server.addresses[0]) as client:
            while (answer := await admin.ask(get("/readyz"))).status != 200:
                pass  # the first run of the check
            assert (await admin.ask(get("/livez"))).body == b"ok\n"
            assert (await client.ask(get("/readyz"))).body == b"ok\n"
            assert (await admin.ask(get("/"))).status == 404
            assert (await client.ask(get("/metrics"))).status == 404
            metrics = await admin.ask(get("/metrics"))
            assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
            ready = b'http_server_request_duration_seconds_count{http_request_method="GET",'
            assert ready in metrics.body
            assert b'http_route="/readyz"' in metrics.body
            openmetrics = get("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
            assert (await admin.ask(openmetrics)).body.endswith(b"# EOF\n")

            database["up"] = False
            while (answer := await admin.ask(get("/readyz"))).status == 200:
                pass
            assert answer.body == b"check database: returned False\n"
            assert (await client.ask(get("/readyz"))).body == b"check database: fails\n"
            database["up"] = True
            while (await admin.ask(get("/readyz"))).status != 200:
                pass

            server.begin_drain()
            answer = await admin.ask(get("/readyz"))
            assert (answer.status, answer.body) == (503, b"serving: about to drain\n")
            assert (await client.ask(get("/"))).headers.get("connection") is None
            async with peer(server.addresses[0]) as late:  # nobody has told its balancer yet
                assert (await late.ask(get("/"))).status == 200
            await server.wait_drained()
            assert (await admin.ask(get("/livez"))).status == 200
            assert (await admin.ask(get("/readyz"))).body == b"serving: draining\n"


async def test_an_admin_address_that_is_taken(stack: Stack) -> None:
    async with stack.serve(new_pipeline({"up": True})) as first:
        taken = first.addresses[0]
        with pytest.raises(OSError, match=f"admin: cannot listen on {taken[0]} port {taken[1]}"):
            async with stack.serve(new_pipeline({"up": True}), admin=taken):
                pass


async def test_it_opens_late_and_closes_early_where_servers_take_turns(stack: Stack) -> None:
    admin = ("127.0.0.1", _free_port())
    async with stack.serve(new_pipeline({"up": True}), admin=[]) as server:
        assert server.admin_urls == []
        server.open_admin(admin)
        await until(lambda: _connects(admin))
        async with peer(admin) as kept, peer(server.addresses[0]) as client:
            assert (await kept.ask(get("/livez"))).status == 200
            server.close_admin()
            server.close_admin()
            assert not _connects(admin)
            assert await kept.rest() == b""  # it would be asked for ever
            assert (await client.ask(get("/"))).status == 200


async def test_one_without_an_admin_listener_has_none_to_close(stack: Stack) -> None:
    async with stack.serve(new_pipeline({"up": True})) as server:
        server.close_admin()
        assert not server.draining


def _connects(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


async def test_it_is_there_before_the_lifespan_and_after_it(stack: Stack) -> None:
    seen: list[tuple[str, int]] = []
    admin = ("127.0.0.1", _free_port())

    async def look(when: str) -> None:
        async with peer(admin) as asker:
            for path in ("/livez", "/readyz", "/metrics"):
                seen.append((f"{when} {path}", (await asker.ask(get(path))).status))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await look("before")
        yield
        await look("after")

    pipeline: Pipeline[None] = Pipeline(lifespan=lifespan)
    async with stack.serve(pipeline, admin=admin):
        await look("while")
    assert seen == [
        ("before /livez", 200), ("before /readyz", 503), ("before /metrics", 503),
        ("while /livez", 200), ("while /readyz", 200), ("while /metrics", 200),
        ("after /livez", 200), ("after /readyz", 503), ("after /metrics", 200),
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"breaker": True}, "breaker must be a BreakerPolicy or None, not True"),
        ({"retry": 3}, "retry must be a RetryPolicy or None, not 3"),
        ({"rate_limit": 5}, "rate_limit must be a RateLimit or None, not 5"),
        ({"limits": {}}, r"limits must be a Limits, not \{\}"),
        ({"client_limits": None}, "client_limits must be a ClientLimits, not None"),
        ({"timeouts": 3}, "timeouts must be a Timeouts, not 3"),
        ({"access_log": "x.log"}, "access_log must be a bool, not 'x.log'"),
        ({"request_id": "X-Id"}, "request_id must be a bool, not 'X-Id'"),
        ({"tracer": True}, "tracer must have a method start, not True"),
        ({"trace_ratio": 2}, "trace_ratio must be 0 to 1, not 2"),
        ({"trace_ratio": "x"}, "trace_ratio must be 0 to 1, not 'x'"),
        ({"admin": 9000}, "admin: not a list of addresses to bind to: 9000"),
        ({"trusted_proxies": "10.0.0.0/8"}, "trusted_proxies must be a list, not '10.0.0.0/8'"),
        ({"trusted_proxies": ["10.0.0.0/99"]}, "trusted_proxies: .*10.0.0.0/99"),
    ],
)
def test_an_option_of_a_wrong_kind_is_refused_by_name(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Options(**options)
