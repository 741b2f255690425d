"""The bus alone: no socket, no HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.case import COMPILED, Case, Column, Measure, Setup, Values, Variant
from benchmarks.processes import Worker, python_for, started

SIZES: Final = (1, 10, 100, 1_000, 10_000)
CORE: Final = "pipebus core"
EXACT: Final = "publish + take, exact"
WILDCARD: Final = "publish + take, wildcard"
EXACT_NEW: Final = "publish + take, exact, new topic each time"
WILDCARD_NEW: Final = "publish + take, wildcard, new topic each time"
REQUEST: Final = "request / reply"
# The kinds of benchmarks.apps.bus_load, which runs in an environment of its own.
KINDS: Final = {
    EXACT: "exact",
    WILDCARD: "wildcard",
    EXACT_NEW: "exact, new topic each time",
    WILDCARD_NEW: "wildcard, new topic each time",
    REQUEST: "request",
}


@contextmanager
def _opened(setup: Setup, names: Sequence[str]) -> Iterator[Measure]:
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            python, environ = python_for(setup, name)
            contender = name.removesuffix(COMPILED)
            command = [str(python), "-m", "benchmarks.apps.bus_load", contender]
            child = started(command, setup.measured_core, environ, talks=True)
            workers[name] = Worker(stack.enter_context(child))

        def measure(name: str, variant: str, seconds: int) -> Values | None:
            values: dict[str, float] = {"failed": 0}
            for size in SIZES:
                found = workers[name].ask(
                    kind=KINDS[variant], subscriptions=size, seconds=seconds / len(SIZES) / 4
                )
                if found is None:
                    return None
                values[str(size)] = found["cpu"]
                values["failed"] += found["failed"]
            return values

        yield measure


CASE: Final = Case(
    name="bus",
    title="The bus alone: CPU us for an event or request, with 1 to 10,000 patterns of which one matches",
    contenders=(
        CORE,
        CORE + COMPILED,
        "pipebus asyncio",
        "pipebus trio",
        "blinker",
        "pyee",
        "bubus",
    ),
    variants=tuple(map(Variant, KINDS)),
    columns=tuple(Column(str(size), f"us with {size:,}", 1e6, 2) for size in SIZES),
    cost="1",
    opened=_opened,
    quick_contenders=(CORE, "blinker"),
    quick_variants=(EXACT, WILDCARD_NEW, REQUEST),
)
