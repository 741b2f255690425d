"""docs/rfc-rules.toml is complete, and what it points at exists; the corpus repeats nothing."""

import ast
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.core.corpus import test_client, test_server
from tests.core.corpus.case import ClientCase, ServerCase

ROOT: Final = Path(__file__).parents[2]
SERVER: Final[dict[str, ServerCase]] = {case.id: case for case in test_server.CASES}
CLIENT: Final[dict[str, ClientCase]] = {case.id: case for case in test_client.CASES}

# How often each section says MUST or MUST NOT, counted in the RFCs' sources. The boilerplate that
# explains the key words is left out, and section 16 of RFC 9110, which binds who registers names.
KEYWORDS: Final = {
    "9112": """
        2.2:7 2.3:1 3:1 3.2:4 3.2.1:2 3.2.2:6 3.2.3:1 3.2.4:2 4:1 5.1:2 5.2:4 6.1:10 6.2:1 6.3:11
        7.1:2 7.1.1:1 7.1.2:2 7.3:3 7.4:2 8:1 9.2:3 9.3:5 9.3.2:2 9.6:7 9.7:1 9.8:2 10.1:1
    """,
    "9110": """
        2.2:2 2.3:1 2.4:1 3.3:1 4.2.1:2 4.2.2:3 4.2.4:1 4.3.4:7 5.1:1 5.3:3 5.4:1 5.5:2 5.6.1.1:1
        5.6.1.2:2 5.6.3:2 5.6.4:1 5.6.7:4 6:1 6.2:2 6.5.1:2 6.5.2:1 6.6.1:3 7.1:1 7.2:1 7.4:2 7.6:2
        7.6.1:3 7.6.2:4 7.6.3:3 7.7:3 7.8:8 8.3.3:1 8.4:1 8.6:7 8.7:2 8.8.2.1:3 8.8.3:1 9.1:1
        9.2.1:1 9.2.2:1 9.3.2:1 9.3.4:4 9.3.6:5 9.3.7:2 9.3.8:2 10.1.1:7 10.1.3:3 10.1.4:1 10.1.5:1
        10.2.1:2 10.2.2:1 11.2:1 11.5:1 11.6.1:2 11.6.2:1 11.7.1:1 12.4.2:1 12.5.3:1 12.5.4:1
        12.5.5:2 13.1.1:3 13.1.2:4 13.1.3:4 13.1.4:6 13.1.5:7 13.2.1:5 13.2.2:1 14.1.2:1 14.2:2
        14.3:1 14.4:3 15:1 15.2:3 15.2.2:1 15.3.6:1 15.3.7:3 15.3.7.1:1 15.3.7.2:6 15.3.7.3:3
        15.4.5:1 15.4.8:1 15.5.2:1 15.5.6:1 15.5.8:1 15.5.20:1 15.5.22:1
    """,
}
ROLES: Final = frozenset(
    {
        "server", "origin server", "client", "user agent", "sender", "recipient", "proxy", "gateway",
        "intermediary", "cache", "registration", "field author", "resource owner",
    }
)  # fmt: skip
NOT_OURS: Final = frozenset({"proxy", "gateway", "intermediary", "cache", "registration"})
_POINTER: Final = re.compile(r"(?:server|client)/[a-z0-9.-]+/[a-z0-9.-]+|tests/[\w/]+\.py::\w+")


def _rules() -> list[dict[str, Any]]:
    document = tomllib.loads((ROOT / "docs/rfc-rules.toml").read_text("utf-8"))
    assert list(document) == ["rule"]
    rules: list[dict[str, Any]] = document["rule"]
    return rules


RULES: Final = _rules()


@cache
def _functions(path: str) -> frozenset[str]:
    """Return the names of a test file's functions."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def _exists(pointer: str) -> bool:
    """Tell whether there is such a case or such a test."""
    kind, _, name = pointer.partition("/")
    if kind == "server":
        return name in SERVER
    if kind == "client":
        return name in CLIENT
    path, _, function = pointer.partition("::")
    return (ROOT / path).is_file() and function.startswith("test_") and function in _functions(path)


def _fault(rule: dict[str, Any]) -> str:
    """Say what is wrong with a row; empty: nothing."""
    answers = [key for key in ("tests", "users", "na") if rule.get(key)]
    if set(rule) - {*answers} != {"id", "section", "level", "role", "text"}:
        return "its keys are not id, section, level, role, text and an answer"
    if len(answers) != 1:
        return f"it has {len(answers)} of tests, users and na, not one"
    if rule["level"] not in {"MUST", "MUST NOT"} or rule["role"] not in ROLES:
        return "no such level or role"
    number = rule["id"].split("-")
    if rule["section"] != f"RFC {number[0]} section {number[1]}":
        return "its id and its section differ"
    pointers = rule.get("tests", _POINTER.findall(rule.get("users", "") + rule.get("na", "")))
    missing = [pointer for pointer in pointers if not _exists(pointer)]
    return f"it names what does not exist: {missing}" if missing else ""


@pytest.mark.parametrize("rule", RULES, ids=[rule["id"] for rule in RULES])
def test_rule(rule: dict[str, Any]) -> None:
    assert _fault(rule) == ""
    if rule["role"] in NOT_OURS:
        assert "tests" not in rule


def test_no_keyword_is_left_out() -> None:
    expected = []
    for rfc, table in KEYWORDS.items():
        for entry in table.split():
            section, _, count = entry.partition(":")
            expected += [f"{rfc}-{section}-{number}" for number in range(1, int(count) + 1)]
    assert [rule["id"] for rule in RULES] == expected


def test_faults_are_found() -> None:
    good = {
        "id": "9112-3-1", "section": "RFC 9112 section 3", "level": "MUST", "role": "server",
        "text": "x", "tests": ["server/line/get"],
    }  # fmt: skip
    assert _fault(good) == ""
    changes: tuple[dict[str, object], ...] = (
        {"tests": []}, {"na": "x"}, {"users": "x"}, {"level": "SHOULD"}, {"role": "king"},
        {"section": "RFC 9112 section 4"}, {"more": "x"}, {"tests": ["server/no/such"]},
        {"tests": ["client/line/get"]}, {"tests": ["tests/core/test_rfc_rules.py::_exists"]},
        {"tests": ["tests/core/no_such.py::test_rule"]},
        {"tests": ["tests/core/test_rfc_rules.py::test_no_such"]},
    )  # fmt: skip
    for change in changes:
        assert _fault({**good, **change}), change
    without = {key: value for key, value in good.items() if key != "tests"}
    assert _fault(without)
    assert _fault({**without, "na": "server/no/such refuses it"})
    assert not _fault({**without, "na": "server/line/get refuses it"})


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(SERVER) == len(test_server.CASES) >= 600
    assert len(CLIENT) == len(test_client.CASES) >= 175


@pytest.mark.parametrize("cases", [test_server.CASES, test_client.CASES], ids=["server", "client"])
def test_no_two_cases_are_the_same(cases: tuple[ServerCase, ...] | tuple[ClientCase, ...]) -> None:
    ids = Counter(case.id for case in cases)
    contents = Counter(case.bytes for case in cases)
    assert max(ids.values()) == max(contents.values()) == 1


@pytest.mark.parametrize("cases", [test_server.CASES, test_client.CASES], ids=["server", "client"])
def test_every_case_states_its_rule(cases: tuple[ServerCase, ...] | tuple[ClientCase, ...]) -> None:
    for case in cases:
        assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", case.id), case.id
        assert re.match(r"\d{4} (?:[A-Z]\.)?\d+(?:\.\d+)*: \S", case.rule), case.id
