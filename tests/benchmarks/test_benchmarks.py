"""What the benchmarks do with what they measure: select, take medians, compare, judge."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from benchmarks import report, servers, targets
from benchmarks.__main__ import CASES, RESULTS, parse, status
from benchmarks.apps import bus_load
from benchmarks.case import (
    COMPILED,
    Case,
    Column,
    Measure,
    Plan,
    Sample,
    Setup,
    Variant,
    chosen,
    run,
    turns,
)
from benchmarks.cases import bus, idle
from benchmarks.load import Message, Result, generate
from benchmarks.load import parse as parse_load
from benchmarks.processes import Usage, python_for, started, stat_fields
from benchmarks.targets import TARGETS, Target, judge, meets
from tests.environment import without_coverage

WRK = """Running 1s test @ http://127.0.0.1:38433
  1 threads and 64 connections
  Latency Distribution
     50%   32.98ms
  1838 requests in 1.01s, 597.71KB read
RESULT {"requests": 1838, "seconds": 1.012, "p50": 0.033, "p99": 0.097, "received": 600000, "errors": 2}
"""


def sample(contender: str, cost: float, number: int = 1, variant: str = "few") -> Sample:
    return Sample(variant, contender, number, {"cpu": cost, "failed": 0})


class Fake:
    """Servers that cost what the test says."""

    def __init__(self, costs: dict[str, list[float]]) -> None:
        self.costs = costs
        self.asked: list[tuple[str, str, int]] = []

    def __call__(self, setup: Setup, names: object) -> "Fake":
        return self

    def __enter__(self) -> Measure:
        return self.measure

    def __exit__(self, *_: object) -> None:
        pass

    def measure(self, name: str, variant: str, seconds: int) -> dict[str, float] | None:
        self.asked.append((name, variant, seconds))
        costs = self.costs[name]
        return {"cpu": costs.pop(0), "failed": 0} if costs else None


def case(fake: Fake | None = None, *variants: Variant) -> Case:
    fake = fake or Fake({"a": [], "b": [], "c": []})
    return Case(
        name="fake",
        title="Fake",
        contenders=tuple(fake.costs),
        variants=variants or (Variant("few"),),
        columns=(Column("cpu", "CPU us", 1e6, 1),),
        cost="cpu",
        opened=fake,
        quick_contenders=("a",),
        quick_variants=("few",),
    )


SETUP = Setup(Path("python"), 0, 1)


# --- the load ---


def test_the_result_of_wrk_is_one_line_of_its_output() -> None:
    assert parse_load(WRK) == Result(1838, 1.012, 0.033, 0.097, 600_000, 2)


def test_a_generator_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        parse_load("unable to connect")


def test_answers_without_their_bodies_have_failed() -> None:
    assert Result(1838, 1.0, 0.0, 0.0, 600_000, 2).failed(Message(size=230)) == 2
    assert Result(1838, 1.0, 0.0, 0.0, 1838 * 230 - 1, 0).failed(Message(size=230)) == 1


@pytest.mark.parametrize("headers", [3, 10])
def test_a_message_has_so_many_fields(headers: int) -> None:
    head, _, body = Message(size=7, headers=headers).encode().partition(b"\r\n\r\n")
    assert body == b"0123456"
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert len(set(names)) == len(names) == headers
    assert b"Content-Length: 7" in head


def test_an_idle_connection_is_lost_when_it_ends_or_says_something() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    assert idle.lost([ours for ours, _ in pairs]) == 0
    pairs[0][1].close()
    pairs[1][1].send(b"HTTP/1.1 408")
    assert idle.lost([ours for ours, _ in pairs]) == 2
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


@pytest.fixture
def constant_server() -> Iterator[int]:
    """A server that answers a body of 230 bytes with itself, and longer ones with that, too."""
    port = servers.free_port()
    command = [sys.executable, "-m", "benchmarks.apps.constant_server", str(port)]
    core = min(os.sched_getaffinity(0))
    with started(command, core, without_coverage(PYTHONPATH="core:bindings")) as process:
        servers.wait_for(port, process)
        yield port


def test_a_server_is_measured_if_it_echoes(constant_server: int) -> None:
    servers.check("constant", constant_server, Message(), times=2)
    with pytest.raises(RuntimeError, match=r"constant answered \(200, 'text/plain', False\)"):
        servers.check("constant", constant_server, Message(size=460), times=1)


def test_our_own_generator_counts_what_is_no_echo(constant_server: int) -> None:
    found = generate(constant_server, 4, 0.05, Message())
    assert found.requests >= 4
    assert found.failed(Message()) == 0
    assert 0 < found.p50 <= found.p99


# --- the process ---


def test_a_process_is_read_whatever_its_name() -> None:
    assert stat_fields("42 (a (b) c) S 7 42 0\n") == ["S", "7", "42", "0"]


def test_the_usage_of_a_process_is_its_childrens_too() -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=without_coverage()) as child:
        usage = Usage(os.getpid())
        assert {os.getpid(), child.pid} <= set(usage.pids)
        assert usage.peak_memory() > Usage(child.pid).peak_memory() > 0
        child.communicate(b"\n")


# --- what is run ---


def test_contenders_are_chosen_by_parts_of_their_names() -> None:
    fake = case(Fake({"uvicorn h11": [], "uvicorn httptools": [], "go": []}))
    assert chosen(fake, Plan(only=("h11", "go")))[0] == ["uvicorn h11", "go"]
    assert chosen(fake, Plan(), missing=["go"])[0] == ["uvicorn h11", "uvicorn httptools"]


def test_a_quick_run_is_a_part_unless_contenders_are_named() -> None:
    fake = case(None, Variant("few"), Variant("many"))
    assert chosen(fake, Plan(quick=True)) == (["a"], [Variant("few")])
    assert chosen(fake, Plan(quick=True, only=("c",))) == (["c"], [Variant("few")])


def test_rounds_are_interleaved_and_each_begins_with_another() -> None:
    order = turns(["a", "b"], [Variant("few"), Variant("many")], 2)
    assert order == [
        (1, "few", "a"), (1, "few", "b"), (1, "many", "a"), (1, "many", "b"),
        (2, "few", "b"), (2, "few", "a"), (2, "many", "b"), (2, "many", "a"),
    ]  # fmt: skip


def test_who_is_compared_closely_has_more_rounds_unless_their_number_is_given() -> None:
    variants = [Variant("few", 5, ("a",)), Variant("many")]

    def count(rounds: int | None) -> list[int]:
        order = [(variant, name) for _, variant, name in turns(["a", "b"], variants, rounds)]
        return [order.count((variant, name)) for variant in ("few", "many") for name in "ab"]

    assert count(None) == [5, 3, 3, 3]
    assert count(2) == [2, 2, 2, 2]


def test_samples_come_by_variant_and_contender_and_what_one_cannot_is_left_out() -> None:
    fake = Fake({"a": [1.0, 2.0], "b": [3.0], "c": []})
    plan = Plan(rounds=1, seconds=9)
    found = run(case(fake, Variant("few"), Variant("many")), SETUP, plan)
    assert [(s.variant, s.contender, s.values["cpu"]) for s in found] == [
        ("few", "a", 1.0), ("few", "b", 3.0), ("many", "a", 2.0),
    ]  # fmt: skip
    assert {seconds for _, _, seconds in fake.asked} == {9}


def test_nothing_is_started_for_no_contender() -> None:
    assert run(case(), SETUP, Plan(only=("nobody",))) == []


@pytest.mark.parametrize(("python", "rows"), [(None, ["a"]), (Path("wheel"), ["a", "a, compiled"])])
def test_compiled_rows_need_the_environment_that_has_the_wheel(
    python: Path | None, rows: list[str]
) -> None:
    fake = Fake({"a": [1.0], "a, compiled": [1.0]})
    found = run(case(fake), replace(SETUP, compiled=python), Plan(rounds=1))
    assert [sample.contender for sample in found] == rows


@pytest.mark.parametrize("name", [n for n in servers.SERVERS if n.startswith("pipebus")])
def test_a_compiled_row_runs_what_that_environment_has_installed(name: str) -> None:
    compiled = name.endswith(COMPILED)
    setup = replace(SETUP, compiled=Path("/wheel/bin/python"))
    python, environ = python_for(setup, name)
    assert servers.SERVERS[name](setup, 1)[0] == str(python)
    assert python == (setup.compiled if compiled else setup.python)
    assert ("core" in environ["PYTHONPATH"]) is not compiled
    assert {name.removesuffix(COMPILED), name.removesuffix(COMPILED) + COMPILED} <= set(
        servers.SERVERS
    )


def test_only_a_whole_run_replaces_what_is_kept() -> None:
    assert parse([]).output == parse(["--rounds", "7"]).output == RESULTS
    for part in (["--quick"], ["--only", "uvicorn"], ["--case", "echo"], ["--wire", "h11"],
                 ["--driver", "streams"], ["--rounds", "2"]):  # fmt: skip
        assert parse(part).output == RESULTS / "latest.tmp"


def test_a_failed_request_or_an_empty_run_fails() -> None:
    good, bad = sample("a", 1.0), Sample("few", "b", 1, {"cpu": 1.0, "failed": 3})
    assert status({"echo": [good]}) == 0
    assert status({"echo": [good, bad]}) == 1
    assert status({"echo": []}) == 1


# --- tables ---


def test_a_row_is_the_median_and_its_ratio_is_to_the_first() -> None:
    samples = [sample("a", cost * 1e-6) for cost in (1000, 10, 20)]
    samples += [sample("b", cost * 1e-6) for cost in (50, 30, 1)]
    header, rule, *rows = report.table(case(), samples).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    assert cells == [
        ["", "contender", "CPU us", "CPU us: lowest - highest", "ratio", "rounds"],
        ["few", "a", "20.0", "10.0 - 1,000.0", "1.00", "3"],
        ["", "b", "30.0", "1.0 - 50.0", "1.50", "3"],
    ]
    assert len({len(line) for line in (header, rule, *rows)}) == 1


def test_what_is_saved_holds_every_sample(tmp_path: Path) -> None:
    path = report.save_case(tmp_path, case(), {"machine": "m"}, [sample("a", 1e-6)])
    assert "- machine: m" in path.read_text()
    assert '"round": 1' in (tmp_path / "fake.json").read_text()


# --- goals ---


def goal(kind: targets.Kind, *columns: str, other: str | None = None) -> Target:
    return Target(kind, "fake", "few", columns or ("cpu",), "a", other, 2.0, 3.0)


def test_times_less_is_the_other_over_ours() -> None:
    target = goal("times less", other="b")
    verdict = judge(target, {"fake": [sample("a", 2.0), sample("b", 5.0)]})
    assert verdict.measured == 2.5
    assert meets(target, 2.5, target.must) is True
    assert meets(target, 2.5, target.aim) is False


def test_a_ratio_is_ours_over_the_other() -> None:
    target = goal("ratio", other="b")
    verdict = judge(target, {"fake": [sample("a", 5.0), sample("b", 2.0)]})
    assert verdict.measured == 2.5
    assert meets(target, 2.5, target.must) is False
    assert meets(target, 2.5, target.aim) is True


def test_most_is_the_dearest_of_the_medians_and_spread_how_far_they_are_apart() -> None:
    values = [{"1": 1.0, "10": 4.0}, {"1": 2.0, "10": 6.0}, {"1": 3.0, "10": 5.0}]
    samples = {"fake": [Sample("few", "a", n, value) for n, value in enumerate(values)]}
    assert judge(goal("most", "1", "10"), samples, scale=1e3).measured == 5000
    assert judge(goal("spread", "1", "10"), samples, scale=1e3).measured == 2.5


@pytest.mark.parametrize("there", ["a", "b"])
def test_a_missing_row_is_not_measured_and_not_met(there: str) -> None:
    target = goal("times less", other="b")
    verdict = judge(target, {"fake": [sample(there, 2.0)]})
    assert verdict.measured is None
    assert meets(target, verdict.measured, target.must) is None


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_goal_names_rows_that_there_are(target: Target) -> None:
    found = CASES[target.case]
    assert target.variant in [variant.name for variant in found.variants]
    assert {target.ours, target.other or target.ours} <= set(found.contenders)
    assert set(target.columns) <= {column.key for column in found.columns}


def test_every_goal_is_judged_of_the_compiled_row_too() -> None:
    pure = [target for target in TARGETS if not target.ours.endswith(COMPILED)]
    compiled = [replace(target, ours=target.ours + COMPILED) for target in pure]
    assert [target for target in TARGETS if target not in pure] == compiled


def test_the_summary_says_what_is_met_and_from_which_figures() -> None:
    target = next(t for t in TARGETS if t.kind == "times less" and t.must == 1.4)
    assert target.other is not None
    samples = [
        Sample(target.variant, name, 1, {"cpu": cost})
        for name, cost in ((target.ours, 100e-6), (target.other, 150e-6))
    ]
    lines = report.summary({target.case: samples}, CASES).splitlines()
    row = next(line for line in lines if ">= 1.40x less" in line)
    assert f"{target.ours}: 100.0" in row
    assert f"{target.other}: 150.0" in row
    assert [cell.strip() for cell in row.split("|")][-4:-1] == ["1.50x less", "met", "NOT MET"]
    assert lines[-1].endswith("more goals were no part of this run.")


# --- the bus ---


@pytest.mark.parametrize("variant", [variant.name for variant in bus.CASE.variants])
@pytest.mark.parametrize("name", ["pipebus core", "pipebus asyncio", "pipebus trio"])
def test_each_operation_on_our_bus_delivers_one_event(name: str, variant: str) -> None:
    opened = bus_load.CONTENDERS[name](bus.KINDS[variant], 3)
    assert opened is not None
    backend = "trio" if name.endswith("trio") else "asyncio"
    found = anyio.run(bus_load.measured, opened, 0.001, backend=backend)
    assert found["failed"] == 0
    assert found["cpu"] > 0
