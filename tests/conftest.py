"""What every test has: hypothesis profiles, two markers, and no silent skip under CI."""

import gc
import os
import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import coverage
import pytest
from hypothesis import is_hypothesis_test, settings

CI = os.environ.get("CI") == "true"
MISSING_TOOL = re.compile(r"is not installed|could not import|not found", re.IGNORECASE)

# A deadline measures the machine and not the code, so neither profile has one. CI repeats the same
# examples on every run, so that a red run is about the change; at home new ones are looked for.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
settings.load_profile("ci" if CI else "local")

HERE = Path(__file__).parent
OPENS_THINGS = {HERE / "bindings", HERE / "cli", HERE / "examples", HERE / "peers"}

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long; the core's short tests fill up the time of whoever is done."""
    core = HERE / "core"
    items.sort(key=lambda i: core in i.path.parents and core / "simulation" not in i.path.parents)


def pytest_collection_finish() -> None:
    """Let the garbage collections of the tests pass over what is here to stay.

    Eight thousand collected tests are a quarter of a million objects, 0.2 s for each of them.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        (name,) = mark.args
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


@contextmanager
def untraced() -> Iterator[None]:
    """Stop measuring coverage while the block runs."""
    stopped = []
    while (running := coverage.Coverage.current()) is not None:
        running.stop()
        stopped.append(running)
    try:
        yield
    finally:
        for measurement in reversed(stopped):
            measurement.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, None, None]:
    """Run properties, and what is marked so, without the tracer, which makes them 4 times slower.

    A line that only a property reaches is reached by luck: the gate asks for a test that names it.
    """
    if item.get_closest_marker("untraced") or is_hypothesis_test(item.obj):
        with untraced():
            return (yield)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return fail_if_tool_is_missing((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_if_tool_is_missing((yield))


def fail_if_tool_is_missing(report: R) -> R:
    """Turn a skip for want of a tool into a failure under CI, where every tool is installed."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if MISSING_TOOL.search(reason):
            report.outcome = "failed"
            report.longrepr = f"under CI nothing is skipped: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded as their `summary`, in whichever worker they ran."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == "summary":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))


@pytest.fixture(autouse=True)
def collect_what_was_forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a socket or coroutine that a test of the bindings forgot fail that test, not a later one.

    Its ResourceWarning comes when it is collected, and pytest makes a failure of it.
    """
    yield
    if not OPENS_THINGS.isdisjoint(request.path.parents):
        gc.collect()
