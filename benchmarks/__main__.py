"""`make bench`: pipebus beside its neighbours, one table for each case.

Each contender runs on one core, what loads it on another. All of a case are started first and
measured in turn, round by round. BENCH_ARGS="--case echo --only pipebus uvicorn" selects.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from benchmarks import environment, load, report, servers
from benchmarks.case import DEFAULT_ROUNDS, Plan, Sample, Setup, run
from benchmarks.cases import bus, client, echo, idle, large
from benchmarks.processes import allow_descriptors

RESULTS: Final = Path(__file__).parent / "results"
CASES: Final = {case.name: case for case in (m.CASE for m in (echo, large, idle, client, bus))}


def main() -> int:
    options = parse()
    allow_descriptors()
    setup = prepared(options)
    plan = Plan(options.rounds, options.seconds, tuple(options.only), options.quick)
    facts = environment.describe(setup) | {"rounds": rounds(plan)}
    samples: dict[str, list[Sample]] = {}
    saved = []
    for name in options.case:
        case = CASES[name]
        samples[name] = run(case, setup, plan, servers.missing())
        if samples[name]:
            print(f"\n{case.title}\n\n{report.table(case, samples[name])}\n", flush=True)
            saved.append(report.save_case(options.output, case, facts, samples[name]))
    print(f"\nGoals\n\n{report.summary(samples, CASES)}\n")
    saved.append(report.save_summary(options.output, facts, samples, CASES))
    print("saved as", *saved)
    return status(samples)


def prepared(options: argparse.Namespace) -> Setup:
    cores = sorted(os.sched_getaffinity(0))
    return Setup(
        python=environment.ready(),
        measured_core=cores[0],
        load_core=cores[-1],
        generator=options.generator or load.best_generator(),
        driver=options.driver,
        wire=options.wire,
        compiled=environment.compiled() if options.compiled else None,
    )


def rounds(plan: Plan) -> str:
    if plan.rounds is not None:
        return f"{plan.rounds} interleaved of {plan.seconds} s, medians"
    more = "more for the rows whose goal asks for it"
    return f"{DEFAULT_ROUNDS} interleaved of {plan.seconds} s, {more}, medians"


def status(samples: dict[str, list[Sample]]) -> int:
    """Return 1, and say so, if a request failed or nothing was measured."""
    wrong = [
        f"{name}: {sample.variant}: {sample.contender}: {sample.values['failed']:g} failed"
        for name, found in samples.items()
        for sample in found
        if sample.values["failed"]
    ]
    if wrong:
        print("these numbers mean nothing:", *wrong, sep="\n", file=sys.stderr)
    if not any(samples.values()):
        print("no contender was selected", file=sys.stderr)
        return 1
    return int(bool(wrong))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--case", nargs="+", choices=CASES, default=list(CASES), help="which tables"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], help="contenders whose name has one of these in it"
    )
    parser.add_argument("--quick", action="store_true", help="a round of few contenders")
    parser.add_argument(
        "--rounds", type=int, help=f"of every row; default: {DEFAULT_ROUNDS}, 7 for some"
    )
    parser.add_argument("--seconds", type=int, default=1, help="of one measurement")
    parser.add_argument("--driver", default="auto", help="of pipebus's rows")
    parser.add_argument("--wire", default="auto", help="of pipebus's rows that do not name one")
    parser.add_argument(
        "--compiled", action="store_true", help="our rows on the wheel of `make compiled`, too"
    )
    parser.add_argument("--generator", choices=["wrk", "own"], help="default: wrk if there is one")
    parser.add_argument("--output", type=Path, help="directory; default: benchmarks/results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = options.rounds or 1
    if options.output is None:
        options.output = RESULTS if is_full(options) else RESULTS / "latest.tmp"
    return options


def is_full(options: argparse.Namespace) -> bool:
    """Return whether a run may replace the numbers that are kept: nothing less than the whole."""
    enough = options.rounds is None or options.rounds >= DEFAULT_ROUNDS
    whole = list(options.case) == list(CASES) and not options.only and not options.quick
    return enough and whole and (options.driver, options.wire) == ("auto", "auto")


if __name__ == "__main__":
    sys.exit(main())
