"""`make bench`: an echo on both runtimes beside uvicorn and hypercorn, in one table.

Each contender runs on one core, the load on another. All are started first and loaded in turn, in
rounds that begin with another one each time, so that a change of the machine's mood meets all.
"""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks import environment, load, report
from benchmarks.contenders import CONTENDERS, Server, running

RESULTS = Path(__file__).parent / "results"
WARM_UP = 1.0


def main() -> int:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))
    server_core, load_core = cores[0], cores[-1]
    python = environment.ready()
    facts = environment.describe(python, server_core, load_core)
    how = f"{options.rounds} interleaved rounds of {options.seconds:g} s, medians"
    runs: list[report.Run] = []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running(name, python, server_core))
            for name in CONTENDERS
            if any(part in name for part in options.only or [""])
        ]
        for server in servers:
            load.run(server.port, options.connections[0], WARM_UP, load_core)
        for number in range(options.rounds):
            turn = number % len(servers)
            for connections in options.connections:
                for server in servers[turn:] + servers[:turn]:
                    runs.append(measure(server, connections, options.seconds, load_core))
                    print(progress(number, runs[-1]), file=sys.stderr, flush=True)
    runs.sort(key=lambda run: list(CONTENDERS).index(run.server))
    runs.sort(key=lambda run: options.connections.index(run.connections))
    print(report.page(facts, how, runs))
    print("saved as", report.save(options.output, facts, how, runs))
    failed = sum(run.result.errors for run in runs)
    if failed:
        print(f"{failed} requests failed: these numbers mean nothing", file=sys.stderr)
    return int(failed > 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of 1 s at 64 connections")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one run")
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 10, 1])
    parser.add_argument("--only", nargs="+", help="contenders whose name has one of these in it")
    parser.add_argument("--output", type=Path, help="directory; default: benchmarks/results")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 1.0, [64]
    if options.output is None:
        # A quick run, or a part, does not replace the numbers that are kept.
        kept = not options.quick and not options.only
        options.output = RESULTS if kept else RESULTS / "latest.tmp"
    return options


def measure(server: Server, connections: int, seconds: float, core: int) -> report.Run:
    before = server.cpu()
    result = load.run(server.port, connections, seconds, core)
    return report.Run(server.name, connections, result, server.cpu() - before)


def progress(number: int, run: report.Run) -> str:
    return (
        f"round {number + 1}: {run.server}, {run.connections} connections: "
        f"{run.rate:,.0f} req/s, {run.cost:.0f} us"
    )


if __name__ == "__main__":
    sys.exit(main())
