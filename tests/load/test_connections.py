"""Thousands of connections at once over real sockets, the load in a process of its own."""

import gc
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.server import Server
from tests.bindings.conftest import DEFAULT_STACKS, Stack
from tests.bindings.peer import until
from tests.environment import without_coverage

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]

ROOT: Final = Path(__file__).parents[2]
IDLE: Final = 2_000
SLOW: Final = 100
BURST: Final = 1_000
SHORT: Final = Limits(head_timeout=3, linger_timeout=1, grace=5)
# The limits are the core's: with its defaults, which take long, one runtime is enough.
CASES: Final = [(stack, SHORT) for stack in DEFAULT_STACKS] + [(DEFAULT_STACKS[0], Limits())]


@pytest.fixture
def anyio_backend(stack: Stack) -> str:
    return stack.runtime


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + SLOW + BURST + 500
    assert before[1] >= wanted, "the hard limit of open files is too low for this load"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def new_pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("load")

    @pipeline.route("POST /echo")
    async def echo(request: Request) -> Response:
        return Response(200, request.body)

    return pipeline


async def load(server: Server, idle: int, slow: int, burst: int) -> dict[str, Any]:
    port = server.addresses[0][1]
    command = [sys.executable, "-m", "tests.load.client", *map(str, (port, idle, slow, burst))]

    def run() -> dict[str, Any]:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=without_coverage(),
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    return await anyio.to_thread.run_sync(run)


def open_files() -> int:
    # What is garbage already (of another test, perhaps) must not be counted as closed by this one.
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize(("stack", "limits"), CASES, ids=["asyncio", "trio", "asyncio-defaults"])
async def test_a_busy_second(stack: Stack, limits: Limits) -> None:
    async with stack.serve(new_pipeline(), limits=limits) as server:
        connections = server.engine.admission
        # The first use opens what stays: the worker thread's, the loop's.
        await load(server, 1, 0, 1)
        await until(lambda: connections.connections == 0)
        before = open_files()
        opened = server.engine.bus.counts.opened

        report = await load(server, IDLE, SLOW, BURST)

        assert report["errors"] == []
        assert report["answered"] == 2 * IDLE + BURST
        # That the load was the one that was asked for:
        assert report["span"] < 1
        assert report["slow_during_burst"] == SLOW
        for slow in report["slow"]:
            # A head that never began is nobody's request: no answer.
            assert slow["answer"] == ("HTTP/1.1 408 Request Timeout" if slow["drips"] else "")
            assert slow["seconds"] >= limits.head_timeout
        assert len(report["slow"]) == SLOW

        await until(lambda: connections.connections == 0)
        counts = server.engine.bus.counts
        assert counts.opened - opened == 2 * IDLE + BURST
        assert counts.outcomes["replied"] == counts.opened
        assert open_files() == before
