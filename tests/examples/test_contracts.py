"""docs/architecture.md states contracts: the names in them exist, with those parameters."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

import pipebus
from tests.examples.conftest import ROOT
from tests.examples.test_docs import blocks

PAGE: Final = ROOT / "docs" / "architecture.md"
CLASS: Final = re.compile(r"^class (\w+)[^\n:]*:", re.MULTILINE)
CALL: Final = re.compile(r"\b(\w+)\(")
ATTRIBUTE: Final = re.compile(r"(?:^ +|; )(\w+): ", re.MULTILINE)


def core_classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(pipebus.__path__, "pipebus."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and value.__module__ == module.name:
                found[name] = value
    return found


CLASSES: Final = core_classes()


def contracts() -> dict[str, str]:
    """Return what the page says of each class, without comments."""
    found: dict[str, str] = {}
    for block in blocks(PAGE):
        code = re.sub("#.*", "", block.code)
        parts = CLASS.split(code)
        found |= zip(parts[1::2], parts[2::2], strict=True)
    return found


CONTRACTS: Final = contracts()


def closing(text: str, start: int) -> int:
    """Return where the parenthesis that opens before `start` closes."""
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        if depth == 0:
            return end
    raise AssertionError(text[start : start + 60])


def parameters(text: str) -> list[str]:
    """Return the names in a list of parameters; `name: type = default` counts as `name`."""
    flat = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", text))
    names = [part.strip().lstrip("*") for part in flat.split(",")]
    return [re.split(r"[ :=|]", name)[0] for name in names if name not in ("", "self")]


def calls(body: str) -> Iterator[tuple[str, str]]:
    """Give every `name(parameters)`, those within parameters aside."""
    position = 0
    for found in CALL.finditer(body):
        if found.start() >= position:
            position = closing(body, found.end())
            yield found[1], body[found.end() : position]


def signature(target: Any) -> list[str]:
    return [name for name in inspect.signature(target).parameters if name != "self"]


def attributes(kind: type) -> set[str]:
    names: set[str] = set()
    for base in kind.__mro__:
        names |= {*vars(base), *getattr(base, "__annotations__", {})}
        source = inspect.getsource(base) if base.__module__.startswith("pipebus") else ""
        names |= set(re.findall(r"\bself\.(\w+)(?:: .*)? =", source))
    return names


def test_the_machines_are_there() -> None:
    assert set(CONTRACTS) >= {"Bus", "ServerConnection", "Dispatch", "HttpClient", "Engine"}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract(name: str) -> None:
    kind, body = CLASSES[name], CONTRACTS[name]
    for called, given in calls(body):
        target = CLASSES[called] if called[0].isupper() else getattr(kind, called)
        if "..." not in given:
            assert parameters(given) == signature(target), f"{name}.{called}"
    assert {found for found in ATTRIBUTE.findall(body) if found[0].islower()} <= attributes(kind)


def test_a_wrong_name_would_be_found() -> None:
    assert parameters("self, now, *, a: list[tuple[str, int]] = (), b=f(1, 2), c | None") == [
        "now", "a", "b", "c"
    ]  # fmt: skip
    assert list(calls("f(a: g(1), b) -> H(x); k()")) == [("f", "a: g(1), b"), ("H", "x"), ("k", "")]
