"""The servers that are compared, and how much of a CPU each takes."""

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load import BODY

ROOT: Final = Path(__file__).parents[1]
APPS: Final = ROOT / "benchmarks" / "apps"
TICKS: Final = os.sysconf("SC_CLK_TCK")
STARTS_WITHIN: Final = 30.0


def _pipebus(runtime: str, kind: str) -> Callable[[int], list[str]]:
    return lambda port: [str(APPS / "pipebus_echo.py"), runtime, kind, str(port)]


def _uvicorn(port: int) -> list[str]:
    options = "--http h11 --loop asyncio --ws none --lifespan off --no-access-log"
    return ["-m", "uvicorn", "asgi_echo:app", *options.split(),
            "--log-level", "warning", "--port", str(port)]  # fmt: skip


def _hypercorn(worker: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        # 0 workers: in this process, whose CPU is measured.
        return ["-m", "hypercorn", "asgi_echo:app", "--workers", "0", "--worker-class", worker,
                "--log-level", "warning", "--bind", f"127.0.0.1:{port}"]  # fmt: skip

    return command


CONTENDERS: Final = {
    "pipebus asyncio": _pipebus("asyncio", "def"),
    "pipebus trio": _pipebus("trio", "def"),
    "pipebus asyncio, async def": _pipebus("asyncio", "async"),
    "pipebus trio, async def": _pipebus("trio", "async"),
    "uvicorn (h11)": _uvicorn,
    "hypercorn asyncio": _hypercorn("asyncio"),
    "hypercorn trio": _hypercorn("trio"),
}


@dataclass(frozen=True)
class Server:
    """One contender, running."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Return the CPU time of all its threads so far, in seconds (resolution 10 ms)."""
        # After the name, which may hold spaces: state is field 3 of proc_pid_stat(5), utime 14.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def check(self) -> None:
        """Refuse to measure a server that does not echo."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        for _ in range(2):
            connection.request("POST", "/echo", BODY, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            kind = answer.getheader("content-type")
            got = (answer.status, answer.read(), kind)
            if got != (200, BODY, "text/plain") or answer.will_close:
                raise RuntimeError(f"{self.name} answered {got}")
        connection.close()


@contextmanager
def running(name: str, python: Path, core: int) -> Iterator[Server]:
    """Run a contender on one core until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join(str(ROOT / part) for part in ("core", "bindings"))
    process = subprocess.Popen(
        [str(python), *CONTENDERS[name](port)],
        cwd=APPS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        _wait_for(port, process)
        server = Server(name, port, process.pid)
        server.check()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"did not start: {process.args!r}")
