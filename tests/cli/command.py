"""The command as a child process: run to its end, or served from while a test goes on."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PIPEBUS = (sys.executable, "-m", "pipebus_cli")
PATIENCE = 60.0


def run(
    *arguments: str, cwd: Path | None = None, data: bytes = b"", **options: Any
) -> "subprocess.CompletedProcess[bytes]":
    """Run `pipebus` to its end, with `data` as its standard input."""
    return subprocess.run(
        [*PIPEBUS, *arguments],
        cwd=cwd,
        input=data,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


_MANY = """
import contextlib, io, json, sys
from pipebus_cli.main import main
results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    results.append((status, out.getvalue(), err.getvalue()))
json.dump(results, sys.stdout)
"""


def run_many(cases: Sequence[Sequence[str]], cwd: Path) -> list[tuple[int, str, str]]:
    """Run `pipebus` once for each case, in one process: starting one takes half a second.

    Returns status, output and error output of each.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MANY],
        cwd=cwd,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


class Serving:
    """A command that serves."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.banner: list[str] = []
        self.log = ""

    def wait_started(self, addresses: int = 1) -> None:
        """Read the banner up to its addresses."""
        assert self.process.stdout is not None
        self.banner = []
        while len(self.urls) < addresses:
            line = self.process.stdout.readline()
            assert line, self.end()
            self.banner.append(line.rstrip("\n"))

    @property
    def urls(self) -> list[str]:
        """Where it says that it listens."""
        return re.findall(r"^listening at (\S+)$", "\n".join(self.banner), re.MULTILINE)

    @property
    def url(self) -> str:
        """The first address."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """The first address's port."""
        return int(self.url.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait_logged(self, text: str) -> None:
        """Read the log until `text` is in it."""
        assert self.process.stderr is not None
        while text not in self.log:
            line = self.process.stderr.readline()
            assert line, f"ended without {text!r}: {self.log}"
            self.log += line

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and all of the log."""
        # Not by `communicate`: it would miss what `readline` has taken already.
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.banner += self.process.stdout.read().splitlines()
        self.log += self.process.stderr.read()
        return self.process.wait(PATIENCE), self.log


@contextmanager
def serving(
    *arguments: str, cwd: Path | None = None, command: Sequence[str] = PIPEBUS, addresses: int = 1
) -> Iterator[Serving]:
    """Serve by `pipebus` on a free port while the block runs; a SIGTERM ends it, with status 0."""
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Serving(process)
    try:
        server.wait_started(addresses)
        yield server
        if process.poll() is None:
            server.signal(signal.SIGTERM)
            status, log = server.end()
            assert status == 0, log
    finally:
        process.terminate()  # not killed at once: it may have a child to end
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
