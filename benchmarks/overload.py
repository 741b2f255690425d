"""What becomes of the accepted requests when more come than can be served.

    python -m benchmarks.overload [--runtime asyncio trio] [--seconds 5]

An open loop: requests are sent when a Poisson process says so, whether or not earlier ones were
answered, each over a connection of its own, and a latency counts from the moment at which it
should have been sent. Servers: an `async def` handler of 20 ms with 20 or 50 calls at once, which
sets the capacity (1,000 or 2,500 requests a second), at three times that; and a `def` that computes
for 1 ms, under `max_loop_lag`, at one and a half times what it was measured to serve.
"""

import argparse
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.processes import allow_descriptors, environment, started

MOST_CONNECTIONS: Final = 4_000
PATIENCE: Final = 10.0
"""Seconds after the last request in which an answer must come, or it is lost."""
LAG: Final = 0.002
"""`max_loop_lag` of the second server."""


@dataclass
class Outcome:
    """What became of the requests of one run."""

    latencies: dict[int, list[float]] = field(default_factory=dict)
    """By status, seconds."""
    lost: int = 0
    """No answer, or a connection that broke."""

    def count(self, status: int) -> int:
        return len(self.latencies.get(status, ()))

    def p99(self, status: int = 200) -> float:
        found = sorted(self.latencies[status])
        return found[int(len(found) * 0.99)]


class Load:
    """Sends `GET path` as a Poisson process, over as many connections as it takes."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self._address = address
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self._epoll = select.epoll()
        self._busy: dict[int, tuple[socket.socket, float]] = {}
        self._idle: list[socket.socket] = []
        self._read: dict[int, bytes] = {}

    def run(self, rate: float, seconds: float, seed: int) -> Outcome:
        draw = random.Random(seed)
        outcome = Outcome()
        begun = time.perf_counter()
        due = begun
        end = begun + seconds
        while due < end or self._busy:
            now = time.perf_counter()
            if now > end + PATIENCE:
                break
            while due <= now and due < end:
                self._send(due, outcome)
                due += draw.expovariate(rate)
            wait = max(0.0, due - time.perf_counter()) if due < end else 0.1
            for fd, _ in self._epoll.poll(wait):
                self._receive(fd, outcome)
        outcome.lost += len(self._busy)
        return outcome

    def close(self) -> None:
        for sock in (*self._idle, *(sock for sock, _ in self._busy.values())):
            sock.close()
        self._epoll.close()

    def _send(self, due: float, outcome: Outcome) -> None:
        if self._idle:
            sock = self._idle.pop()
        elif len(self._busy) < MOST_CONNECTIONS:
            sock = socket.create_connection(self._address)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        else:
            outcome.lost += 1
            return
        sock.send(self._request)
        self._busy[sock.fileno()] = (sock, due)

    def _receive(self, fd: int, outcome: Outcome) -> None:
        sock, due = self._busy[fd]
        try:
            data = sock.recv(65_536)
        except OSError:
            data = b""
        if not data:
            outcome.lost += 1
            self._epoll.unregister(fd)
            self._read.pop(fd, None)
            del self._busy[fd]
            sock.close()
            return
        data = self._read.pop(fd, b"") + data
        head, blank, body = data.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            self._read[fd] = data
            return
        status = int(head[9:12])
        outcome.latencies.setdefault(status, []).append(time.perf_counter() - due)
        del self._busy[fd]
        self._idle.append(sock)


def _length(head: bytes) -> int:
    found = head.lower().partition(b"content-length: ")[2]
    return int(found.partition(b"\r\n")[0])


@contextmanager
def serving(runtime: str, *, lag: float | None) -> Iterator[tuple[str, int]]:
    command = [
        sys.executable,
        "-m",
        "pipebus_cli",
        "serve",
        "benchmarks.apps.overload_app:pipeline",
    ]
    command += ["--runtime", runtime, "--port", "0"]
    if lag is not None:
        command += ["--max-loop-lag", str(lag)]
    cores = sorted(os.sched_getaffinity(0))
    python = Path(sys.executable)
    with started(command, cores[0], environment(python), talks=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening at "):
                yield "127.0.0.1", int(line.rpartition(":")[2])
                return
    raise RuntimeError("the server did not start")


def measure(
    address: tuple[str, int], path: str, rates: Sequence[float], seconds: float
) -> list[Outcome]:
    load = Load(address, path)
    try:
        load.run(rates[0], 1.0, 0)  # connections and caches
        return [load.run(rate, seconds, seed) for seed, rate in enumerate(rates, 1)]
    finally:
        load.close()


def capacity(address: tuple[str, int], path: str) -> float:
    """Return how many requests a second one connection gets answered, one after the other."""
    with socket.create_connection(address) as sock:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        begun, answers = time.perf_counter(), 0
        while time.perf_counter() - begun < 1.0:
            sock.sendall(request)
            sock.recv(65_536)
            answers += 1
        return answers / (time.perf_counter() - begun)


def _row(what: str, rate: float, seconds: float, calm: Outcome, outcome: Outcome) -> str:
    refused = {s: len(found) for s, found in outcome.latencies.items() if s != 200}
    refusals = ", ".join(f"{count} x {status}" for status, count in sorted(refused.items())) or "-"
    p99, before = outcome.p99() * 1e3, calm.p99() * 1e3
    return (
        f"| {what} | {rate:,.0f} | {outcome.count(200) / seconds:,.0f} | {refusals} | {outcome.lost} "
        f"| {before:.1f} | {p99:.1f} | {p99 / before:.2f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runtime", nargs="+", default=["asyncio", "trio"])
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    allow_descriptors()
    print(
        "| server | requests/s | served/s | refused | lost | p99 at a third, ms | p99 then, ms | ratio |"
    )
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    lost = 0
    for runtime in options.runtime:
        for path, calls in (("/few", 20), ("/wait", 50)):
            with serving(runtime, lag=None) as address:
                most = calls / 0.020
                calm, loaded = measure(address, path, [most / 3, most * 3], options.seconds)
                what = f"{runtime}, `async def`, {calls} calls"
                print(_row(what, most * 3, options.seconds, calm, loaded), flush=True)
                lost += calm.lost + loaded.lost
        with serving(runtime, lag=LAG) as address:
            most = capacity(address, "/spin")
            calm, loaded = measure(address, "/spin", [most / 3, most * 1.5], options.seconds)
            print(_row(f"{runtime}, `def`", most * 1.5, options.seconds, calm, loaded), flush=True)
            lost += calm.lost + loaded.lost
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
