"""The HTTP servers that are compared, and how one of them is loaded."""

import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks import load
from benchmarks.case import COMPILED, Measure, Setup, Values
from benchmarks.load import Message
from benchmarks.processes import ROOT, Usage, python_for, started

STARTS_WITHIN: Final = 30.0
WARM_UP: Final = 300
"""Requests to a server before it is measured: caches are filled, code is specialised."""
KEEP_ALIVE: Final = 60
"""Seconds that the neighbours leave an idle connection open: granian takes no more, uvicorn's
default of 5 would close connections while they are measured."""

ASYNCIO_DEF: Final = "pipebus asyncio, def"
TRIO_DEF: Final = "pipebus trio, def"
ASYNCIO_ASYNC: Final = "pipebus asyncio, async def"
TRIO_ASYNC: Final = "pipebus trio, async def"
ASYNCIO_H11: Final = "pipebus asyncio, def, h11"
TRIO_H11: Final = "pipebus trio, def, h11"
UVICORN: Final = "uvicorn httptools uvloop"
UVICORN_H11: Final = "uvicorn h11 asyncio"
HYPERCORN: Final = "hypercorn asyncio"
HYPERCORN_TRIO: Final = "hypercorn trio"
AIOHTTP: Final = "aiohttp uvloop"
GRANIAN: Final = "granian uvloop"
GO: Final = "go net/http"

Command = Callable[[Setup, int], list[str]]


def _pipebus(runtime: str, kind: str, wire: str = "", *, compiled: bool = False) -> Command:
    def command(setup: Setup, port: int) -> list[str]:
        python = setup.compiled if compiled else setup.python
        module = "benchmarks.apps.pipebus_echo"
        how = [runtime, kind, setup.driver, wire or setup.wire, str(port)]
        return [str(python), "-m", module, *how]

    return command


def _module(options: str) -> Command:
    """Return what runs a module of the environment; PORT in its options is replaced."""
    words = options.split()

    def command(setup: Setup, port: int) -> list[str]:
        return [str(setup.python), "-m", *(word.replace("PORT", str(port)) for word in words)]

    return command


def _go(_: Setup, port: int) -> list[str]:
    return [str(build_go()), str(port)]


_UVICORN: Final = (
    "uvicorn benchmarks.apps.asgi_echo:app --ws none --lifespan off --no-access-log "
    f"--log-level warning --timeout-keep-alive {KEEP_ALIVE} --port PORT"
)
# 0 workers: in this process, without a supervisor beside it.
_HYPERCORN: Final = (
    "hypercorn benchmarks.apps.asgi_echo:app --workers 0 --log-level warning "
    f"--keep-alive {KEEP_ALIVE} --bind 127.0.0.1:PORT"
)
SERVERS: Final[dict[str, Command]] = {
    ASYNCIO_DEF: _pipebus("asyncio", "def"),
    TRIO_DEF: _pipebus("trio", "def"),
    ASYNCIO_ASYNC: _pipebus("asyncio", "async"),
    TRIO_ASYNC: _pipebus("trio", "async"),
    ASYNCIO_DEF + COMPILED: _pipebus("asyncio", "def", compiled=True),
    TRIO_DEF + COMPILED: _pipebus("trio", "def", compiled=True),
    ASYNCIO_ASYNC + COMPILED: _pipebus("asyncio", "async", compiled=True),
    TRIO_ASYNC + COMPILED: _pipebus("trio", "async", compiled=True),
    ASYNCIO_H11: _pipebus("asyncio", "def", "h11"),
    TRIO_H11: _pipebus("trio", "def", "h11"),
    ASYNCIO_H11 + COMPILED: _pipebus("asyncio", "def", "h11", compiled=True),
    TRIO_H11 + COMPILED: _pipebus("trio", "def", "h11", compiled=True),
    UVICORN: _module(f"{_UVICORN} --http httptools --loop uvloop"),
    UVICORN_H11: _module(f"{_UVICORN} --http h11 --loop asyncio"),
    HYPERCORN: _module(f"{_HYPERCORN} --worker-class asyncio"),
    HYPERCORN_TRIO: _module(f"{_HYPERCORN} --worker-class trio"),
    AIOHTTP: _module(f"benchmarks.apps.aiohttp_echo {KEEP_ALIVE} PORT"),
    GRANIAN: _module(
        "granian benchmarks.apps.asgi_echo:app --interface asginl --workers 1 --runtime-threads 1 "
        "--loop uvloop --no-access-log --log-level warning "
        f"--http1-header-read-timeout {KEEP_ALIVE * 1000} --port PORT"
    ),
    GO: _go,
}


def missing() -> list[str]:
    """Return the contenders that this machine has not the tools for."""
    return [] if shutil.which("go") else [GO]


def build_go() -> str:
    """Compile the Go server, if that has not been done; return where it is."""
    binary = ROOT / "benchmarks" / ".venv" / "go_echo"
    source = ROOT / "benchmarks" / "apps" / "go_echo.go"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["go", "build", "-o", binary, source], check=True)
    return str(binary)


@dataclass(frozen=True)
class Server:
    """One contender, running."""

    name: str
    port: int
    usage: Usage

    def measure(self, setup: Setup, connections: int, seconds: int, message: Message) -> Values:
        """Load it once."""
        self.usage.forget_peak()
        before = self.usage.cpu()
        core = setup.load_core
        result = load.run(setup.generator, self.port, connections, seconds, message, core)
        return {
            "rate": result.requests / result.seconds,
            "p50": result.p50,
            "p99": result.p99,
            "cpu": (self.usage.cpu() - before) / result.requests,
            "memory": self.usage.peak_memory(),
            "failed": result.failed(message),
        }


@contextmanager
def running(name: str, setup: Setup, message: Message, warm_up: int = WARM_UP) -> Iterator[Server]:
    """Run a contender on its core until the end of the block."""
    port = free_port()
    command = SERVERS[name](setup, port)
    _, environ = python_for(setup, name)
    with started(command, setup.measured_core, environ) as process:
        wait_for(port, process)
        check(name, port, message, warm_up)
        # Not before it answers: a supervisor listens before it has its workers.
        yield Server(name, port, Usage(process.pid))


def check(name: str, port: int, message: Message, times: int) -> None:
    """Refuse to measure a server that does not echo, or does not keep connections."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        for _ in range(times):
            connection.request("POST", "/echo", message.body, message.fields)
            answer = connection.getresponse()
            got = (answer.status, answer.getheader("content-type"), answer.read() == message.body)
            if got != (200, "text/plain", True) or answer.will_close:
                raise RuntimeError(f"{name} answered {got}, close: {answer.will_close}")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens at just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Return once a port is listened at; `RuntimeError` if the process ends, or after 30 s."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"did not start: {process.args!r}")


Load = Callable[[Server, str, int], Values]
"""Measure (server, variant, seconds)."""


@contextmanager
def all_running(
    setup: Setup, names: Sequence[str], message: Message, warm_up: int, measure: Load
) -> Iterator[Measure]:
    """Run servers side by side; only the one that is loaded takes CPU."""
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running(name, setup, message, warm_up)) for name in names
        }
        yield lambda name, variant, seconds: measure(servers[name], variant, seconds)
