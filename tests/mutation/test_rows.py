"""The half of mutation testing that is ours: a table with one row less, and nothing else changed."""

from tests.mutation.__main__ import describe_function, rows, without_wording

SOURCE = '''"""Ä table."""

from typing import Final

A: Final = {
    ("idle", "é"): "one",  # why
    "two": {"x": 1, "y": 2},
}
EMPTY: Final[dict[str, int]] = {}


def f() -> dict[str, int]:
    return {"not": 1, "a table": 2}
'''


def table(source: str) -> object:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace["A"]


def test_each_row_is_dropped_once() -> None:
    found = {what: table(source) for what, source in rows(SOURCE)}
    assert found == {
        "A[('idle', 'é')] dropped": {"two": {"x": 1, "y": 2}},
        "A['two'] dropped": {("idle", "é"): "one"},
        "A['two']['x'] dropped": {("idle", "é"): "one", "two": {"y": 2}},
        "A['two']['y'] dropped": {("idle", "é"): "one", "two": {"x": 1}},
    }


def test_a_mutant_is_named_by_its_function() -> None:
    assert describe_function("pipebus.a.xǁLeaseǁ__init____mutmut_9") == "pipebus.a.Lease.__init__"
    assert describe_function("pipebus.a.x_parse__mutmut_12") == "pipebus.a.parse"


def test_only_the_wording_of_an_error_is_passed_over() -> None:
    line = 'raise RemoteProtocolError("too large", 413)'
    assert without_wording(line) == without_wording(
        'raise RemoteProtocolError("XXtoo largeXX", 413)'
    )
    assert without_wording(line) != without_wording('raise RemoteProtocolError("too large", 414)')
