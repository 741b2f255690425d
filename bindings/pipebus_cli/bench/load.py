"""The load generator: non-blocking sockets, one loop, one thread.

What it costs per request is what keeps it from measuring itself: one send, one receive, a share of
one poll. It runs in a process of its own (`worker.py`), away from what draws and adds up.
"""

import select
import ssl
import time
from collections import deque
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final

from pipebus_cli.bench.answer import AnswerReader, Head, Malformed
from pipebus_cli.bench.job import (
    STAMPED,
    Began,
    Done,
    Job,
    Message,
    Place,
    Told,
    pattern,
    request,
    stamp,
)
from pipebus_cli.bench.link import BUSY, CONNECTING, GONE, IDLE, WAITING, WANTS_MORE, Link
from pipebus_cli.bench.poller import new_poller
from pipebus_cli.bench.schedule import Schedule
from pipebus_cli.bench.tally import Tally

_MOST_WAIT: Final = 1.0
"""Between two attempts, in seconds; the first come sooner."""
_READ, _WRITE = select.POLLIN, select.POLLOUT
_SMALL, _LARGE = 16_384, 262_144

clock: Final = time.perf_counter


class Load:
    """One phase: opens the connections, warms up, measures, waits for what is under way."""

    def __init__(self, job: Job, tell: Callable[[Told], None], stop_fd: int | None = None) -> None:
        """`tell` is given `Began` and each `Ticked`; anything to read at `stop_fd` ends it early.

        It measures once `tell` has returned from `Began`.
        """
        self._job = job
        self._tell = tell
        self._open_loop = job.loop == "open"
        self._tls = tls_context(job.place)
        heads: dict[bytes, Head] = {}
        requests = _requests(job.message, job.connections)
        to_head = job.message.method == "HEAD"
        self._links = [
            Link(
                number, requests[number % len(requests)], AnswerReader(to_head=to_head, heads=heads)
            )
            for number in range(job.connections)
        ]
        self._by_fd: dict[int, Link] = {}
        self._size = _SMALL if len(requests[0][0][0]) < _SMALL else _LARGE
        self._poller = new_poller()
        self._poll = self._poller.poll_finely if self._open_loop else self._poller.poll
        self._stop_fd = stop_fd
        if stop_fd is not None:
            self._poller.register(stop_fd, _READ)
        self._idle: deque[Link] = deque()
        self._busy = 0
        self._sending = False
        self._stopped = False
        self._gone = 0
        self._until = 0.0
        self._left: int | None = None
        self._schedule: Schedule | None = None
        self._tally = Tally(job)
        # Often enough that a timeout is at most a twentieth late.
        self._look_every = min(0.1, max(0.005, job.timeout / 20))
        self._next_look = self._now = 0.0

    def run(self) -> Done:
        """Run to the end."""
        job = self._job
        try:
            for link in self._links:
                self._open(link, clock())
            while any(link.state < IDLE for link in self._links) and not self._stopped:
                self._turn(self._look_every)
            if job.warmup:
                with self._tally.warming_up():
                    self._stretch(job.warmup, None)
            if not self._stopped:
                # All that was sent has been answered: what the server counts from now on is ours.
                self._tell(Began())
                self._tally.begin(clock())
                self._stretch(job.duration, job.count)
            return self._end(self._now)
        finally:
            for link in self._links:
                link.close()
            self._poller.close()

    def _stretch(self, duration: float | None, count: int | None) -> None:
        """Send for so long, or so many, and wait for what is under way then."""
        now = self._now = clock()
        self._until = inf if duration is None else now + duration
        self._left = count
        self._sending = True
        self._next_look = now
        if self._open_loop:
            self._schedule = Schedule(self._job, now, self._until, count)
        else:
            for _ in range(len(self._idle)):
                self._send_next(self._idle.popleft())
        while self._goes_on():
            self._turn(self._wait(clock()))

    def _goes_on(self) -> bool:
        if self._stopped or self._gone == len(self._links):
            return False
        return self._busy > 0 or self._wants_connections()

    def _wants_connections(self) -> bool:
        return self._sending or (self._schedule is not None and bool(self._schedule.waiting))

    def _end(self, now: float) -> Done:
        gave_up = self._gone == len(self._links)
        if gave_up and self._schedule is not None:
            for _ in self._schedule.waiting:
                self._tally.error("unsent", "no connection was left")
        last = self._tally.end_tick(now)
        if last is not None:
            self._tell(last)
        return self._tally.done(now, [link.answered for link in self._links], gave_up=gave_up)

    def _wait(self, now: float) -> float:
        """Return how long to wait for a socket."""
        until = self._next_look
        schedule = self._schedule
        if schedule is not None and self._sending:
            until = min(until, schedule.next_due)
        return max(0.0, until - now)

    def _turn(self, wait: float) -> None:
        """Wait for sockets once, and do all that is then to be done."""
        events = self._poll(wait)
        now = self._now = clock()
        by_fd = self._by_fd
        for fd, mask in events:
            link = by_fd.get(fd)
            if link is None:
                self._stopped = self._stopped or fd == self._stop_fd
            elif link.state < IDLE:
                self._connect(link, now)
            else:
                if link.unsent is not None and mask & _WRITE:
                    self._write(link)
                if mask & ~_WRITE:
                    self._read(link, now)
        if self._schedule is not None:
            self._send_due(self._schedule)
        if now >= self._next_look:
            self._look(now)
        told = self._tally.turn(now)
        if told is not None:
            self._tell(told)

    # Connections.

    def _open(self, link: Link, now: float) -> None:
        link.sent = now
        try:
            link.open(self._job.place)
        except OSError as error:
            self._fail(link, "connect", str(error), now, lost=True)
            return
        self._tally.connections += 1
        self._by_fd[link.fd] = link
        self._poller.register(link.fd, _READ | _WRITE)

    def _connect(self, link: Link, now: float) -> None:
        try:
            link.connect(self._tls, self._job.place.tls_name)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wants:
            write = _WRITE if isinstance(wants, ssl.SSLWantWriteError) else 0
            self._poller.modify(link.fd, _READ | write)
            return
        except OSError as error:
            kind = "connect" if link.state == CONNECTING else "tls"
            self._fail(link, kind, str(error), now, lost=True)
            return
        self._poller.modify(link.fd, _READ)
        self._ready(link)

    def _ready(self, link: Link) -> None:
        link.state = IDLE
        if self._open_loop or not self._sending:
            self._idle.append(link)
        else:
            self._send_next(link)

    def _fail(self, link: Link, kind: str, why: str, now: float, *, lost: bool) -> None:
        """Close a connection that failed; `lost`: a request, or an attempt to connect, with it."""
        if lost:
            self._tally.error(kind, why)
            link.failures += 1
        self._close(link)
        if link.failures >= self._job.failures:
            link.state = GONE
            self._gone += 1
            return
        link.state = WAITING
        link.retry_at = now + min(_MOST_WAIT, 0.005 * 2**link.failures)

    def _close(self, link: Link) -> None:
        if link.state == BUSY:
            self._busy -= 1
        elif link.state == IDLE:
            self._idle.remove(link)
        if link.fd >= 0:
            self._poller.unregister(link.fd)
            del self._by_fd[link.fd]
        link.close()

    # Requests and answers.

    def _send_next(self, link: Link) -> None:
        """Send again, unless it is over (closed loop)."""
        now = clock()
        if now >= self._until or self._left == 0:
            self._sending = False
            self._idle.append(link)
            return
        if self._left is not None:
            self._left -= 1
        link.due = now
        self._send(link, now)

    def _send_due(self, schedule: Schedule) -> None:
        """Send what is due, as far as there are connections (open loop)."""
        now = clock()
        if self._sending:
            self._sending = schedule.advance(now)
        waiting = schedule.waiting
        while waiting and self._idle:
            link = self._idle.popleft()
            link.due = waiting.popleft()
            self._send(link, clock())

    def _send(self, link: Link, now: float) -> None:
        link.sent = now
        self._busy += 1
        self._tally.sent_bytes += link.start()
        if link.unsent is not None:
            self._poller.modify(link.fd, _READ | _WRITE)

    def _write(self, link: Link) -> None:
        self._tally.sent_bytes += link.send_more()
        if link.unsent is None:
            self._poller.modify(link.fd, _READ)

    def _read(self, link: Link, now: float) -> None:
        sock = link.sock
        assert sock is not None
        while True:
            try:
                data = sock.recv(self._size)
            except WANTS_MORE:
                return
            except OSError as error:
                kind = "tls" if isinstance(error, ssl.SSLError) else "reset"
                self._fail(link, kind, str(error), now, lost=link.state == BUSY)
                return
            if not data:
                self._ended(link, now)
                return
            self._tally.received_bytes += len(data)
            if link.state != BUSY:
                self._fail(link, "malformed", f"unasked: {data[:60]!r}", now, lost=True)
                return
            try:
                complete = link.reader.feed(data)
            except Malformed as error:
                self._fail(link, "malformed", str(error), now, lost=True)
                return
            if complete:
                self._answered(link, now)
                return
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return

    def _ended(self, link: Link, now: float) -> None:
        """Take it that the server closed: an answer ends, or is cut off, or there was none to come."""
        if link.state == BUSY and link.reader.eof():
            link.reader.keep = False
            self._answered(link, now)
            return
        self._fail(link, "closed", "before the answer was complete", now, lost=link.state == BUSY)

    def _answered(self, link: Link, now: float) -> None:
        reader = link.reader
        self._tally.answer(link, now)
        link.failures = 0
        if not reader.keep or link.unsent is not None:
            self._close(link)
            link.state = WAITING
            if self._wants_connections():
                self._open(link, now)
            return
        self._busy -= 1
        link.state = IDLE
        if self._open_loop:
            self._idle.append(link)
        else:
            self._send_next(link)

    def _look(self, now: float) -> None:
        """Look for what takes too long, and for connections to open again."""
        timeout = self._job.timeout
        for link in self._links:
            if link.state == WAITING:
                if now >= link.retry_at and self._wants_connections():
                    self._open(link, now)
            elif link.state != IDLE and link.state != GONE and now - link.sent >= timeout:
                kind = "timeout" if link.state == BUSY else "connect timeout"
                self._fail(link, kind, f"after {timeout:g} s", now, lost=True)
        schedule = self._schedule
        if schedule is not None:
            while schedule.waiting and now - schedule.waiting[0] >= timeout:
                schedule.waiting.popleft()
                self._tally.error("unsent", f"no connection was free for {timeout:g} s")
        if now >= self._until or self._left == 0:
            self._sending = self._sending and self._open_loop
        self._next_look = now + self._look_every


def tls_context(place: Place) -> ssl.SSLContext | None:
    """Return what checks the server's certificate; None: no TLS. Raises `OSError`."""
    if place.tls_name is None:
        return None
    context = ssl.create_default_context(cafile=place.authorities)
    if place.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _requests(message: Message, connections: int) -> list[list[tuple[bytes, bytes | None]]]:
    """Return what each connection sends in turn, with what must come back; or what all do."""
    if message.body_file is not None:
        body: bytes | None = Path(message.body_file).read_bytes()
    elif message.body_bytes is not None:
        body = pattern(message.body_bytes)
    else:
        body = None
    if body is None or message.body_file is not None or len(body) > STAMPED:
        return [[(request(message, body), (body or b"") if message.echoes else None)]]
    return [
        [
            (request(message, one), one if message.echoes else None)
            for one in (stamp(body, connection, turn) for turn in range(2))
        ]
        for connection in range(connections)
    ]
