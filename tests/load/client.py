"""The load, a process of its own: `python -m tests.load.client PORT IDLE SLOW BURST`.

Plain blocking sockets, so that nothing stands between what is sent and when. Prints a report as
JSON; an error of any socket is a line of its `errors`.
"""

import json
import resource
import select
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Final

PATIENCE: Final = 60.0
DRIP: Final = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 10_000
DRIP_EVERY: Final = 0.1


@dataclass
class Slow:
    """One connection whose head never ends, and how the server put an end to it."""

    drips: bool
    seconds: float = 0.0
    answer: str = ""


@dataclass
class Report:
    answered: int = 0
    span: float = 0.0
    """Seconds in which the requests of the burst were sent."""
    slow: list[Slow] = field(default_factory=list)
    slow_during_burst: int = 0
    """Connections with an unfinished head when the last request of the burst had been sent."""
    errors: list[str] = field(default_factory=list)


def allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


class Load:
    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)
        self.report = Report()
        self.slow: dict[socket.socket, Slow] = {}

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def ask(self, sock: socket.socket, body: bytes) -> None:
        sock.sendall(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    def check(self, sock: socket.socket, body: bytes) -> None:
        """Read one answer: 200 with its own body and nothing after it."""
        try:
            got = b""
            while not got.endswith(b"\r\n\r\n" + body):
                data = sock.recv(65536)
                if not data:
                    self.report.errors.append(f"{body!r}: ended after {got!r}")
                    return
                got += data
        except OSError as error:
            self.report.errors.append(f"{body!r}: {error!r}")
            return
        if got.startswith(b"HTTP/1.1 200 "):
            self.report.answered += 1
        else:
            self.report.errors.append(f"{body!r}: {got!r}")

    def run(self, idle: int, slow: int, burst: int) -> None:
        idlers = []
        for n in range(idle):  # one by one: a connection that waits for its turn has a clock, too
            sock, body = self.connect(), b"idle %d" % n
            self.ask(sock, body)
            self.check(sock, body)
            idlers.append((sock, body))
        dripping = threading.Thread(target=self.drip, args=(slow,))
        dripping.start()
        self.burst(burst)
        for sock, body in idlers:  # as alive as before
            self.ask(sock, body + b" again")
            self.check(sock, body + b" again")
        dripping.join()
        for sock, _ in idlers:
            sock.close()

    def burst(self, count: int) -> None:
        sent = []
        began = time.monotonic()
        for n in range(count):
            sock = self.connect()
            self.ask(sock, b"burst %d" % n)
            sent.append(sock)
        self.report.span = time.monotonic() - began
        self.report.slow_during_burst = len(self.slow)
        for n, sock in enumerate(sent):
            self.check(sock, b"burst %d" % n)
        for sock in sent:
            sock.close()

    def drip(self, count: int) -> None:
        """Keep `count` heads unfinished (every tenth not even begun) until the server has enough."""
        began = {}
        for n in range(count):
            before = time.monotonic()
            sock = self.connect()
            began[sock] = before
            self.slow[sock] = Slow(drips=n % 10 != 0)
            self.report.slow.append(self.slow[sock])
        at = 0
        until = time.monotonic() + PATIENCE
        while self.slow and time.monotonic() < until:
            for sock, slow in self.slow.items():
                if slow.drips:
                    self.send_byte(sock, at)
            at += 1
            next_drip = time.monotonic() + DRIP_EVERY
            while (left := next_drip - time.monotonic()) > 0:
                for sock in select_readable(list(self.slow), left):
                    self.end(sock, began[sock])
        if self.slow:
            self.report.errors.append(f"{len(self.slow)} slow connections were left alone")

    def send_byte(self, sock: socket.socket, at: int) -> None:
        try:
            sock.send(DRIP[at : at + 1])
        except OSError as error:
            self.report.errors.append(f"slow: {error!r}")

    def end(self, sock: socket.socket, began: float) -> None:
        """Take the answer, if there is one, and the end that follows it."""
        slow = self.slow.pop(sock)
        got = b""
        try:
            while data := sock.recv(65536):
                got += data
        except OSError as error:
            self.report.errors.append(f"slow: {error!r} after {got!r}")
        slow.seconds = time.monotonic() - began
        slow.answer = got.decode("latin-1").partition("\r\n")[0]
        sock.close()


def select_readable(sockets: list[socket.socket], timeout: float) -> list[socket.socket]:
    poll = select.poll()  # select() takes no file number above 1,023
    by_number = {sock.fileno(): sock for sock in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(timeout * 1000)]


def main() -> None:
    port, idle, slow, burst = map(int, sys.argv[1:])
    allow_files(idle + slow + burst)
    load = Load(port)
    load.run(idle, slow, burst)
    print(json.dumps(asdict(load.report)))


if __name__ == "__main__":
    main()
