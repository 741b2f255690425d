"""What a user gets: the built wheel holds what it should, works, and types a consumer's project."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Final

import pytest

from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]
CONSUMER: Final = ROOT / "tests" / "typing" / "consumer"
SOURCES: Final = (
    ROOT / "core" / "pipebus",
    *(ROOT / "bindings" / f"pipebus_{name}" for name in ("anyio", "asyncio", "trio", "cli")),
)
BIN: Final = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=without_coverage(), capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that was built from it, as a publisher makes them."""
    out = tmp_path_factory.mktemp("dist")
    run(BIN / "python", "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel in place of the editable install."""
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv)
    python = venv / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(BIN / "python", "-m", "pip", "--python", python, *install, cwd=venv)
    # A path in a .pth file is not itself searched for .pth files: the dependencies of this
    # environment are seen, its editable pipebus is not.
    (site,) = venv.glob("lib/python*/site-packages")
    (borrowed,) = (path for path in sys.path if re.search(r"\.?venv.*/site-packages$", path))
    (site / "borrowed.pth").write_text(borrowed)
    return python


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(source.parent).as_posix()
        for source in SOURCES
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {f"{source.name}/py.typed" for source in SOURCES} <= found


def test_the_metadata_say_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        (scripts,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "pipebus = pipebus_cli.main:main" in archive.read(scripts).decode()
        assert any(n.endswith("licenses/LICENSE") for n in archive.namelist())
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra" not in need]
    assert [re.split(r"[<>=]", need)[0] for need in needs] == ["anyio", "h11", "msgspec"]
    assert all("<" in need and ">=" in need for need in metadata.get_all("Requires-Dist", []))


def test_the_sdist_holds_the_tests_and_no_litter(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "LICENSE", "Makefile", "constraints.txt", "tests/conftest.py"}
    assert wanted <= names
    assert not [name for name in names if re.search(r"__pycache__|\.venv|_cache|\.coverage", name)]


def test_the_wheel_works_where_nothing_else_of_the_project_is(python: Path, tmp_path: Path) -> None:
    code = "import service, pipebus; print(pipebus.__file__, len(service.pipeline.routes))"
    script = f"import sys; sys.path.insert(0, {str(CONSUMER)!r}); sys.dont_write_bytecode = True\n"
    where, routes = run(python, "-c", script + code, cwd=tmp_path).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert routes == "4"


def refused() -> list[int]:
    lines = (CONSUMER / "mistakes.py").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# refused")]


def test_mypy_takes_a_consumer_and_refuses_their_mistakes(python: Path, tmp_path: Path) -> None:
    strict = ("--strict", "--config-file=", "--no-incremental", "--python-executable", python)
    # One run for both files: mypy takes seconds to start.
    files = (CONSUMER / "service.py", CONSUMER / "mistakes.py")
    output = run(BIN / "mypy", *strict, "--cache-dir=/dev/null", *files, cwd=tmp_path, status=1)
    errors = re.findall(r"^.*?(\w+)\.py:(\d+): error: ", output, re.MULTILINE)
    assert sorted({(file, int(line)) for file, line in errors}) == [
        ("mistakes", line) for line in refused()
    ], output


def test_pyright_takes_a_consumer_and_refuses_their_mistakes(python: Path, tmp_path: Path) -> None:
    shutil.copytree(CONSUMER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    command = (BIN / "pyright", "--outputjson", "--pythonpath", python, "--project", tmp_path)
    report = json.loads(run(*command, cwd=tmp_path, status=1))
    found = {
        (Path(error["file"]).stem, error["range"]["start"]["line"] + 1)
        for error in report["generalDiagnostics"]
        if error["severity"] == "error"
    }
    assert sorted(found) == [("mistakes", line) for line in refused()], report
