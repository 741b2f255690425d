"""The admin listener, beside the server that it tells about."""

import anyio
import anyio.lowlevel
import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer

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
            assert (answer.status, answer.body) == (503, b"serving: draining\n")
            assert (await client.ask(get("/"))).headers.get("connection") is None
            async with peer(server.addresses[0]) as late:  # nobody has told its balancer yet
                assert (await late.ask(get("/"))).status == 200
            await server.wait_drained()
            assert (await admin.ask(get("/livez"))).status == 200


async def test_an_admin_address_that_is_taken(stack: Stack) -> None:
    async with stack.serve(new_pipeline({"up": True})) as first:
        taken = first.addresses[0]
        with pytest.raises(OSError, match=f"cannot listen on {taken[0]} port {taken[1]}"):
            async with stack.serve(new_pipeline({"up": True}), admin=taken):
                pass
