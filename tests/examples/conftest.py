"""Examples run as their docstrings say: by the command, as a script, or within `serve`."""

import importlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.client import BaseClient
from pipebus_anyio.server import Server
from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(params=["asyncio", "trio"])
def runtime(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(runtime: str) -> str:
    """Run `async def` tests on that runtime (anyio's plugin asks for this fixture)."""
    return runtime


@asynccontextmanager
async def serving(
    runtime: str, pipeline: Pipeline[Any]
) -> AsyncIterator[tuple[Server, BaseClient]]:
    """Serve on a free port; the client is a bare one, with a pool of its own."""
    package = importlib.import_module(f"pipebus_{runtime}")
    async with package.serve(pipeline, bind="127.0.0.1:0") as server, package.Client() as client:
        assert server.runtime == runtime
        yield server, client


@contextmanager
def child(*arguments: str | Path, cwd: Path = ROOT) -> Iterator[tuple[str, list[str]]]:
    """Run a Python program until the block ends, by SIGTERM.

    Gives the URL that it says it serves at, and a list that has its output's lines afterwards.
    """
    command = [sys.executable, *arguments]
    output: list[str] = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=without_coverage(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.append(line)
                if found := re.search(r" at (http://\S+)", line):
                    yield found[1], output
                    break
            else:
                pytest.fail("it never served: " + "".join(output))
        finally:
            process.send_signal(signal.SIGTERM)
            output += process.stdout
    assert process.returncode == 0, output
