"""A POST of 230 bytes and its echo."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.case import Case, Column, Measure, Setup, Values, Variant, both_builds
from benchmarks.load import Message
from benchmarks.servers import ASYNCIO_DEF, SERVERS, TRIO_DEF, UVICORN, WARM_UP, Server, all_running

_LOADS: Final = {
    f"{connections} connection{'s' * (connections > 1)}, {headers} headers": (connections, headers)
    for headers in (3, 10)
    for connections in (64, 10, 1)
}
ONE: Final = "1 connection, 3 headers"
COLUMNS: Final = (
    Column("rate", "req/s"),
    Column("p50", "p50 ms", 1e3, 2),
    Column("p99", "p99 ms", 1e3, 2),
    Column("cpu", "CPU us/req", 1e6, 1),
    Column("memory", "peak MB", 1e-6),
)


@contextmanager
def _opened(setup: Setup, names: Sequence[str]) -> Iterator[Measure]:
    def measure(server: Server, variant: str, seconds: int) -> Values:
        connections, headers = _LOADS[variant]
        return server.measure(setup, connections, seconds, Message(headers=headers))

    with all_running(setup, names, Message(), WARM_UP, measure) as ready:
        yield ready


CASE: Final = Case(
    name="echo",
    title="Echo: POST of 230 bytes, keep-alive",
    contenders=tuple(SERVERS),
    # The median latency of one connection is compared to within a tenth: that wants more rounds.
    variants=tuple(
        Variant(name, 7, (*both_builds(ASYNCIO_DEF, TRIO_DEF), UVICORN))
        if name == ONE
        else Variant(name)
        for name in _LOADS
    ),
    columns=COLUMNS,
    cost="cpu",
    opened=_opened,
    quick_contenders=(ASYNCIO_DEF, TRIO_DEF, UVICORN),
    quick_variants=("64 connections, 3 headers",),
)
