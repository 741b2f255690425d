"""What a command fails with where a traceback would not help."""

import re
import ssl
from typing import Final

_OPENSSL: Final = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")
FAILED: Final = 1
USAGE: Final = 2


class CliError(Exception):
    """Ends the command with one line. `status` 1 (default): it failed; 2: it was asked wrongly.

    `trace` is what is written below it: where in the user's code it was.
    """

    def __init__(self, message: str, status: int = FAILED, *, trace: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.trace = trace


def explain(error: BaseException) -> str:
    """Say what an exception means, without the numbers and source lines that Python adds."""
    if isinstance(error, ssl.SSLError):
        return _OPENSSL.sub("", str(error)).lower()
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return str(error) or type(error).__name__
