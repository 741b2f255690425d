"""`python -m benchmarks.apps.client_load CONTENDER WIRE PORT`: asks a server, many times at once.

A question on stdin (one line of JSON: `in_flight`, `seconds`) begins a fresh client and a fresh
event loop; the answer on stdout is what the measured time took, begun once everything is warm.
"""

import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import aiohttp
import anyio
import httpx

from benchmarks.load import Message, percentiles
from pipebus.limits import ClientLimits

Ask = Callable[[], Awaitable[None]]
"""Send the request and raise unless the answer is its echo."""

MESSAGE: Final = Message()
BODY: Final = MESSAGE.body
FIELDS: Final = MESSAGE.fields
WARM_UP: Final = 0.3
# For all the same, so that none opens and closes connections while it is measured: the default
# pools keep between 10 and 100 of them.
KEPT: Final = 100


def require(right: bool) -> None:
    if not right:
        raise RuntimeError("the answer is not the echo")


def pipebus(runtime: str, wire: str) -> Callable[[str], AbstractAsyncContextManager[Ask]]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Ask]:
        limits = ClientLimits(max_connections=KEPT, max_idle_per_origin=KEPT)
        module = importlib.import_module(f"pipebus_{runtime}")
        async with module.Client(limits=limits, wire=wire) as client:

            async def ask() -> None:
                response = await client.post(url, headers=FIELDS, body=BODY)
                require(response.status == 200 and response.body == BODY)

            yield ask

    return opened


@asynccontextmanager
async def httpx_opened(url: str) -> AsyncIterator[Ask]:
    limits = httpx.Limits(max_connections=KEPT, max_keepalive_connections=KEPT)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def ask() -> None:
            response = await client.post(url, headers=FIELDS, content=BODY)
            require(response.status_code == 200 and response.content == BODY)

        yield ask


@asynccontextmanager
async def aiohttp_opened(url: str) -> AsyncIterator[Ask]:
    connector = aiohttp.TCPConnector(limit=KEPT)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            async with session.post(url, headers=FIELDS, data=BODY) as response:
                require(response.status == 200 and await response.read() == BODY)

        yield ask


async def load(ask: Ask, in_flight: int, seconds: float) -> list[float]:
    """Keep so many requests under way; return how long each took."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def one_after_the_other() -> None:
        while (began := time.perf_counter()) < until:
            await ask()
            latencies.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(one_after_the_other)
    return latencies


async def measured(
    opened: AbstractAsyncContextManager[Ask], in_flight: int, seconds: float
) -> dict[str, float]:
    async with opened as ask:
        await load(ask, in_flight, WARM_UP)
        cpu, began = time.process_time(), time.perf_counter()
        latencies = await load(ask, in_flight, seconds)
        took = time.perf_counter() - began
        cpu = time.process_time() - cpu
    p50, p99 = percentiles(latencies)
    count = len(latencies)
    return {"rate": count / took, "p50": p50, "p99": p99, "cpu": cpu / count, "failed": 0}


def main() -> None:
    name, wire, port = sys.argv[1:]
    url = f"http://127.0.0.1:{port}/echo"
    package, runtime = name.split()
    options: dict[str, Any] = {"backend": runtime}
    if runtime == "uvloop":
        options = {"backend": "asyncio", "backend_options": {"use_uvloop": True}}
    clients = {"pipebus": pipebus(runtime, wire), "httpx": httpx_opened, "aiohttp": aiohttp_opened}
    for line in sys.stdin:
        question = json.loads(line)
        opened = clients[package](url)
        answer = anyio.run(measured, opened, question["in_flight"], question["seconds"], **options)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
