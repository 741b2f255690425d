"""Large bodies: 1 MB there and back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.case import COMPILED, Case, Column, Measure, Setup, Values, Variant, both_builds
from benchmarks.load import Message
from benchmarks.servers import (
    ASYNCIO_DEF,
    ASYNCIO_H11,
    SERVERS,
    TRIO_DEF,
    TRIO_H11,
    UVICORN,
    Server,
    all_running,
)  # fmt: skip

MEGABYTE: Final = 1_000_000
VARIANT: Final = "4 connections"
WARM_UP: Final = 20


@contextmanager
def _opened(setup: Setup, names: Sequence[str]) -> Iterator[Measure]:
    message = Message(size=MEGABYTE)

    def measure(server: Server, _: str, seconds: int) -> Values:
        return server.measure(setup, 4, seconds, message)

    with all_running(setup, names, message, WARM_UP, measure) as ready:
        yield ready


CASE: Final = Case(
    name="large",
    title="Large bodies: POST of 1 MB (1,000,000 bytes) and its echo, keep-alive",
    # A codec takes heads apart: it makes no difference here.
    contenders=tuple(n for n in SERVERS if n.removesuffix(COMPILED) not in (ASYNCIO_H11, TRIO_H11)),
    variants=(Variant(VARIANT, 7, (*both_builds(ASYNCIO_DEF, TRIO_DEF), UVICORN)),),
    columns=(
        Column("rate", "req/s"),
        Column("p50", "p50 ms", 1e3, 2),
        Column("p99", "p99 ms", 1e3, 2),
        Column("cpu", "CPU us/MB", 1e6),
        Column("memory", "peak MB", 1e-6, 1),
    ),
    cost="cpu",
    opened=_opened,
    quick_contenders=(ASYNCIO_DEF, TRIO_DEF, UVICORN),
    quick_variants=(VARIANT,),
)
