"""Poison for the core: clocks, randomness and sockets that refuse it, however they are reached.

The linters see what a file imports. They do not see a module of the standard library that looks at
the clock on the core's behalf. So these functions look at who calls: frames of the standard
library are passed over, and if the next one is a file of the core, the test fails. What they cannot
see is a module that took a name out of `time` or `random` when it was imported.
"""

import os
import random
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, ParamSpec, TypeVar

import pytest

import pipebus

P = ParamSpec("P")
T = TypeVar("T")

CORE: Final = str(Path(pipebus.__file__).parent) + os.sep
TESTING: Final = CORE + "testing" + os.sep
STDLIB: Final = (sysconfig.get_path("stdlib") + os.sep, sysconfig.get_path("platstdlib") + os.sep)
PACKAGES: Final = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})

CLOCKS: Final = tuple(
    name
    for name in (
        *("time", "monotonic", "perf_counter", "process_time", "thread_time"),
        *("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns"),
        *("clock_gettime", "clock_gettime_ns", "gmtime", "localtime", "sleep"),
    )
    if hasattr(time, name)
)
DICE: Final = (
    *("random", "seed", "getrandbits", "randbytes", "randrange", "randint", "uniform", "choice"),
    *("choices", "shuffle", "sample", "gauss", "expovariate", "triangular"),
)


def core_caller(frame: FrameType | None) -> str | None:
    """Return the file of the nearest frame outside the standard library if it is the core's."""
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(CORE):
            return filename
        generated = filename.startswith("<")  # frozen importlib, a dataclass's methods
        if not generated and (not filename.startswith(STDLIB) or filename.startswith(PACKAGES)):
            return None
        frame = frame.f_back
    return None


def refuse(name: str, caller: str) -> None:
    """Fail with what no `except Exception` in between can hide."""
    pytest.fail(f"the core is pure, and {caller.removeprefix(CORE)} called {name}")


def poisoned(name: str, function: Callable[P, T]) -> Callable[P, T]:
    """Return `function` for everybody but the core."""

    def guard(*args: P.args, **kwargs: P.kwargs) -> T:
        caller = core_caller(sys._getframe(1))
        if caller is not None:
            refuse(name, caller)
        return function(*args, **kwargs)

    return guard


class PoisonedSocket(socket.socket):
    """A socket for everybody but the core."""

    def __init__(self, *args: int, **kwargs: int) -> None:
        caller = core_caller(sys._getframe(1))
        if caller is not None:
            refuse("socket.socket", caller)
        super().__init__(*args, **kwargs)


class PoisonedRandom(random.Random):
    """A generator for everybody but the core, whose `testing` may have a seeded one."""

    def __init__(self, seed: float | str | bytes | None = None) -> None:
        caller = core_caller(sys._getframe(1))
        if caller is not None and (seed is None or not caller.startswith(TESTING)):
            refuse("random.Random", caller)
        super().__init__(seed)


@contextmanager
def poison() -> Iterator[None]:
    """Put the poisoned functions in the place of the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CLOCKS:
            patch.setattr(time, name, poisoned(f"time.{name}", getattr(time, name)))
        for name in DICE:
            patch.setattr(random, name, poisoned(f"random.{name}", getattr(random, name)))
        patch.setattr(os, "urandom", poisoned("os.urandom", os.urandom))
        # SystemRandom, and `secrets` and `uuid` with it, holds the function under another name.
        patch.setattr(random, "_urandom", os.urandom)
        patch.setattr(random, "Random", PoisonedRandom)
        patch.setattr(socket, "socket", PoisonedSocket)
        yield
