"""Servers as child processes: started, asked where they listen, stopped by a signal."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
URL = re.compile(r"https?://[^\s/]+:\d+")


@dataclass(frozen=True)
class Child:
    """A running child process and the `http` or `https` URL it printed."""

    pid: int
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def serving(*arguments: str) -> Iterator[Child]:
    """Run `python ARGUMENTS` until the block ends; its output must name a URL once it listens.

    It has to end well on SIGTERM. What it printed is in the message of each failure.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=dict(os.environ, PYTHONUNBUFFERED="1"),
    )
    assert process.stdout is not None
    try:
        url = _first_url(process.stdout, arguments)
        yield Child(process.pid, url)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=20)[0]
        assert process.returncode in (0, -signal.SIGTERM), rest
        assert "Traceback" not in rest, rest
    finally:
        process.kill()
        process.communicate()


def _first_url(lines: Iterable[str], arguments: Sequence[str]) -> str:
    seen = []
    for line in lines:
        seen.append(line)
        found = URL.search(line)
        if found:
            return found[0]
    raise AssertionError(f"{arguments} ended before it listened:\n{''.join(seen)}")
