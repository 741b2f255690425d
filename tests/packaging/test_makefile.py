"""The first thing that a newcomer runs says what it wants, before it makes anything."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]

pytestmark = pytest.mark.peer("make")


def old_python(path: Path) -> Path:
    """Make an interpreter that takes itself for Python 3.10 and knows `-c` only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = "import sys; sys.version_info = (3, 10, 19); exec(sys.argv[2])"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
    path.chmod(0o755)
    return path


def set_up(venv: Path, python: Path | str) -> str:
    """Have make set up an environment; return how it failed."""
    command = ("make", "-C", ROOT, f"VENV={venv}", f"PYTHON={python}", venv / ".ready")
    done = subprocess.run(
        command, env=without_coverage(), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    return done.stderr


def test_an_old_python_is_told_and_nothing_made(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    said = set_up(venv, old_python(tmp_path / "python3"))
    assert "pipebus needs Python 3.11 or newer: make PYTHON=" in said
    assert not venv.exists()


def test_a_missing_python_is_told(tmp_path: Path) -> None:
    said = set_up(tmp_path / "venv", tmp_path / "python3")
    assert "pipebus needs Python 3.11 or newer: make PYTHON=" in said


def test_an_environment_of_an_old_python_is_told(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    old_python(venv / "bin" / "python")
    said = set_up(venv, sys.executable)
    assert "pipebus needs Python 3.11 or newer, " in said
    assert "make clean" in said
    assert not (venv / ".ready").exists()
