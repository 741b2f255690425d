"""What a load has seen: counts, latencies, intervals."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.job import Done, Job, Ticked
from pipebus_cli.bench.link import Link

cpu_clock: Final = time.process_time


class Tally:
    """Counts from `begin` on, and before that what is wrong, while nothing is warmed up."""

    sent_bytes: int
    received_bytes: int
    connections: int

    def __init__(self, job: Job) -> None:
        self.sent_bytes = self.received_bytes = self.connections = 0
        self._job = job
        self._status = job.message.status
        self._open_loop = job.loop == "open"
        self._from = inf
        self._warming = False
        self._errors: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._first_error = ""
        self._answers = 0
        self._latency = Histogram()
        self._service = Histogram()
        self._cpu = cpu_clock()
        self._tick = Histogram()
        self._tick_errors = 0
        self._tick_began = inf
        self._latencies: list[float] = []
        self._services: list[float] = []

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Count no error in the block, but remember what the first was."""
        self._warming = True
        yield
        self._warming = False

    def begin(self, now: float) -> None:
        """Count from here."""
        self._from = self._tick_began = now
        self.sent_bytes = self.received_bytes = 0
        self._cpu = cpu_clock()

    def error(self, kind: str, why: str) -> None:
        """Count what came to nothing."""
        self._first_error = self._first_error or f"{kind}: {why}"
        if not self._warming:
            self._errors[kind] += 1
            self._tick_errors += 1

    def answer(self, link: Link, now: float) -> None:
        """Count an answer that came whole, and look at whether it is right."""
        reader = link.reader
        status = reader.status
        wanted = self._status
        right = 200 <= status <= 299 if wanted is None else status == wanted
        if not right:
            self.error(f"status {status}", f"on connection {link.number + 1}")
        elif not reader.right:
            self.error("wrong body", f"on connection {link.number + 1}")
            right = False
        if self._warming:
            return
        self._answers += 1
        self._statuses[status] += 1
        if right:
            link.answered += 1
            self._latencies.append(now - link.due)
            if self._open_loop:
                self._services.append(now - link.sent)

    def turn(self, now: float) -> Ticked | None:
        """Take in what this turn of the loop brought; return an interval that is over."""
        if self._latencies:
            self._take_in()
        if now - self._tick_began >= self._job.tick:
            return self.end_tick(now)
        return None

    def _take_in(self) -> None:
        self._tick.record_many(self._latencies)
        self._latencies.clear()
        if self._open_loop:
            self._service.record_many(self._services)
            self._services.clear()

    def end_tick(self, now: float) -> Ticked | None:
        """End the interval now; return it, or None if it has no length."""
        self._take_in()
        if now <= self._tick_began:
            return None
        tick = self._tick
        p50, p99 = tick.quantiles((0.5, 0.99)) if tick.count else (None, None)
        ticked = Ticked(
            at_s=now - self._from,
            length_s=now - self._tick_began,
            requests=tick.count,
            errors=self._tick_errors,
            p50_s=p50,
            p99_s=p99,
        )
        self._latency.merge(tick)
        self._tick = Histogram()
        self._tick_errors = 0
        self._tick_began = now
        return ticked

    def done(self, now: float, per_client: list[int], *, gave_up: bool) -> Done:
        """Return the sum of all, after the last interval has ended."""
        return Done(
            duration_s=max(0.0, now - self._from),
            requests=self._latency.count,
            errors=dict(self._errors),
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            bytes_sent=self.sent_bytes,
            bytes_received=self.received_bytes,
            connections_opened=self.connections,
            client_cpu_s=cpu_clock() - self._cpu,
            latency=self._latency.to_quantiles(),
            service=self._service.to_quantiles() if self._open_loop else None,
            per_client=per_client,
            answers=self._answers,
            first_error=self._first_error,
            gave_up=gave_up,
        )
