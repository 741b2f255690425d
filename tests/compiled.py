"""The pytest plugin of `make compiled`: proves that the tests run on the compiled wheel.

python -m pytest -p tests.compiled -o pythonpath=. tests/core tests/bindings
"""

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hatch_build import SOURCES, to_compile

ROOT: Final = Path(__file__).parents[1]

_SHORT_CUTS: Final = (
    "compares with, or counts in, a subclass that takes no short cut: a compiled class has none"
)
LEFT_OUT: Final = {
    "tests/core/bus/test_short_cuts.py::test_the_short_cuts_are_the_long_way": _SHORT_CUTS,
    "tests/core/corpus/test_both_ways.py::test_every_case_comes_out_the_same": _SHORT_CUTS,
    "tests/core/dispatch/test_both_ways.py::test_both_ways_are_the_same": _SHORT_CUTS,
    "tests/core/dispatch/test_express.py::": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_another_origin_is_next": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_any_life": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_each_answer": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_none_is_kept_in_a_drain": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_when_it_is_not_what_is_waited_for": _SHORT_CUTS,
    "tests/core/http_client/test_whole.py::test_who_waits_is_next": _SHORT_CUTS,
    "tests/core/simulation/test_short_cuts.py::test_both_ways_are_the_same": _SHORT_CUTS,
    "tests/core/bus/test_topic.py::test_matching_does_not_visit_what_cannot_match": (
        "counts look-ups by a dict of its own: compiled code calls no method of a dict"
    ),
    "tests/core/http/test_wire.py::test_what_interrupts_llhttp_is_not_taken_for_the_peers_fault": (
        "strikes by a profiler: that sees no compiled call"
    ),
}
"""Beginnings of the ids of tests that a compiled core cannot pass, and why. They pass on the same
source interpreted, in `make test`."""


def interpreted() -> list[str]:
    """Return the patterns that say what is not compiled."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hooks = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    patterns: list[str] = hooks["custom"]["interpreted"]
    return patterns


def wrong_modules(files: set[str]) -> Iterator[str]:
    """Yield every module of the core that does not run as it should, with where it comes from."""
    for path in sorted((ROOT / SOURCES).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / SOURCES).with_suffix("").parts)
        found = importlib.import_module(name.removesuffix(".__init__")).__file__ or ""
        compiled = str(path.relative_to(ROOT)) in files
        if found.endswith(".so") != compiled or Path(found).is_relative_to(ROOT / SOURCES):
            yield f"{name}: {found}"


def pytest_configure() -> None:
    """Refuse to run on anything but the compiled wheel of this tree."""
    files = set(to_compile(ROOT, interpreted()))
    if wrong := list(wrong_modules(files)):
        raise pytest.UsageError("not the compiled wheel of this tree:", *wrong)


def pytest_report_header() -> str:
    """Say what runs."""
    import pipebus.http.express

    return f"compiled: {len(to_compile(ROOT, interpreted()))} modules, such as {pipebus.http.express.__file__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot pass, with its reason."""
    for item in items:
        for begin, reason in LEFT_OUT.items():
            if item.nodeid.startswith(begin):
                item.add_marker(pytest.mark.skip(reason=reason))
