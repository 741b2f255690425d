"""Where the numbers come from: the environment of the servers, and what is recorded of it."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.load import generator

HERE: Final = Path(__file__).parent
VENV: Final = HERE / ".venv"
REQUIREMENTS: Final = HERE / "requirements.txt"
SHOWN: Final = ("anyio", "h11", "hypercorn", "msgspec", "trio", "uvicorn", "uvloop", "httptools")


def ready() -> Path:
    """Return the Python of the benchmark's own environment, made if it is missing or old."""
    python = VENV / "bin" / "python"
    constraints = HERE.parent / "constraints.txt"
    stamp = VENV / ".ready"
    wanted = REQUIREMENTS.read_text() + constraints.read_text() + sys.version
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check",
             "--requirement", REQUIREMENTS, "--constraint", constraints],
            check=True,
        )  # fmt: skip
        stamp.write_text(wanted)
    return python


def describe(python: Path, server_core: int, load_core: int) -> dict[str, str]:
    """Return what a reader needs to judge the numbers, one line each."""
    packages = _run([str(python), "-m", "pip", "freeze"]).lower().split()
    versions = [line.replace("==", " ") for line in packages if line.split("==")[0] in SHOWN]
    commit = _run(["git", "rev-parse", "--short", "HEAD"]) or "unknown"
    if _run(["git", "status", "--porcelain", "core", "bindings"]):
        commit += ", with changes"
    load = ", ".join(f"{part:.2f}" for part in os.getloadavg())
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit,
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {_run([str(python), '-V']).split()[-1]}",
        "packages": ", ".join(versions),
        "load generator": generator(),
        "cores": f"server {server_core}, load {load_core}",
        "load average before": f"{load} (1, 5, 15 minutes)",
    }


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.strip()


def _cpu() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()
