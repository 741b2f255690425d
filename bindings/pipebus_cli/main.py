"""The entry point: from arguments to an exit status, every error a line."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from pipebus_cli.errors import CliError

_EXTRA: Final = frozenset({"cyclopts", "rich", "trio", "watchfiles"})
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    `arguments` are the process's by default. 0: it did what was asked; 1: it could not; 2: it was
    asked wrongly. What went wrong is one line on standard error; where the user's code raised it, a
    traceback follows.
    """
    try:
        from pipebus_cli.app import run  # needs the extra

        return run(list(sys.argv[1:] if arguments is None else arguments))
    except CliError as error:
        return fail(str(error), error.status, error.trace)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        return fail(f"{error.name} is not installed: pip install pipebus[cli]", 1)
    except BrokenPipeError:
        # Whoever read the output has gone. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return fail("nobody reads the output any more", 1)
    except KeyboardInterrupt:
        return _INTERRUPTED


def fail(message: str, status: int, trace: str = "") -> int:
    """Print an error as one line, and `trace` below it; return `status`."""
    print("pipebus: error:", " ".join(message.split()), file=sys.stderr)
    print(end=trace, file=sys.stderr)
    return status
