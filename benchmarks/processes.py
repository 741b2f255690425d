"""Children: started on one core from their first instruction, and what they take of the machine."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.case import COMPILED, Setup

ROOT: Final = Path(__file__).parents[1]
TICKS: Final = os.sysconf("SC_CLK_TCK")
DESCRIPTORS: Final = 16_384
ENDS_WITHIN: Final = 10.0


def environment(python: Path) -> dict[str, str]:
    """Return the environment of a child that runs the code of this tree."""
    path = os.pathsep.join(str(ROOT / part) for part in ("core", "bindings"))
    return {"PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": path, "GOMAXPROCS": "1"}


def python_for(setup: Setup, contender: str) -> tuple[Path, dict[str, str]]:
    """Return what runs a contender: a Python and an environment."""
    if setup.compiled is None or not contender.endswith(COMPILED):
        return setup.python, environment(setup.python)
    # Without a path to the sources: pipebus is what that environment has installed.
    return setup.compiled, environment(setup.compiled) | {"PYTHONPATH": ""}


def allow_descriptors() -> None:
    """Raise this process's limit of open files, which its children inherit, as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextmanager
def started(
    command: Sequence[str], core: int, environ: Mapping[str, str], *, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a child until the end of the block; `talks`: over its stdin and stdout."""
    pipe = subprocess.PIPE if talks else None
    # A process takes its core along into threads and children: those of a server are to share it.
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True
        )
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


class Usage:
    """What a process and its descendants take; the descendants are those at construction."""

    def __init__(self, pid: int) -> None:
        self.pids = [pid, *descendants(pid)]

    def cpu(self) -> float:
        """Return the CPU time of all threads so far, in seconds (resolution 10 ms each)."""
        return sum(_cpu(pid) for pid in self.pids)

    def peak_memory(self) -> int:
        """Return the largest resident size since `forget_peak`, in bytes, added up."""
        return sum(_peak(pid) for pid in self.pids)

    def forget_peak(self) -> None:
        """Begin a new peak at the present size, where the kernel can: else it is since the start."""
        for pid in self.pids:
            with suppress(OSError):
                # proc_pid_clear_refs(5): 5 resets VmHWM.
                Path(f"/proc/{pid}/clear_refs").write_text("5")


def descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat_fields(stat.read_text())[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def stat_fields(stat: str) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the third, the state, on."""
    # The second is a name in parentheses, which may hold spaces and parentheses.
    return stat.rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    fields = stat_fields(Path(f"/proc/{pid}/stat").read_text())
    return (int(fields[11]) + int(fields[12])) / TICKS  # utime, stime


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "VmHWM":
            return int(rest.split()[0]) * 1024
    raise RuntimeError(f"no VmHWM for process {pid}")


class Worker:
    """A child that answers questions: one line of JSON in, one out."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **question: object) -> Any:
        """Ask, and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended when asked {question}")
        return json.loads(answer)
