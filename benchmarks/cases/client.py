"""HTTP clients, against a server that only sends a constant."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.case import COMPILED, Case, Column, Measure, Setup, Values, Variant
from benchmarks.processes import Usage, Worker, environment, python_for, started
from benchmarks.servers import free_port, wait_for

ASYNCIO: Final = "pipebus asyncio"
TRIO: Final = "pipebus trio"
AIOHTTP: Final = "aiohttp uvloop"
HTTPX: Final = "httpx asyncio"
HTTPX_TRIO: Final = "httpx trio"
TEN: Final = "10 in flight"
_IN_FLIGHT: Final = {TEN: 10, "64 in flight": 64, "1 in flight": 1}


@contextmanager
def _opened(setup: Setup, names: Sequence[str]) -> Iterator[Measure]:
    port = free_port()
    server = [str(setup.python), "-m", "benchmarks.apps.constant_server", str(port)]
    with ExitStack() as stack:
        child = started(server, setup.load_core, environment(setup.python))
        process = stack.enter_context(child)
        wait_for(port, process)
        clients: dict[str, tuple[Worker, Usage]] = {}
        for name in names:
            python, environ = python_for(setup, name)
            how = [name.removesuffix(COMPILED), setup.wire, str(port)]
            command = [str(python), "-m", "benchmarks.apps.client_load", *how]
            child = started(command, setup.measured_core, environ, talks=True)
            process = stack.enter_context(child)
            clients[name] = Worker(process), Usage(process.pid)

        def measure(name: str, variant: str, seconds: int) -> Values:
            worker, usage = clients[name]
            usage.forget_peak()
            values: Values = worker.ask(in_flight=_IN_FLIGHT[variant], seconds=seconds)
            return {**values, "memory": usage.peak_memory()}

        yield measure


CASE: Final = Case(
    name="client",
    title="Clients: POST of 230 bytes to a server that sends a constant, keep-alive",
    contenders=(ASYNCIO, TRIO, ASYNCIO + COMPILED, TRIO + COMPILED, AIOHTTP, HTTPX, HTTPX_TRIO),
    variants=tuple(map(Variant, _IN_FLIGHT)),
    columns=(
        Column("rate", "req/s"),
        Column("p50", "p50 ms", 1e3, 2),
        Column("p99", "p99 ms", 1e3, 2),
        Column("cpu", "client's CPU us/req", 1e6, 1),
        Column("memory", "peak MB", 1e-6),
    ),
    cost="cpu",
    opened=_opened,
    quick_contenders=(ASYNCIO, TRIO, AIOHTTP),
    quick_variants=(TEN,),
)
