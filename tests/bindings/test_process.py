"""`run`: signals, the limit of open files, logging, and an end that comes whatever happens."""

import importlib
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio import process
from pipebus_anyio.options import Options
from pipebus_anyio.server import Server
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer, until
from tests.environment import without_coverage

ROOT = Path(__file__).parents[2]


class Held:
    """A pipeline with one handler that waits for the test."""

    def __init__(self) -> None:
        self.pipeline: Pipeline[None] = Pipeline("app")
        self.started = anyio.Event()
        self.go_on = anyio.Event()

        @self.pipeline.route("GET /")
        async def held(_: Request) -> Response:
            self.started.set()
            await self.go_on.wait()
            return Response.text("done")


@asynccontextmanager
async def running(stack: Stack, held: Held, statuses: list[int]) -> AsyncIterator[Server]:
    """Run `run_until_signal` beside the block; its status is appended to `statuses`."""
    module = importlib.import_module(f"pipebus_{stack.runtime}.runtime")
    new_runtime = getattr(module, f"{stack.runtime.capitalize()}Runtime")
    servers: list[Server] = []
    up = anyio.Event()

    def started(server: Server) -> None:
        servers.append(server)
        up.set()

    async def run() -> None:
        options = Options(bind="127.0.0.1:0", limits=Limits(grace=10))
        statuses.append(
            await process.run_until_signal(new_runtime, held.pipeline, options, started)
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await up.wait()
        yield servers[0]


@pytest.mark.anyio
async def test_a_signal_drains(stack: Stack) -> None:
    held = Held()
    statuses: list[int] = []
    async with running(stack, held, statuses) as server, peer(server.addresses[0]) as client:
        await client.send(get("/"))
        await held.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(OSError, match=r"."):
            while True:
                async with await anyio.connect_tcp(*server.addresses[0]):
                    await anyio.sleep(0.001)
        held.go_on.set()
        assert (await client.answer()).body == b"done"
    assert statuses == [0]


@pytest.mark.anyio
async def test_the_log_says_where_it_listens_and_how_it_ends(
    stack: Stack, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO", "pipebus")
    options = Options(
        bind=["127.0.0.1:0", f"unix:{tmp_path}/a.sock"],
        admin="127.0.0.1:0",
        limits=Limits(drain_delay=0.01),
    )
    async with anyio.create_task_group() as tasks:
        module = importlib.import_module(f"pipebus_{stack.runtime}.runtime")
        new_runtime = getattr(module, f"{stack.runtime.capitalize()}Runtime")
        tasks.start_soon(process.run_until_signal, new_runtime, Held().pipeline, options)
        await until(lambda: len(caplog.messages) == 3)
        os.kill(os.getpid(), signal.SIGTERM)
    tcp, unix, admin, *end = caplog.messages
    assert re.fullmatch(r"listening at http://127\.0\.0\.1:\d+", tcp)
    assert unix == f"listening at unix:{tmp_path}/a.sock"
    assert re.fullmatch(r"admin at http://127\.0\.0\.1:\d+", admin)
    assert end == ["SIGTERM: not ready; draining in 0.01 s", "draining", "ended"]


@pytest.mark.anyio
async def test_a_second_signal_ends_at_once(stack: Stack) -> None:
    held = Held()
    statuses: list[int] = []
    async with running(stack, held, statuses) as server, peer(server.addresses[0]) as client:
        await client.send(get("/"))
        await held.started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: server.draining)
        os.kill(os.getpid(), signal.SIGINT)
    assert statuses == [128 + signal.SIGINT]


def test_the_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    assert process.raise_file_limit() == 4096
    assert set_to == [(4096, 4096)]


def test_a_limit_at_its_most_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("set"))
    assert process.raise_file_limit() == 4096


def test_a_limit_that_cannot_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not that many")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert process.raise_file_limit() == 256


def test_windows_has_no_such_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert process.raise_file_limit() is None


def test_logging_is_configured_only_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: seen.append(given))
    monkeypatch.setattr(process, "raise_file_limit", lambda: None)
    process.prepare("DEBUG")
    assert seen[0]["level"] == "DEBUG"
    assert "force" not in seen[0]


def test_the_hard_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    process.end_hard(["one", "two"])
    assert statuses == [70]
    assert "one, two" in caplog.text


def child(stack: Stack, handler: str, *, thread: bool = False) -> subprocess.Popen[str]:
    """Start a process that calls `run` and prints its port."""
    program = f"""
        import anyio
        import time
        from pipebus import Limits, Pipeline, Request, Response
        from pipebus_{stack.runtime} import run
        pipeline = Pipeline("child")
        @pipeline.route("GET /", thread={thread})
        {"def" if thread else "async def"} handler(request: Request) -> Response:
            {handler}
        run(
            pipeline,
            bind="127.0.0.1:0",
            limits=Limits(grace=30),
            started=lambda server: print(server.addresses[0][1], flush=True),
        )
        print("returned", flush=True)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=without_coverage(PYTHONPATH=f"{ROOT / 'core'}:{ROOT / 'bindings'}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.anyio
async def test_run_serves_and_returns_after_a_signal(stack: Stack) -> None:
    with child(stack, "return Response.text('from a child')") as running_child:
        assert running_child.stdout is not None
        port = int(running_child.stdout.readline())
        async with peer(("127.0.0.1", port)) as client:
            assert (await client.ask(get("/"))).body == b"from a child"
        running_child.send_signal(signal.SIGINT)
        out, err = running_child.communicate(timeout=20)
        assert (running_child.returncode, out) == (0, "returned\n"), err


@pytest.mark.anyio
async def test_run_ends_by_systemexit_after_two_signals(stack: Stack) -> None:
    with child(stack, "print('running', flush=True); await anyio.sleep(9)") as running_child:
        assert running_child.stdout is not None
        port = int(running_child.stdout.readline())
        async with peer(("127.0.0.1", port)) as client:
            await client.send(get("/"))
            assert running_child.stdout.readline() == "running\n"
            running_child.send_signal(signal.SIGTERM)
            assert running_child.stderr is not None
            assert "SIGTERM: draining" in running_child.stderr.readline()
            running_child.send_signal(signal.SIGTERM)
            out, _ = running_child.communicate(timeout=20)

        assert (running_child.returncode, out) == (143, "")


@pytest.mark.anyio
async def test_a_thread_that_will_not_end_does_not_hold_the_process(stack: Stack) -> None:
    handler = "print('running', flush=True); time.sleep(60)"
    with child(stack, handler, thread=True) as running_child:
        assert running_child.stdout is not None
        port = int(running_child.stdout.readline())
        async with peer(("127.0.0.1", port)) as client:
            await client.send(get("/"))
            assert running_child.stdout.readline() == "running\n"
            running_child.send_signal(signal.SIGTERM)
            running_child.send_signal(signal.SIGINT)
            _, err = running_child.communicate(timeout=20)
        assert running_child.returncode == 70
        assert "threads that did not end: __main__.handler" in err
