"""pipebus_asyncio and pipebus_trio are one interface: changing the runtime is changing one import."""

import importlib
import inspect
import re
from types import ModuleType

import pytest

# What users import. How each does it (`runtime`) is its own affair.
MODULES = ("", ".testing")


def both(module: str) -> tuple[ModuleType, ModuleType]:
    asyncio_one = importlib.import_module(f"pipebus_asyncio{module}")
    return asyncio_one, importlib.import_module(f"pipebus_trio{module}")


def exported(module: ModuleType) -> list[str]:
    return sorted(module.__all__)


def describe(value: object) -> list[str]:
    """Say what can be done with a public object, without naming the runtime."""
    lines = [type(value).__name__]
    if inspect.isclass(value):
        lines += [f"base {base.__name__}" for base in value.__bases__]
        public = [pair for pair in inspect.getmembers_static(value) if not pair[0].startswith("_")]
        lines += [f"{name}: {type(member).__name__}" for name, member in public]
        lines += [f"{name}{signature_of(getattr(value, name))}" for name, _ in public]
    lines.append(signature_of(value))
    return [re.sub("asyncio|trio", "RUNTIME", line, flags=re.IGNORECASE) for line in lines]


def signature_of(value: object) -> str:
    if not callable(value):
        return ""
    try:
        return str(inspect.signature(value))
    except ValueError:  # a class in C: its name and members are all there is to compare
        return ""


def test_what_users_pick_is_there() -> None:
    first, _ = both("")
    assert {"Client", "run", "serve"} <= set(exported(first))


@pytest.mark.parametrize("module", MODULES)
def test_both_export_the_same_names(module: str) -> None:
    first, second = both(module)
    assert exported(first) == exported(second)


@pytest.mark.parametrize("module", MODULES)
def test_what_they_export_has_the_same_signatures(module: str) -> None:
    first, second = both(module)
    for name in exported(first):
        assert describe(getattr(first, name)) == describe(getattr(second, name)), name


def test_a_difference_would_be_seen() -> None:
    class One:
        def get(self, url: str) -> None: ...

    class Two:
        def get(self, url: str, *, timeout: float = 1) -> None: ...

    assert describe(One.get) != describe(Two.get)
    assert describe(One) != describe(Two)
