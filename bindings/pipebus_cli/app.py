"""The commands and their options, as cyclopts reads them off the functions below."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from pipebus import __version__
from pipebus.limits import Limits
from pipebus_anyio.options import DriverName
from pipebus_cli.bench.command import bench as run_bench
from pipebus_cli.bench.options import BenchOptions
from pipebus_cli.bench.trials import ScenarioName
from pipebus_cli.call import CallOptions
from pipebus_cli.call import call as call_url
from pipebus_cli.demo.experiment import SEED_REQUESTS, Which
from pipebus_cli.demo.experiment import demo as run_demo
from pipebus_cli.echo import new_echo
from pipebus_cli.errors import USAGE, CliError
from pipebus_cli.numbers import read_value, show
from pipebus_cli.options import LimitOptions, ServingOptions, WireOption
from pipebus_cli.reload import reload as run_reloading
from pipebus_cli.serve import load, supervise
from pipebus_cli.serve import serve as run_server


def _default(value: object) -> str | None:
    """Write a default for the help; what says nothing is left out."""
    return None if value is None or value is False or value == () else show(value)


app: Final = App(
    name="pipebus",
    help="Network traffic on an event bus.",
    version=__version__,
    default_parameter=Parameter(negative=(), converter=read_value, show_default=_default),
)

_LIMIT: Final = re.compile(r"\bLimits\.(\w+)")


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return its exit status."""
    try:
        command, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise CliError(str(error), USAGE) from error
    except ValueError as error:  # Limits says what it does not take
        text = _LIMIT.sub(lambda found: "--" + found[1].replace("_", "-"), str(error))
        raise CliError(text, USAGE) from error
    reload = bound.arguments.get("reload", False)
    options = bound.arguments.get("options")
    if isinstance(options, ServingOptions) and options.workers and options.worker is None:
        if reload:
            raise CliError("--reload is for one process, so not with --workers", USAGE)
        return supervise(arguments, options, bound.arguments.get("limits") or Limits())
    if reload:
        return run_reloading([given for given in arguments if not given.startswith("--reload")])
    return command(*bound.args, **bound.kwargs) or 0


@app.command
def serve(
    target: str,
    /,
    *,
    reload: bool = False,
    options: ServingOptions | None = None,
    limits: LimitOptions = None,
) -> None:
    """Serve a pipeline until SIGTERM or SIGINT, then drain; a second signal ends at once.

    Parameters
    ----------
    target
        MODULE:PIPELINE, such as `app:pipeline`; modules are sought in the current directory first.
    reload
        Start again whenever a Python file below the current directory changes.
    """
    assert not reload, "`run` starts this command again, without"
    run_server(target, partial(load, target), options or ServingOptions(), limits or Limits())


@app.command
def echo(*, options: ServingOptions | None = None, limits: LimitOptions = None) -> None:
    """Answer any request with its own body: each one passes over the bus."""
    run_server("echo", new_echo, options or ServingOptions(), limits or Limits())


@app.command
def call(url: str, /, *, options: CallOptions | None = None) -> int:
    """Send one HTTP request and write the body of its answer.

    The exit status is 0 for any answer (see --fail), 1 if none came.

    Parameters
    ----------
    url
        http, https, or http+unix (`http+unix://%2Frun%2Fapp.sock/path`).
    """
    return call_url(url, options or CallOptions())


@app.command
def demo(
    *,
    runtime: Which = "both",
    requests: int = SEED_REQUESTS,
    driver: DriverName = "auto",
    wire: WireOption = "auto",
) -> int:
    """Measure an echo server and a client over loopback, figures beside those of two Go programs.

    Parameters
    ----------
    runtime
        The async library, or first one and then the other.
    requests
        How many to send, one after the other, over one connection.
    driver
        What moves bytes in the server.
    wire
        What takes message heads apart.
    """
    return run_demo(runtime, requests, driver=driver, wire=wire)


@app.command
def bench(
    scenario: ScenarioName, url: str | None = None, /, *, options: BenchOptions | None = None
) -> int:
    """Load a server over HTTP/1.1, check each answer, and say what came of it.

    The exit status is 1 if an answer was wrong, a check failed or a --fail-if holds.

    Parameters
    ----------
    scenario
        steady: each connection sends when it was answered. rate: by the clock, and latencies count
        from when a request was due. burst: 1,000 in a second, then at once. clients: more and more.
        payload: larger and larger bodies. errors: what clients and handlers do wrong. soak: 25,816
        requests, or for long. overload: more than it bears.
    url
        http, https, or http+unix; by default an echo server that is started for it.
    """
    return run_bench(scenario, url, options or BenchOptions())


@app.command
def report(
    run_file: Path,
    /,
    *,
    against: Path | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Write what a run of `pipebus bench` shows: figures, charts, and what stands out.

    Parameters
    ----------
    run_file
        What `pipebus bench --json` left.
    against
        Another run to compare with: older, or of another server.
    output
        A page (.html) or Markdown (.md); Markdown on standard output by default.
    """
    from pipebus_cli.report.command import report as write_report  # nobody else pays for it

    write_report(run_file, against, output)


@app.command
def top(
    url: str = "http://127.0.0.1:9000", /, *, interval: float = 1.0, once: bool = False
) -> None:
    """Show what a pipebus server does now: rates, latency, queues, drops, breakers.

    Parameters
    ----------
    url
        http://HOST:PORT of its admin listener (--admin).
    interval
        Between two looks at /metrics.
    once
        Look twice, print and end, as is done where standard output is no terminal.
    """
    from pipebus_cli.top import top as show_top  # nobody else pays for it

    show_top(url, interval, once=once)
