"""`pipebus demo`: the server in a child process, the client here, then the tables."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal, TypeVar

import msgspec
from rich.console import Console

from pipebus_cli.demo.checks import violations
from pipebus_cli.demo.client import Experiment
from pipebus_cli.demo.figures import RunFigures, ServerFigures
from pipebus_cli.demo.progress import progress
from pipebus_cli.demo.tables import WIDTH, print_tables
from pipebus_cli.errors import FAILED, USAGE, CliError
from pipebus_cli.runtimes import RuntimeName, choose

SEED_REQUESTS: Final = 25_816
SERVER: Final = (sys.executable, "-m", "pipebus_cli.demo.server")
_RUNTIMES: Final[dict[str, tuple[RuntimeName, ...]]] = {
    "asyncio": ("asyncio",),
    "trio": ("trio",),
    "both": ("asyncio", "trio"),
}
_PATIENCE: Final = 30.0
"""How long the child may take to drain, in seconds."""

T = TypeVar("T")
Which = Literal["asyncio", "trio", "both"]


def demo(
    runtime: Which,
    requests: int,
    *,
    driver: str = "auto",
    wire: str = "auto",
    server: Sequence[str] = SERVER,
) -> int:
    """Run the experiment and print its tables; return 1 if a request failed or a count is off.

    `server` is the command of the child (see `demo/server.py`), without its options.
    """
    if requests < 1:
        msg = f"--requests must be 1 or more, not {requests}"
        raise CliError(msg, USAGE)
    errors = Console(stderr=True)
    runs = [
        measure(name, requests, [*server, "--driver", driver], wire, errors)
        for name in _RUNTIMES[runtime]
    ]
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    print_tables(console, runs)
    wrong = [line for run in runs for line in violations(run)]
    for line in wrong:
        print("pipebus demo:", line, file=sys.stderr)
    for run in runs:
        print(f"{run.runtime}: {run.asked:,} requests in {run.client.elapsed:.1f} s", end="; ")
    print("everything balances" if not wrong else f"{len(wrong)} faults, see above")
    return FAILED if wrong else 0


def measure(
    name: RuntimeName, requests: int, server: Sequence[str], wire: str, errors: Console
) -> RunFigures:
    """Run server and client on one runtime."""
    runtime = choose(name)
    command = [*server, "--runtime", name, "--wire", wire]
    with child(command) as process, progress(errors, name, requests) as bar:
        url = _hear(process, dict[str, str])["url"]
        experiment = Experiment(url, requests, bar)
        ours = runtime.run(partial(experiment.run, runtime.new_runtime, wire))
        assert process.stdin is not None
        process.stdin.close()
        theirs = _hear(process, ServerFigures)
    return RunFigures(runtime=name, asked=requests, client=ours, server=theirs)


@contextmanager
def child(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the server while the block does; its standard input's end is its sign to drain."""
    # The command is this interpreter with a module of ours.
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
            process.wait(_PATIENCE)
        finally:
            process.kill()


def _hear(process: "subprocess.Popen[bytes]", kind: type[T]) -> T:
    """Read the child's next line."""
    assert process.stdout is not None
    try:
        return msgspec.json.decode(process.stdout.readline(), type=kind)
    except msgspec.DecodeError as error:
        msg = f"the demo's server ended too early (status {process.wait(_PATIENCE)})"
        raise CliError(msg) from error
