"""The server's process, seen from outside, and the echo server that is started for a run."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipebus_cli.errors import CliError

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_STARTS: Final = re.compile(r"^(listening|admin) at (\S+)$")
_PATIENCE: Final = 40.0
"""How long the server may take to end: a drain of 30 s and a little, in seconds."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a process has taken up to now. Seconds, bytes."""

    cpu_s: float
    rss_bytes: int
    fds: int


class ServerProcess:
    """A process of this machine by its number; what cannot be read is None (no /proc, no right)."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def use(self) -> Use | None:
        """Return what it takes now."""
        try:
            stat = (self._proc / "stat").read_text()
            resident = int((self._proc / "statm").read_text().split()[1]) * _PAGE
            descriptors = sum(1 for _ in (self._proc / "fd").iterdir())
        except (OSError, IndexError):
            return None
        # Fields 14 and 15; the second is a name and may hold spaces.
        user, system = stat.rpartition(")")[2].split()[11:13]
        return Use((int(user) + int(system)) / _TICKS, resident, descriptors)

    def forget_peak(self) -> None:
        """Let the peak of memory be what is resident now; where that is not allowed it stays."""
        with suppress(OSError):
            (self._proc / "clear_refs").write_text("5")

    def peak(self) -> int | None:
        """Return the most bytes that were resident."""
        try:
            found = _PEAK.search((self._proc / "status").read_text())
        except OSError:
            return None
        return None if found is None else int(found[1]) * 1024


@dataclass(frozen=True, slots=True)
class Echo:
    """A running echo server."""

    url: str
    admin: str
    pid: int
    banner: str


@contextmanager
def echo(options: Sequence[str], what: Sequence[str] = ("echo",)) -> Iterator[Echo]:
    """Run `pipebus echo`, or another command that serves, with these options in the block."""
    command = [sys.executable, "-m", "pipebus_cli", *what, *options]
    process = subprocess.Popen(  # noqa: S603 - our own
        [*command, "--port", "0", "--admin", "127.0.0.1:0", "--log-format", "text"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # a Ctrl-C is ours to take: first the load ends, then the server
    )
    try:
        yield _started(process)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _started(process: "subprocess.Popen[str]") -> Echo:
    assert process.stdout is not None
    assert process.stderr is not None
    banner = ""
    found: dict[str, str] = {}
    for line in process.stdout:
        banner = banner or f"pipebus {line.strip()}"
        match = _STARTS.match(line)
        if match:
            found[match[1]] = match[2]
        if len(found) == 2:
            return Echo(found["listening"], found["admin"], process.pid, banner)
    said = process.stderr.read().strip().splitlines() or ["nothing"]
    msg = f"the echo server did not start, and said: {said[-1]}"
    raise CliError(msg)
