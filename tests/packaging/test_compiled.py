"""The hook of the compiled build, short of compiling: `make compiled` does that."""

import re
import sys
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hatchling.builders.config import BuilderConfig
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from hatch_build import SWITCH, CompiledCore, losses, to_compile
from tests.compiled import LEFT_OUT, interpreted

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def hook() -> CompiledCore:
    metadata = ProjectMetadata(str(ROOT), PluginManager())
    config = {"interpreted": interpreted()}
    return CompiledCore(str(ROOT), config, cast("BuilderConfig", None), metadata, "", "wheel")


@pytest.mark.parametrize("pattern", interpreted())
def test_what_stays_interpreted_exists(pattern: str) -> None:
    everything = to_compile(ROOT, [])
    assert set(to_compile(ROOT, [pattern])) < set(everything)


@pytest.mark.parametrize("file", to_compile(ROOT, interpreted()))
def test_what_is_compiled_loses_nothing(file: str) -> None:
    assert list(losses(ROOT / file)) == []


def test_what_would_be_lost_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "class Kept(Base): ...\n"
        "class Frozen(Base, frozen=True): ...\n"
        "def run():\n"
        "    raise Kept from None\n"
        "    raise Kept from error\n"
    )
    assert [loss.removeprefix(f"{module}:") for loss in losses(module)] == [
        "2: the arguments of class Frozen would be lost",
        "5: the cause error would be lost",
    ]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_wheel_is_pure_unless_asked_for(
    hook: CompiledCore, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(SWITCH, raising=False)
    else:
        monkeypatch.setenv(SWITCH, value)
    data: dict[str, Any] = {}
    hook.initialize("standard", data)
    hook.finalize("standard", data, "")
    assert (data, hook.dependencies()) == ({}, [])


def test_the_compiler_sees_the_types_of_what_the_core_imports(
    hook: CompiledCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    needs = hook.dependencies()
    assert needs[0].startswith("mypy[mypyc]>=")
    assert {"h11", "httptools", "msgspec"} <= {re.split(r"[<>=]", need)[0] for need in needs}


def refusal(hook: CompiledCore, version: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        hook.initialize(version, {})
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_without_a_compiler_it_says_so(
    hook: CompiledCore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setenv("CC", "/nowhere/cc -pthread")
    assert refusal(hook, "standard", capsys) == (
        f"{SWITCH}=1 needs a C compiler and the headers of Python, and the C compiler "
        "'/nowhere/cc' is not here (Debian: gcc, python3-dev). "
        f"Without {SWITCH} neither is needed.\n"
    )


def test_without_headers_it_says_so(
    hook: CompiledCore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setenv("CC", sys.executable)  # any program
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    assert "/nowhere/Python.h is not here" in refusal(hook, "standard", capsys)


def test_an_editable_install_is_refused(
    hook: CompiledCore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    said = refusal(hook, "editable", capsys)
    assert said == f"an editable install runs the sources: leave {SWITCH} out\n"


@pytest.mark.parametrize("begin", LEFT_OUT)
def test_what_make_compiled_leaves_out_exists(begin: str) -> None:
    path, _, test = begin.partition("::")
    text = (ROOT / path).read_text()
    assert f"def {test}" in text
