"""A missing tool is a skip with its name at home, and a failure where everything is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.environment import without_coverage

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SUITE = """
import pytest

@pytest.mark.peer("no-such-tool")
def test_of_a_peer() -> None:
    pass

@pytest.mark.peer("sh")
def test_of_a_peer_that_is_there() -> None:
    pass

def test_of_a_package() -> None:
    pytest.importorskip("no_such_package")

@pytest.mark.skip(reason="another platform")
def test_for_another_platform() -> None:
    pass
"""
FORGETS = """
import socket

def test_forgets() -> None:
    loop = [socket.socket()]
    loop.append(loop)

def test_after_it() -> None:
    pass
"""


def run(directory: Path, ci: str) -> str:
    command = (sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider")
    done = subprocess.run(
        [*command, "--override-ini=markers=peer(name): a tool"],
        cwd=directory,
        env=without_coverage(CI=ci),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def suite(tmp_path: Path, directory: str, source: str) -> Path:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "test_it.py").write_text(source)
    return tmp_path


def test_a_missing_tool_is_a_skip_that_names_it(tmp_path: Path) -> None:
    output = run(suite(tmp_path, "peers", SUITE), ci="")
    assert "no-such-tool is not installed" in output
    assert "1 passed, 3 skipped" in output


def test_under_ci_a_missing_tool_is_a_failure(tmp_path: Path) -> None:
    output = run(suite(tmp_path, "peers", SUITE), ci="true")
    assert "under CI nothing is skipped: Skipped: no-such-tool is not installed" in output
    assert "1 failed, 1 passed, 1 skipped, 1 error" in output


def test_a_forgotten_socket_fails_the_test_that_forgot_it(tmp_path: Path) -> None:
    output = run(suite(tmp_path, "bindings", FORGETS), ci="")
    assert "2 passed, 1 error" in output
    assert "ERROR bindings/test_it.py::test_forgets" in output
