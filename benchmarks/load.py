"""The load: wrk, or a generator of our own where there is no wrk.

    python -m benchmarks.load PORT CONNECTIONS SECONDS SIZE HEADERS

is our own: closed-loop like wrk, one thread, and slower than wrk, so that it, and not the server,
may be what is measured. The report says which one ran.
"""

import json
import os
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
SMALL: Final = 230
MORE_HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cache-Control": "no-cache",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "X-Request-Id": "7c1d2f34-5b6a-4e8f-9a0b-1c2d3e4f5a6b",
}
"""What a browser and a proxy add to Host, Content-Type and Content-Length: 10 in all."""


@dataclass(frozen=True)
class Message:
    """The request that is sent over and over: a POST of `size` bytes with 3 or 10 fields."""

    size: int = SMALL
    headers: int = 3

    @property
    def body(self) -> bytes:
        return (b"0123456789" * (self.size // 10 + 1))[: self.size]

    @property
    def fields(self) -> dict[str, str]:
        """Return those besides Host and Content-Length."""
        more = dict(list(MORE_HEADERS.items())[: self.headers - 3])
        return {"Content-Type": "text/plain"} | more

    def encode(self) -> bytes:
        fields = {"Host": "127.0.0.1", **self.fields, "Content-Length": str(self.size)}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST /echo HTTP/1.1\r\n{head}\r\n".encode() + self.body


@dataclass(frozen=True)
class Result:
    """What one run saw. Seconds and bytes."""

    requests: int
    seconds: float
    p50: float
    p99: float
    received: int
    errors: int
    """What was no echo, as far as the generator looks: wrk at the status only."""

    def failed(self, message: Message) -> int:
        """Return the errors; answers without their bodies show in the sum of what was received."""
        return self.errors + (self.received < self.requests * message.size)


def best_generator() -> str:
    """Return `wrk` where there is one, else `own`."""
    return "wrk" if shutil.which("wrk") else "own"


def describe(generator: str) -> str:
    """Return a generator's name and version."""
    if generator == "own":
        return "benchmarks/load.py (no wrk, or not wanted: figures may be bounded by it)"
    # It says its version in its usage, with status 1.
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return " ".join(words[:2])


def run(
    generator: str, port: int, connections: int, seconds: int, message: Message, core: int
) -> Result:
    """Load a server from `core`."""
    if generator == "wrk":
        fields = [f"{name}: {value}" for name, value in message.fields.items()]
        command = [
            "wrk", "--threads", "1", "--connections", str(connections), "--latency",
            "--duration", f"{seconds}s", "--timeout", "10s", "--script", str(HERE / "echo.lua"),
            f"http://127.0.0.1:{port}", "--", str(message.size), *fields,
        ]  # fmt: skip
    else:
        numbers = (port, connections, seconds, message.size, message.headers)
        command = [sys.executable, "-m", "benchmarks.load", *map(str, numbers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    os.sched_setaffinity(process.pid, {core})
    output, _ = process.communicate()
    return parse(output)


def parse(output: str) -> Result:
    """Return the one line of JSON in a generator's output; `RuntimeError` if there is none."""
    for line in output.splitlines():
        word, _, data = line.partition(" ")
        if word == "RESULT":
            return Result(**json.loads(data))
    raise RuntimeError(f"the load generator gave no result: {output!r}")


class Client:
    """One keep-alive connection with one request under way."""

    def __init__(self, port: int, message: Message) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._request = message.encode()
        self._body = message.body
        self._got = bytearray()

    def ask(self) -> None:
        self._got.clear()
        self.began = time.perf_counter()
        self.sock.sendall(self._request)

    def receive(self) -> bool:
        """Read once; return whether the answer is complete."""
        data = self.sock.recv(262_144)
        if not data:
            raise ConnectionError(f"ended after {bytes(self._got[:1000])!r}")
        self._got += data
        return self._got.endswith(self._body) and b"\r\n\r\n" in self._got

    @property
    def received(self) -> int:
        return len(self._got)

    @property
    def right(self) -> bool:
        head, _, body = self._got.partition(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 200 ") and body == self._body


def generate(port: int, connections: int, seconds: float, message: Message) -> Result:
    """Ask over and over on each connection."""
    latencies: list[float] = []
    received = errors = 0
    with selectors.DefaultSelector() as selector:
        clients = [Client(port, message) for _ in range(connections)]
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
            client.ask()
        began = time.perf_counter()
        until = began + seconds
        while (now := time.perf_counter()) < until:
            for key, _ in selector.select(until - now):
                if key.data.receive():
                    latencies.append(time.perf_counter() - key.data.began)
                    received += key.data.received
                    errors += not key.data.right
                    key.data.ask()
        took = time.perf_counter() - began
        for client in clients:
            client.sock.close()
    p50, p99 = percentiles(latencies)
    return Result(len(latencies), took, p50, p99, received, errors)


def percentiles(latencies: list[float]) -> tuple[float, float]:
    """Return the 50th and the 99th; `RuntimeError` where nothing was answered."""
    if not latencies:
        raise RuntimeError("no request was answered")
    ordered = sorted(latencies)
    p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
    return p50, p99


if __name__ == "__main__":
    where, how_many, how_long, size, headers = map(int, sys.argv[1:])
    found = generate(where, how_many, how_long, Message(size, headers))
    print("RESULT", json.dumps(asdict(found)))
