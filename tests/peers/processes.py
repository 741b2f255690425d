"""Servers as child processes: started, asked where they listen, stopped by a signal."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.environment import without_coverage

ROOT: Final = Path(__file__).parents[2]
URL: Final = re.compile(r"https?://[^\s/]+:\d+")
STARTS_WITHIN: Final = 30
ENDS_WITHIN: Final = 20


@dataclass(frozen=True)
class Child:
    """A running child process and the `http` or `https` URL it printed."""

    pid: int
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


class _Output:
    """Reads all that a child prints, so that it never waits for us."""

    def __init__(self, pipe: IO[str]) -> None:
        self.lines: list[str] = []
        self.url = ""
        self._named = threading.Event()
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self.lines.append(line)
            found = None if self.url else URL.search(line)
            if found:
                self.url = found[0]
                self._named.set()
        self._named.set()

    def wait_for_url(self) -> str:
        self._named.wait(STARTS_WITHIN)
        assert self.url, f"it did not say where it listens:\n{self}"
        return self.url

    def close(self) -> None:
        self._thread.join()
        self._pipe.close()

    def __str__(self) -> str:
        return "".join(self.lines[:50])


@contextmanager
def serving(*arguments: str, ours: bool = False) -> Iterator[Child]:
    """Run `python ARGUMENTS` until the block ends; its output must name a URL once it listens.

    It has to end well on SIGTERM. One of `ours` has no traceback to print, and exits with 0.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=without_coverage(PYTHONUNBUFFERED="1"),
    )
    assert process.stdout is not None
    output = _Output(process.stdout)
    try:
        yield Child(process.pid, output.wait_for_url())
        process.send_signal(signal.SIGTERM)
        status = process.wait(ENDS_WITHIN)
    finally:
        process.kill()
        process.wait()
        output.close()
    # uvicorn raises the signal again when it has ended in order.
    assert status in ((0,) if ours else (0, -signal.SIGTERM)), str(output)
    assert not (ours and "Traceback" in str(output)), str(output)
