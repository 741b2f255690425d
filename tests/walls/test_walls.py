"""Proof that the walls stand: a copy of the tree with every wall broken, each break named.

That the tree itself is clean is for `make check` to say.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]
CIRCLES: Final = "tests/walls/circles.toml"
BIN: Final = Path(sys.executable).parent

CONFIG: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS: Final = {contract["id"]: contract for contract in CONFIG["importlinter"]["contracts"]}
RUFF_BANS: Final = tuple(CONFIG["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])

# What the design says, so that nothing falls out of the settings unseen.
NEVER_IN_CORE: Final = (
    *("anyio", "asyncio", "trio", "sniffio", "socket", "ssl", "select", "selectors", "threading"),
    *("concurrent", "subprocess", "multiprocessing", "time", "random", "secrets", "uuid", "os"),
    *("email", "http.client", "logging", "queue", "signal"),
)
FLOORS: Final = (
    ("pipebus_cli",),
    ("pipebus_asyncio", "pipebus_trio"),
    ("pipebus_anyio",),
    ("pipebus.testing",),
    ("pipebus.engine",),
    ("pipebus.pipeline",),
    ("pipebus.http",),
    ("pipebus.bus",),
    ("pipebus.resilience", "pipebus.telemetry"),
    ("pipebus.wall_clock", "pipebus.timers"),
    ("pipebus.errors", "pipebus.limits"),
)
UPWARDS: Final = tuple(
    (low, high) for above, below in itertools.pairwise(FLOORS) for low in below for high in above
)
SIDEWAYS: Final = tuple(
    (floor[i], floor[1 - i]) for floor in FLOORS if len(floor) == 2 for i in (0, 1)
)
RULES: Final = {
    "root_from": ("root", "from pipebus import Request\n"),
    "root_import": ("root", "import pipebus\n"),
    "identity_id": ("identity", "KEY = id(object())\n"),
    "identity_hash": ("identity", "ORDERED = sorted([], key=hash)\n"),
    "order_for": ("order", "def f(names: set[str]) -> None:\n    for _ in names:\n        pass\n"),
    "order_list": ("order", "X = list({1, 2})\n"),
    "order_join": ("order", 'NAMES = frozenset({"a", "b"})\nX = ",".join(n for n in NAMES)\n'),
    "order_star": ("order", "A: set[int] = set()\nX = [*A]\n"),
    "order_pop": ("order", "A: set[int] | None = {1}\nX = A.pop()\n"),
    "length": ("length", "A = 1\n" * 500),
}


def path_of(module: str) -> Path:
    root = "core" if module.startswith("pipebus.") else "bindings"
    return Path(root, *module.split("."))


def name_of(call_or_module: str) -> str:
    return call_or_module.replace(".", "_")


def break_floor(tree: Path, low: str, high: str) -> str:
    """Make `low` import `high`; return the module that does."""
    package = tree / path_of(low)
    if package.is_dir():
        module = f"{low}.broken_{name_of(high)}"
        (package / f"broken_{name_of(high)}.py").write_text(f"import {high}\n")
        return module
    file = package.with_suffix(".py")
    file.write_text(f"{file.read_text()}\nimport {high}\n")
    return low


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with every wall broken."""
    tree = tmp_path_factory.mktemp("broken")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("core", "bindings"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ("pyproject.toml", CIRCLES):
        shutil.copy(ROOT / name, tree)
    for low, high in (*UPWARDS, *SIDEWAYS):
        break_floor(tree, low, high)
    bus = tree / "core" / "pipebus" / "bus"
    for module in CONTRACTS["pure"]["forbidden_modules"]:
        (bus / f"broken_import_{name_of(module)}.py").write_text(f"import {module}\n")
    for banned in RUFF_BANS:
        module, _, call = banned.rpartition(".") if banned[0] == "d" else (banned, "", "")
        (bus / f"broken_use_{name_of(banned)}.py").write_text(
            f"import datetime\nX = {banned}()\n" if call else f"import {module}\n"
        )
    for name, (_, source) in RULES.items():
        (bus / f"broken_rule_{name}.py").write_text(source)
    (bus / "broken_relative.py").write_text("from . import topic\n")
    (bus / "broken_httptools.py").write_text("import httptools\n")
    (bus / "broken_circle_a.py").write_text("import pipebus.bus.broken_circle_b\n")
    (bus / "broken_circle_b.py").write_text("import pipebus.bus.broken_circle_a\n")
    shared = tree / "bindings" / "pipebus_anyio"
    (shared / "broken_opentelemetry.py").write_text("import opentelemetry.trace\n")
    for module in CONTRACTS["neutral"]["forbidden_modules"]:
        (shared / f"broken_runtime_{module}.py").write_text(f"import {module}\n")
    return tree


def run(tree: Path, *command: str) -> str:
    """Run one tool over the broken tree; return what it says when it refuses."""
    path = os.pathsep.join((str(tree / "core"), str(tree / "bindings")))
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=tree,
        env=without_coverage(PYTHONPATH=path, COLUMNS="200", NO_COLOR="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def import_linter(broken: Path) -> str:
    configs = ("pyproject.toml", Path(CIRCLES).name)
    return run(broken, "lint-imports", "--no-logo", "--no-cache", *configs)


@pytest.fixture(scope="module")
def ruff(broken: Path) -> set[tuple[str, str, str]]:
    """(file, code, message) of every finding."""
    findings = json.loads(run(broken, "ruff", "check", "--no-cache", "--output-format", "json"))
    return {(Path(f["filename"]).name, f["code"], f["message"]) for f in findings}


@pytest.fixture(scope="module")
def core_rules(broken: Path) -> list[str]:
    script = str(Path(__file__).with_name("core_rules.py"))
    return run(broken, "python", script, str(broken)).splitlines()


def test_the_settings_name_every_wall_of_the_design() -> None:
    assert set(NEVER_IN_CORE) <= set(RUFF_BANS)
    # import-linter folds `http.client` into `http`, whose status codes are harmless: ruff's alone
    imports = set(NEVER_IN_CORE) - {"http.client"}
    bindings = {"pipebus_anyio", "pipebus_asyncio", "pipebus_trio", "pipebus_cli"}
    assert imports | bindings <= set(CONTRACTS["pure"]["forbidden_modules"])
    assert CONTRACTS["floors"]["layers"] == [" | ".join(floor) for floor in FLOORS]
    assert {"asyncio", "trio"} <= set(CONTRACTS["neutral"]["forbidden_modules"])


@pytest.mark.parametrize(("low", "high"), [*UPWARDS, *SIDEWAYS])
def test_import_linter_names_what_imports_upwards_or_sideways(
    import_linter: str, low: str, high: str
) -> None:
    package = (ROOT / path_of(low)).is_dir()
    module = f"{low}.broken_{name_of(high)}" if package else low
    assert f"{module} -> {high} (l." in import_linter


@pytest.mark.parametrize("module", CONTRACTS["pure"]["forbidden_modules"])
def test_import_linter_names_what_the_core_must_not_import(import_linter: str, module: str) -> None:
    assert f"pipebus.bus.broken_import_{name_of(module)} -> {module} (l.1)" in import_linter


@pytest.mark.parametrize("module", CONTRACTS["neutral"]["forbidden_modules"])
def test_import_linter_keeps_the_shared_binding_neutral(import_linter: str, module: str) -> None:
    assert f"pipebus_anyio.broken_runtime_{module} -> {module} (l.1)" in import_linter


def test_import_linter_keeps_opentelemetry_in_one_module(import_linter: str) -> None:
    assert "pipebus_anyio.broken_opentelemetry -> opentelemetry (l.1)" in import_linter
    assert "pipebus_anyio.observe.tracing -> opentelemetry" not in import_linter


def test_import_linter_names_circles_and_a_stray_codec(import_linter: str) -> None:
    assert "pipebus.bus.broken_httptools -> httptools (l.1)" in import_linter
    # which of the two imports it would remove is its own choice
    assert re.search(r"\.broken_circle_(a|b) -> \.broken_circle_(?!\1)(a|b) ", import_linter)


@pytest.mark.parametrize("banned", RUFF_BANS)
def test_ruff_names_what_the_core_must_not_use(
    ruff: set[tuple[str, str, str]], banned: str
) -> None:
    file = f"broken_use_{name_of(banned)}.py"
    assert any(f == file and c == "TID251" and f"`{banned}`" in m for f, c, m in ruff)


def test_ruff_refuses_relative_imports(ruff: set[tuple[str, str, str]]) -> None:
    assert any(file == "broken_relative.py" and code == "TID252" for file, code, _ in ruff)


@pytest.mark.parametrize("name", RULES)
def test_our_own_rules_name_the_rest(core_rules: list[str], name: str) -> None:
    rule = RULES[name][0]
    start = f"core/pipebus/bus/broken_rule_{name}.py:"
    assert any(line.startswith(start) and f"[{rule}]" in line for line in core_rules)
