"""Proof that the poison of the core suite bites the core, and nobody else."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.poison import CLOCKS, CORE, DICE, TESTING, poison

CALLS = (
    *(f"import time; time.{name}" for name in CLOCKS),
    *(f"import random; random.{name}" for name in DICE),
    "import os; os.urandom",
    "import socket; socket.socket",
    "import random; random.Random",
    "import random; random.SystemRandom().random",
    "import secrets; secrets.token_hex",
    "import uuid; uuid.uuid4",
    "import email.utils; email.utils.formatdate",
    "import socket; socket.create_server",
)
ARGUMENTS = {
    **dict.fromkeys(["sleep", "clock_gettime", "clock_gettime_ns"], (0,)),
    **dict.fromkeys(["getrandbits", "randbytes", "randrange", "urandom"], (1,)),
    **dict.fromkeys(["randint", "uniform", "gauss"], (0, 1)),
    **dict.fromkeys(["choice", "choices", "shuffle"], ([1],)),
    "sample": ([1], 1),
    "expovariate": (1.0,),
    "create_server": (("127.0.0.1", 0),),
}


def function_in(filename: str, call: str, arguments: tuple[object, ...]) -> Callable[[], Any]:
    """Compile `call` as if it stood in `filename`."""
    imports, _, expression = call.rpartition(";")
    source = f"def run():\n    {imports}\n    return {expression.strip()}(*arguments)\n"
    namespace: dict[str, Any] = {"arguments": arguments}
    exec(compile(source, filename, "exec"), namespace)  # the only way to another file's frame
    run: Callable[[], Any] = namespace["run"]
    return run


def arguments_of(call: str) -> tuple[object, ...]:
    return ARGUMENTS.get(call.rpartition(".")[2], ())


@pytest.mark.parametrize("call", CALLS)
def test_the_core_is_refused(call: str) -> None:
    run = function_in(CORE + "http/dispatch.py", call, arguments_of(call))
    with poison(), pytest.raises(pytest.fail.Exception, match=r"http/dispatch\.py called "):
        run()


@pytest.mark.parametrize("call", [c for c in CALLS if "socket" not in c])
@pytest.mark.parametrize("filename", ["/somewhere/test_it.py", "/venv/site-packages/h11/_x.py"])
def test_others_are_served(call: str, filename: str) -> None:
    with poison():
        function_in(filename, call, arguments_of(call))()


def test_an_exception_handler_of_the_core_does_not_hide_it() -> None:
    source = (
        "def run():\n    try:\n        time.time()\n    except Exception:\n        return None\n"
    )
    namespace: dict[str, Any] = {"time": time}
    exec(compile(source, CORE + "bus/bus.py", "exec"), namespace)
    with poison(), pytest.raises(pytest.fail.Exception):
        namespace["run"]()


def test_a_test_that_calls_the_core_may_read_the_clock_itself() -> None:
    """Only the nearest caller counts: a callback of a test below a frame of the core is not it."""
    namespace: dict[str, Any] = {}
    exec(compile("def run(call):\n    return call()\n", CORE + "bus/bus.py", "exec"), namespace)
    with poison():
        assert namespace["run"](lambda: time.monotonic()) > 0


def test_testing_may_seed_a_generator_and_nothing_else() -> None:
    with poison():
        seeded = function_in(TESTING + "network.py", "import random; random.Random", (7,))()
        assert isinstance(seeded, random.Random)
        with pytest.raises(pytest.fail.Exception):
            function_in(TESTING + "network.py", "import random; random.Random", ())()
        with pytest.raises(pytest.fail.Exception):
            function_in(TESTING + "network.py", "import random; random.random", ())()


def test_the_world_is_whole_again_afterwards() -> None:
    before = (time.time, random.Random, random.random)
    with poison():
        assert time.time is not before[0]
    assert (time.time, random.Random, random.random) == before
