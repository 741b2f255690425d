"""The load: wrk, or a generator of our own where there is no wrk.

    python -m benchmarks.load PORT CONNECTIONS SECONDS

is our own: closed-loop like wrk, one thread, and slower than wrk, so that it, and not the server,
may be what is measured. The report says which one ran.
"""

import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BODY: Final = b"0123456789" * 23
REQUEST: Final = (
    b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@dataclass(frozen=True)
class Result:
    """What one run saw. Seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def generator() -> str:
    """Return the name and version of the generator that `run` uses."""
    if shutil.which("wrk") is None:
        return "own"
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return " ".join(words[:2])


def run(port: int, connections: int, seconds: float, core: int) -> Result:
    """Load a server from `core`."""
    if shutil.which("wrk"):
        command = [
            "wrk", "--threads", "1", "--connections", str(connections), "--latency",
            "--duration", f"{seconds:g}s", "--timeout", "10s", "--script", str(HERE / "echo.lua"),
            f"http://127.0.0.1:{port}",
        ]  # fmt: skip
    else:
        own = [sys.executable, "-m", "benchmarks.load"]
        command = [*own, str(port), str(connections), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    os.sched_setaffinity(process.pid, {core})
    output, _ = process.communicate()
    found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
    if not found:
        raise RuntimeError(f"no result from {command[0]}:\n{output}")
    return Result(**json.loads(found[1]))


class Client:
    """One keep-alive connection with one request under way."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.got = b""

    def ask(self) -> None:
        self.got = b""
        self.began = time.perf_counter()
        self.sock.sendall(REQUEST)


def generate(port: int, connections: int, seconds: float) -> Result:
    """Ask over and over on each connection."""
    selector = selectors.DefaultSelector()
    for client in [Client(port) for _ in range(connections)]:
        selector.register(client.sock, selectors.EVENT_READ, client)
        client.ask()
    latencies: list[float] = []
    errors = 0
    began = time.perf_counter()
    until = began + seconds
    while (now := time.perf_counter()) < until:
        for key, _ in selector.select(until - now):
            client = key.data
            data = client.sock.recv(65536)
            client.got += data
            if client.got.endswith(b"\r\n\r\n" + BODY):
                latencies.append(time.perf_counter() - client.began)
                errors += not client.got.startswith(b"HTTP/1.1 200 ")
                client.ask()
            elif not data:
                raise ConnectionError(f"ended after {client.got!r}")
    took = time.perf_counter() - began
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    return Result(len(latencies), took, p50, p99, errors)


if __name__ == "__main__":
    where, how_many, how_long = sys.argv[1:]
    print("RESULT", json.dumps(asdict(generate(int(where), int(how_many), float(how_long)))))
