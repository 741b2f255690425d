"""`--reload`: a parent that starts the command again whenever a source file changes."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import watchfiles

PATIENCE: Final = 5.0
"""How long a changed program may finish its requests, in seconds, before they are cut."""


class Reloader:
    """Runs a command as a child; ends it by SIGTERM, so that it drains.

    A signal to this process goes on to the child, the second one too. The child is in a session of
    its own: a terminal's Ctrl-C would reach it a second time.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._stop = threading.Event()
        self._child = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The command is this interpreter with the arguments that the user gave to it.
        return subprocess.Popen(self._command, start_new_session=True)  # noqa: S603

    def run(self, directory: Path) -> int:
        """Watch until a signal comes; return the exit status of the last child."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        changes = watchfiles.watch(
            directory, watch_filter=watchfiles.PythonFilter(), stop_event=self._stop, debounce=200
        )
        for changed in changes:
            names = sorted({Path(path).name for _, path in changed})
            print(f"changed: {', '.join(names)}; starting again", file=sys.stderr)
            self._end()
            self._child = self._start()
        return self._child.wait()

    def _pass_on(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        self._child.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.send_signal(signal.SIGTERM)
            self._child.wait()


def reload(arguments: Sequence[str]) -> int:
    """Run `pipebus` with `arguments`, again at every change below the current directory."""
    return Reloader([sys.executable, "-m", "pipebus_cli", *arguments]).run(Path.cwd())
