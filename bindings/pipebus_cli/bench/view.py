"""What a run shows while it lasts: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipebus_cli.bench.histogram import Histogram
from pipebus_cli.bench.phase import Plan
from pipebus_cli.bench.run import Phase, Run, Tick
from pipebus_cli.bench.scenarios import fairness

_LINES: Final = 10
"""Of a phase, where nobody looks at a table, and of a table's last intervals."""
WIDTH: Final = 118


def duration(seconds: float | None) -> str:
    """Write a duration with its unit."""
    if seconds is None:
        return "-"
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{_short(seconds * factor)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    """Write three digits that count."""
    if number >= 99.95 or not number:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"


def size(count: float | None) -> str:
    """Write a number of bytes with its unit."""
    if count is None:
        return "-"
    return f"{count / 1024**2:.1f} MiB" if abs(count) >= 1024**2 else f"{count / 1024:.1f} KiB"


class View:
    """Plain lines: some for each phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = ""
        self._next = 0.0
        self._every = 0.0

    def begin(self, plan: Plan) -> None:
        """Take it that a phase begins."""
        self._name = plan.name
        self._every = (plan.job.duration or 10.0) / _LINES
        self._next = self._every
        self._console.print(f"{plan.name}: {_parameters(plan)}", highlight=False)

    def tick(self, tick: Tick) -> None:
        """Show an interval."""
        if tick.at_s >= self._next:
            self._next = tick.at_s + self._every
            self._console.print(f"{self._name}: {_line(tick)}", highlight=False)


class LiveView(View):
    """A table of the last intervals and a bar, drawn anew with each: no thread draws."""

    def __init__(self, console: Console, live: Live) -> None:
        super().__init__(console)
        self._live = live
        self._ticks: list[Tick] = []
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._bar.add_task("")
        self._plan: Plan | None = None
        self._done = 0

    def begin(self, plan: Plan) -> None:
        """Take it that a phase begins."""
        self._plan, self._ticks, self._done = plan, [], 0
        total = plan.job.duration or plan.job.count
        self._bar.reset(self._task, total=total, description=plan.name)
        self._draw()

    def tick(self, tick: Tick) -> None:
        """Show an interval."""
        assert self._plan is not None
        self._done += tick.requests + tick.errors
        self._ticks = [*self._ticks, tick][-_LINES:]
        reached = tick.at_s if self._plan.job.duration else self._done
        self._bar.update(self._task, completed=reached)
        self._draw()

    def _draw(self) -> None:
        assert self._plan is not None
        table = _table(f"{self._plan.name}: {_parameters(self._plan)}")
        for column in ("s", "requests/s", "p50", "p99", "errors", "server CPU", "server memory"):
            table.add_column(column, justify="right", no_wrap=True)
        for tick in self._ticks:
            cpu = None if tick.server_cpu_s is None else tick.server_cpu_s / tick.length_s
            table.add_row(
                f"{tick.at_s:.1f}",
                f"{tick.requests / tick.length_s:,.0f}",
                duration(tick.p50_s),
                duration(tick.p99_s),
                f"[bold red]{tick.errors:,}" if tick.errors else "0",
                "-" if cpu is None else f"{cpu:.0%}",
                size(tick.server_rss_bytes),
            )
        self._live.update(Group(table, self._bar), refresh=True)


@contextmanager
def view(console: Console) -> Iterator[View]:
    """Show a run while the block lasts."""
    if not console.is_terminal:
        yield View(console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveView(console, live)


def print_results(console: Console, run: Run) -> None:
    """Print what came of a run: a row for each phase, then what was checked."""
    open_loop, several = run.loop == "open", run.scenario == "clients"
    sizes = run.scenario == "payload"
    table = _table(f"{run.scenario}: {run.target}")
    columns = ["", "requests", "errors", "requests/s", "p50", "p99", "p99.9", "max"]
    columns += ["service\np99"] if open_loop else []
    columns += ["fairness"] if several else []
    columns += ["sent/s", "server\npeak"] if sizes else []
    for index, column in enumerate([*columns, "CPU/req.\nserver", "CPU/req.\nclient"]):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for phase in run.phases:
        table.add_row(*_row(phase, open_loop=open_loop, several=several, sizes=sizes))
    console.print(table)
    for phase in run.phases:
        if phase.stage_means_s:
            stages = ", ".join(f"{k} {duration(v)}" for k, v in phase.stage_means_s.items())
            console.print(f"{phase.name}: server's time for a request: {stages}", highlight=False)
    for name, value in run.results.items():
        console.print(
            f"{name}: {'not found' if value is None else f'{value:,.6g}'}", highlight=False
        )
    for phase in run.phases:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(phase.errors.items()))
        if kinds:
            console.print(f"{phase.name}: errors: {kinds}", highlight=False, markup=False)


def _row(phase: Phase, *, open_loop: bool, several: bool, sizes: bool) -> list[str]:
    def parts(kept: Histogram | None) -> list[str]:
        if kept is None or not kept.count:
            return ["-"] * 4
        return [duration(value) for value in kept.quantiles((0.5, 0.99, 0.999, 1.0))]

    service = None if phase.service is None else Histogram.from_quantiles(phase.service)
    server = phase.server
    return [
        phase.name,
        f"{phase.requests:,}",
        f"{sum(phase.errors.values()):,}",
        f"{phase.requests / phase.duration_s:,.0f}" if phase.duration_s else "-",
        *parts(Histogram.from_quantiles(phase.latency)),
        *([parts(service)[1]] if open_loop else []),
        *([f"{fairness(phase.per_client):.3f}"] if several else []),
        *(_amounts(phase) if sizes else []),
        duration(server.cpu_s / phase.requests) if server and phase.requests else "-",
        duration(phase.client_cpu_s / phase.requests) if phase.requests else "-",
    ]


def _amounts(phase: Phase) -> list[str]:
    rate = phase.bytes_sent / phase.duration_s if phase.duration_s else None
    return [size(rate), size(phase.server.rss_peak_bytes if phase.server else None)]


def _table(title: str) -> Table:
    return Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        collapse_padding=True,
        pad_edge=False,
    )


def _parameters(plan: Plan) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plan.parameters.items())


def _line(tick: Tick) -> str:
    return (
        f"{tick.at_s:.1f} s, {tick.requests / tick.length_s:,.0f} requests/s, "
        f"p50 {duration(tick.p50_s)}, p99 {duration(tick.p99_s)}, {tick.errors:,} errors"
    )
