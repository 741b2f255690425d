"""Where the numbers come from: the environment of what is measured, and what is recorded of it."""

import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import load, processes
from benchmarks.case import Setup

HERE: Final = Path(__file__).parent
VENV: Final = HERE / ".venv"
COMPILED_VENV: Final = HERE.parent / ".compiled" / "venv"
REQUIREMENTS: Final = HERE / "requirements.txt"


def ready() -> Path:
    """Return the Python of the benchmarks' own environment, made if it is missing or old."""
    python = VENV / "bin" / "python"
    constraints = HERE.parent / "constraints.txt"
    stamp = VENV / ".ready"
    wanted = REQUIREMENTS.read_text() + constraints.read_text() + sys.version
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"setting up {VENV}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check",
             "--requirement", REQUIREMENTS, "--constraint", constraints],
            check=True,
        )  # fmt: skip
        stamp.write_text(wanted)
    return python


def compiled() -> Path:
    """Return the Python of the environment that `make compiled` makes; exit where there is none."""
    python = COMPILED_VENV / "bin" / "python"
    if not python.exists():
        sys.exit(f"there is no {COMPILED_VENV}: run `make compiled` first")
    return python


def describe(setup: Setup) -> dict[str, str]:
    """Return what a reader needs to judge the numbers, one line each."""
    python = str(setup.python)
    names = {re.split(r"\W", line)[0].lower() for line in REQUIREMENTS.read_text().splitlines()}
    packages = _run([python, "-m", "pip", "freeze"]).lower().split()
    versions = [line.replace("==", " ") for line in packages if line.split("==")[0] in names]
    if shutil.which("go"):
        versions.append(_run(["go", "version"]).removeprefix("go version "))
    commit = _run(["git", "rev-parse", "--short", "HEAD"]) or "unknown"
    if _run(["git", "status", "--porcelain", "core", "bindings"]):
        commit += ", with changes"
    busy = ", ".join(f"{part:.2f}" for part in os.getloadavg())
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {_run([python, '-V']).split()[-1]}",
        "packages": ", ".join(versions),
        "pipebus": _parts(setup),
        "load generator": load.describe(setup.generator),
        "cores": f"measured {setup.measured_core}, load {setup.load_core}",
        "load average before": f"{busy} (1, 5, 15 minutes)",
    }


def _parts(setup: Setup) -> str:
    """Return the driver and the codec that our rows run on, by their real names."""
    code = (
        "from pipebus_anyio.options import Options; "
        f"o = Options(driver={setup.driver!r}, wire={setup.wire!r}); "
        "print(f'driver {o.driver_name()}, codec {o.new_wire().name}')"
    )
    environ = processes.environment(setup.python)
    done = subprocess.run(
        [setup.python, "-c", code], env=environ, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.strip()


def _cpu() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()
