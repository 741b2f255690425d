"""How many instructions a request takes in user mode: the same number on a busy machine and a quiet one.

    python -m benchmarks.instructions [PART ...]

PART picks what has one of these in its name: parts of the core's own path (`core_path`), and
servers, echoing 230 bytes over 64 connections. Everything runs under valgrind twice, once longer,
and the difference counts. What the kernel does for it is not seen. After `make compiled` there are
rows of that wheel, too.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from benchmarks import core_path, environment
from benchmarks.case import COMPILED, Setup
from benchmarks.load import Message
from benchmarks.processes import ROOT, python_for
from benchmarks.servers import SERVERS, free_port, missing

SHORT: Final = 640
LONG: Final = 3_200
CONNECTIONS: Final = 64
STARTS_WITHIN: Final = 60.0

CORE: Final = {
    "core: engine, def": lambda: core_path.engine_path(core_path.NoCodec(), inline=True),
    "core: engine, async def": lambda: core_path.engine_path(core_path.NoCodec(), inline=False),
    "core: engine, def, operated": lambda: core_path.engine_path(
        core_path.NoCodec(), inline=True, **core_path.operated()
    ),
    "core: client call": lambda: core_path.client_cycle(core_path.NoCodec()),
    "core: request and reply": core_path.request_and_reply,
}


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        operation = CORE[sys.argv[2]]()
        for number in range(int(sys.argv[3])):
            operation(number * 0.001)
        return 0
    if shutil.which("valgrind") is None:
        print("this needs valgrind (apt-get install valgrind)", file=sys.stderr)
        return 1

    def picked(name: str) -> bool:
        return not sys.argv[1:] or any(part in name for part in sys.argv[1:])

    compiled = environment.COMPILED_VENV / "bin" / "python"
    setup = Setup(
        python=environment.ready(),
        measured_core=0,
        load_core=0,
        compiled=compiled if compiled.exists() else None,
    )

    def there(name: str) -> bool:
        return name not in missing() and (setup.compiled is not None or COMPILED not in name)

    # Else the first run would compile what the second finds compiled.
    sources = (
        environment.VENV / "lib",
        *(ROOT / part for part in ("core", "bindings", "benchmarks")),
    )
    subprocess.run([setup.python, "-m", "compileall", "-qq", *sources], check=False)
    for name in filter(there, filter(picked, (*CORE, *(name + COMPILED for name in CORE)))):
        show(name, [count_core(name, setup, times) for times in (SHORT, LONG)])
    for name in filter(there, filter(picked, SERVERS)):
        show(name, [count_server(name, setup, times) for times in (SHORT, LONG)])
    return 0


def show(name: str, counts: Sequence[int]) -> None:
    print(f"{name:<40}{(counts[1] - counts[0]) / (LONG - SHORT):>10,.0f}", flush=True)


def count_core(name: str, setup: Setup, times: int) -> int:
    python, environ = python_for(setup, name)
    how = ["--child", name.removesuffix(COMPILED), str(times)]
    with Counted([str(python), "-m", "benchmarks.instructions", *how], environ) as counted:
        counted.process.wait()
    return counted.instructions


def count_server(name: str, setup: Setup, times: int) -> int:
    port = free_port()
    _, environ = python_for(setup, name)
    with Counted(SERVERS[name](setup, port), environ) as counted:
        ask(port, times)
    return counted.instructions


class Counted:
    """A child under valgrind; `instructions` is known once the block is left, which ends it."""

    def __init__(self, command: Sequence[str], environ: dict[str, str]) -> None:
        self._log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115 (closed by the block)
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=no"]
        to = ["--cachegrind-out-file=/dev/null", f"--log-file={self._log.name}"]
        # The same order of sets and dicts in both runs.
        environ = environ | {"PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen([*valgrind, *to, *command], cwd=ROOT, env=environ)
        self.instructions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        with self._log:
            found = re.search(r"refs:\s*([\d,]+)", Path(self._log.name).read_text())
        if found is None:
            raise RuntimeError(f"valgrind counted nothing of {self.process.args!r}")
        self.instructions = int(found[1].replace(",", ""))


def ask(port: int, times: int) -> None:
    """Send `times` requests, one at a time on each connection, and read every answer to its end."""
    request = Message().encode()
    body = Message().body
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(CONNECTIONS)]
        for _ in range(times // CONNECTIONS):
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                got = b""
                while not got.endswith(body):
                    data = connection.recv(65_536)
                    if not data:
                        raise RuntimeError(f"the answer ends with {got[-80:]!r}")
                    got += data


def connect(port: int) -> socket.socket:
    """Connect once the server listens: under valgrind it takes its time."""
    for _ in range(int(STARTS_WITHIN / 0.1)):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=STARTS_WITHIN)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start")


if __name__ == "__main__":
    sys.exit(main())
