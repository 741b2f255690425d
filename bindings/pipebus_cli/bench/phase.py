"""One phase: a load in its own process, the server watched meanwhile, and what came of both."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Final

import msgspec

from pipebus_cli.bench.job import Began, Done, Job, Ticked, Told
from pipebus_cli.bench.metrics import Change, Samples, scrape
from pipebus_cli.bench.process import Use
from pipebus_cli.bench.run import Check, Phase, ServerUse, Tick
from pipebus_cli.bench.target import Target
from pipebus_cli.errors import CliError

WORKER: Final = (sys.executable, "-m", "pipebus_cli.bench.worker")
_PATIENCE: Final = 10.0


@dataclass(frozen=True)
class Seen:
    """What there is to look at after a phase."""

    done: Done
    change: Change | None
    """Of the server's counters, if it is a pipebus server."""
    timeline: list[Tick]


Looks = Callable[[Seen], list[Check]]


@dataclass(frozen=True)
class Plan:
    """A phase that is to be run."""

    name: str
    job: Job
    parameters: dict[str, Any]
    looks: tuple[Looks, ...] = ()
    """What is to be checked besides `right_answers`, after it."""
    may_fail: bool = False
    """Errors are no fault here."""
    beside: Callable[[], list[Check]] | None = None
    """What is done meanwhile, in a thread; the server answers that, too."""


@dataclass
class Watch:
    """What is seen of the server while a phase runs."""

    target: Target
    before: Use | None = None
    last: Use | None = None
    ticks: list[Tick] = field(default_factory=list)
    scraped: Samples | None = None

    def begin(self) -> None:
        """Note what there is before it is measured, while nothing is under way."""
        if self.target.admin is not None:
            self.scraped = scrape(self.target.admin)
        process = self.target.process
        if process is not None:
            process.forget_peak()
            self.before = self.last = process.use()

    def tick(self, told: Ticked) -> Tick:
        """Note an interval."""
        used = None if self.target.process is None else self.target.process.use()
        cpu = None if used is None or self.last is None else used.cpu_s - self.last.cpu_s
        self.last = used
        tick = Tick(
            **msgspec.structs.asdict(told),
            server_rss_bytes=None if used is None else used.rss_bytes,
            server_cpu_s=cpu,
            server_fds=None if used is None else used.fds,
        )
        self.ticks.append(tick)
        return tick

    def change(self) -> Change | None:
        """Return what the server's counters have grown by."""
        if self.scraped is None or self.target.admin is None:
            return None
        return Change(self.scraped, scrape(self.target.admin))

    def use(self) -> ServerUse | None:
        """Return what the server took since the warm-up was over."""
        process, before = self.target.process, self.before
        after = None if process is None else process.use()
        if process is None or before is None or after is None:
            return None
        peak = process.peak() or max(before.rss_bytes, after.rss_bytes)
        return ServerUse(
            cpu_s=after.cpu_s - before.cpu_s,
            rss_before_bytes=before.rss_bytes,
            rss_after_bytes=after.rss_bytes,
            rss_peak_bytes=max(peak, before.rss_bytes, after.rss_bytes),
            fds_before=before.fds,
            fds_after=after.fds,
        )


def run_phase(plan: Plan, target: Target, shown: Callable[[Tick], None]) -> tuple[Phase, bool]:
    """Run a phase; return it, and whether Ctrl-C ended it early, with what there was until then."""
    watch = Watch(target)
    beside = _Beside(plan)
    interrupted = False
    done: Done | None = None
    with _worker(plan.job) as process:
        told = _hear(process)
        while done is None:
            try:
                for what in told:
                    if isinstance(what, Began):
                        watch.begin()
                        _say(process, b"\n")
                        beside.begin()
                    elif isinstance(what, Ticked):
                        shown(watch.tick(what))
                    else:
                        done = what
                        break
                else:
                    msg = f"the load generator ended without a result, status {process.wait()}"
                    raise CliError(msg)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                told = _hear(process)
                assert process.stdin is not None
                process.stdin.close()
    checks = [] if interrupted else beside.end()
    return _sum_up(plan, watch, done, checks, interrupted=interrupted), interrupted


@contextmanager
def _worker(job: Job) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(  # noqa: S603 - our own
        WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    try:
        _say(process, msgspec.json.encode(job) + b"\n")
        yield process
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _say(process: "subprocess.Popen[bytes]", data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


class _Beside:
    """What is done besides, in a thread; a daemon, so that a second Ctrl-C does not wait for it."""

    def __init__(self, plan: Plan) -> None:
        self._run = plan.beside
        self._found: list[Check] = []
        self._thread: Thread | None = None

    def begin(self) -> None:
        if self._run is not None:
            self._thread = Thread(target=self._do, args=(self._run,), daemon=True)
            self._thread.start()

    def _do(self, run: Callable[[], list[Check]]) -> None:
        self._found += run()

    def end(self) -> list[Check]:
        """Wait for its end; return what it found."""
        if self._thread is not None:
            self._thread.join()
        return self._found


def _hear(process: "subprocess.Popen[bytes]") -> Iterator[Told]:
    """Yield what the worker tells; a Ctrl-C between two lines loses none."""
    assert process.stdout is not None
    decoder = msgspec.json.Decoder(Told)
    while line := process.stdout.readline():
        yield decoder.decode(line)


def _sum_up(
    plan: Plan, watch: Watch, done: Done, found: list[Check], *, interrupted: bool
) -> Phase:
    used = watch.use()
    change = watch.change()
    checks = list(found)
    if not interrupted:
        if not plan.may_fail:
            checks += right_answers(done, change, alone=plan.beside is None)
        seen = Seen(done, change, watch.ticks)
        checks += [check for look in plan.looks for check in look(seen)]
    return Phase(
        name=plan.name,
        parameters=plan.parameters,
        duration_s=done.duration_s,
        warmup_s=plan.job.warmup,
        requests=done.requests,
        errors=done.errors,
        statuses=done.statuses,
        bytes_sent=done.bytes_sent,
        bytes_received=done.bytes_received,
        connections_opened=done.connections_opened,
        client_cpu_s=done.client_cpu_s,
        latency=done.latency,
        service=done.service,
        per_client=done.per_client,
        stage_means_s={} if change is None else change.stage_means(),
        server=used,
        timeline=watch.ticks,
        checks=checks,
    )


def right_answers(done: Done, change: Change | None, *, alone: bool) -> list[Check]:
    """Look at what must be so of any load that a server can bear; `alone`: it had no other."""
    errors = sum(done.errors.values())
    detail = f"{errors:,} errors; the first: {done.first_error}" if errors else ""
    checks = [
        Check("every answer is right", ok=not errors, detail=detail),
        Check("requests were answered", ok=done.requests > 0),
    ]
    if change is not None:
        if not errors and alone:
            counted = f"{change.answered:,} counted by the server, {done.answers:,} answers here"
            checks.append(
                Check("the server counts as many", change.answered == done.answers, counted)
            )
        checks += bus_balances(change)
    return checks


def bus_balances(change: Change) -> list[Check]:
    """Look at whether the server's bus lost an event or left a request without an end."""
    lost, open_ = change.events_lost, change.exchanges_open
    return [
        Check("no event was lost", lost == 0, f"{lost:,} lost" if lost else ""),
        Check("every request on the bus ended", open_ == 0, f"{open_:,} did not" if open_ else ""),
    ]
