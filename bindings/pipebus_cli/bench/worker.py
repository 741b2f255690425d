"""The process of the load generator: `python -m pipebus_cli.bench.worker`.

A job comes as one line of standard input, then a byte for it to begin; the end of input stops it. What
it tells goes to standard output.
"""

import gc
import os
import resource
import signal
import sys

import msgspec

from pipebus_cli.bench.job import Began, Job, Told
from pipebus_cli.bench.load import Load


def main() -> None:
    """Run one job."""
    # A terminal's Ctrl-C goes to the parent as well, which then closes standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _allow_descriptors()
    job = msgspec.json.decode(_line(), type=Job)
    load = Load(job, tell, stop_fd=sys.stdin.fileno())
    # What is here now stays: the collector need not look at it while latencies are measured.
    gc.collect()
    gc.freeze()
    tell(load.run())


def tell(what: Told) -> None:
    """Write one line to the parent, who looks at the server before it is measured."""
    data = msgspec.json.encode(what) + b"\n"
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
    if isinstance(what, Began):
        os.read(sys.stdin.fileno(), 1)


def _line() -> bytes:
    """Read a line and no more: the loop waits for what comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            sys.exit("no job")
        line += piece
    return line


def _allow_descriptors() -> None:
    """Raise the limit of open files as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
