"""A server in a registry of prometheus-client, scraped in its own thread and in others."""

import subprocess
import sys
from collections.abc import Callable

import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline
from pipebus.telemetry.exposition import render
from pipebus_anyio.observe.prometheus import PipebusCollector
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer

pytestmark = pytest.mark.anyio

SERVED = {
    "http_request_method": "GET", "http_route": "/", "http_response_status_code": "200",
    "url_scheme": "http",
}  # fmt: skip


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline()

    @pipeline.route("GET /")
    def root(request: Request) -> Response:
        return Response.text("root")

    return pipeline


async def test_a_registry_tells_what_the_admin_listener_tells(stack: Stack) -> None:
    registry = CollectorRegistry()
    Counter("own", "Beside it.", registry=registry).inc()
    async with stack.serve(new_pipeline()) as server:
        registry.register(PipebusCollector(server))
        async with peer(server.addresses[0]) as client:
            for _ in range(3):
                assert (await client.ask(get("/"))).status == 200
            here = generate_latest(registry)
            there = await anyio.to_thread.run_sync(generate_latest, registry)
            assert here == there
            value = registry.get_sample_value("http_server_request_duration_seconds_count", SERVED)
            assert value == 3
            assert registry.get_sample_value("own_total") == 1
            assert registry.get_sample_value("pipebus_connections_open") == 1

            # The same lines as ours, but for the order of a line's labels and how numbers look.
            def names(text: str) -> list[str]:
                return [line.split("{")[0].split(" ")[0] for line in text.splitlines()
                        if not line.startswith(("#", "own_"))]  # fmt: skip

            openmetrics: Callable[[CollectorRegistry], bytes] = generate_openmetrics
            text = openmetrics(registry).decode()
            assert names(text) == names(render(server.metrics(), "openmetrics"))


async def test_a_server_that_has_ended_tells_nothing_and_harms_nobody(stack: Stack) -> None:
    registry = CollectorRegistry()
    Counter("own", "Beside it.", registry=registry).inc()
    async with stack.serve(new_pipeline()) as server:
        registry.register(PipebusCollector(server))
    text = await anyio.to_thread.run_sync(generate_latest, registry)
    assert text.splitlines()[2] == b"own_total 1.0"
    assert b"pipebus" not in text


async def test_the_names_are_taken_once(stack: Stack) -> None:
    registry = CollectorRegistry()
    async with stack.serve(new_pipeline()) as server:
        registry.register(PipebusCollector(server))
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(PipebusCollector(server))


def test_without_prometheus_client_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import pipebus_asyncio\n"
        "try:\n    import pipebus_anyio.observe.prometheus\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "this needs prometheus-client: pip install 'pipebus[metrics]'\n"
