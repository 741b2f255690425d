"""`pipebus bench SCENARIO [URL]`: from options to a run, its results and its exit status."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from pipebus import __version__
from pipebus_cli.bench.faults import FLAGS
from pipebus_cli.bench.options import BenchOptions
from pipebus_cli.bench.phase import run_phase
from pipebus_cli.bench.process import ServerProcess, echo
from pipebus_cli.bench.run import SCHEMA, Environment, Phase, Run
from pipebus_cli.bench.scenarios import Bench, Results
from pipebus_cli.bench.target import Target, reach
from pipebus_cli.bench.trials import SCENARIOS, ScenarioName, loop_of
from pipebus_cli.bench.view import WIDTH, View, print_results, view
from pipebus_cli.errors import FAILED, CliError, explain

INTERRUPTED: Final = 130
_LIBRARIES: Final = ("anyio", "h11", "httptools", "msgspec", "trio")


def bench(scenario: ScenarioName, url: str | None, options: BenchOptions) -> int:
    """Run a scenario, print what came of it, return the exit status; raises `CliError`."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    environment = describe()
    with _target(scenario, url, options) as target:
        with view(console) as shown:
            phases, results, interrupted = _run(scenario, Bench(target, options), shown)
        run = Run(
            schema=SCHEMA,
            scenario=scenario,
            loop=loop_of(scenario, options),
            target=target.name,
            options=_given(options),
            seed=options.seed,
            environment=environment,
            phases=phases,
            results=results,
            interrupted=interrupted,
        )
    if options.json is not None:
        _write(options.json, run)
    print_results(console, run)
    wrong = faults(run, options)
    for line in wrong:
        print("pipebus bench:", line, file=sys.stderr)
    if interrupted:
        print("interrupted: these are the results until then")
        return INTERRUPTED
    checked = sum(len(phase.checks) for phase in run.phases)
    print(f"{checked} checks, {len(wrong)} faults" + (", see above" if wrong else ""))
    return FAILED if wrong else 0


def faults(run: Run, options: BenchOptions) -> list[str]:
    """Return a line for each check that failed and each --fail-if that holds."""
    lines = []
    for phase in run.phases:
        for check in phase.checks:
            if not check.ok:
                detail = f": {check.detail}" if check.detail else ""
                lines.append(f"{phase.name}: not so: {check.name}{detail}")
        for threshold in options.thresholds():
            held, measured = threshold.holds(phase)
            if held:
                lines.append(f"{phase.name}: {threshold.text}: {measured}")
    return lines


def describe() -> Environment:
    """Return what it runs on."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Environment(
        started=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        pipebus=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cores=os.cpu_count() or 1,
        load_before=os.getloadavg()[0],
        versions=versions,
    )


def _run(scenario: ScenarioName, asked: Bench, shown: View) -> tuple[list[Phase], Results, bool]:
    """Return the phases that were run, what they show, and whether Ctrl-C ended the last one."""
    phases: list[Phase] = []
    steps = SCENARIOS[scenario](asked)
    plan = next(steps)
    while True:
        shown.begin(plan)
        phase, interrupted = run_phase(plan, asked.target, shown.tick)
        if phase.duration_s:
            phases.append(phase)
        if interrupted:
            return phases, {}, True
        try:
            plan = steps.send(phase)
        except StopIteration as end:
            return phases, end.value, False


@contextmanager
def _target(scenario: ScenarioName, url: str | None, options: BenchOptions) -> Iterator[Target]:
    """Yield what is loaded: the server at the URL, or an echo server that is started for it."""
    if url is not None:
        place, message = reach(options, url)
        process = None if options.server_pid is None else ServerProcess(options.server_pid)
        yield Target(url, place, message, process, options.admin)
        return
    flags = ["--runtime", options.runtime, "--driver", options.driver, "--wire", options.wire]
    what = ["echo"]
    if scenario == "errors":
        what = ["serve", "pipebus_cli.bench.faulty:pipeline"]
        flags += FLAGS
    if scenario == "payload":
        largest = max(options.body_sizes())
        held = (options.connections or 4) * largest + 64 * 1024**2
        flags += ["--max-body", str(max(largest, 1)), "--max-buffered", str(held)]
    with echo(flags, what) as server:
        place, message = reach(options, server.url)
        process = ServerProcess(server.pid)
        yield Target(server.banner, place, message, process, server.admin, ours=True)


def _given(options: BenchOptions) -> dict[str, Any]:
    """Return the options that are not the defaults."""
    return {
        field.name: str(value) if isinstance(value, Path) else value
        for field in fields(options)
        if (value := getattr(options, field.name)) != field.default
    }


def _write(path: Path, run: Run) -> None:
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    except OSError as error:
        msg = f"cannot write the run: {explain(error)}"
        raise CliError(msg) from error
