"""Ask and answer between the parts of one program: no HTTP, no port.

`python examples/without_http.py` runs it on asyncio, with `trio` behind it on trio. Every request
has one outcome: the reply, or an exception that says what became of it.
"""

import asyncio
import sys

import anyio.to_thread
import trio

import pipebus_asyncio
import pipebus_trio
from pipebus import Context, Event, NoResponder, Pipeline, RequestTimeout, ResponderFailed
from pipebus_anyio.server import Server

PRICES = {"tea": 3, "coffee": 4}

pipeline = Pipeline("prices")


@pipeline.respond("prices.one")
def one(event: Event) -> int:
    return PRICES[event.data]


@pipeline.respond("prices.many")
async def many(event: Event, ctx: Context) -> int:
    prices = [await ctx.request("prices.one", name) for name in event.data]
    return sum(prices)


@pipeline.respond("prices.tomorrow")
async def tomorrow(event: Event, ctx: Context) -> int:
    await ctx.sleep(24 * 60 * 60)
    return 5


async def ask(server: Server) -> None:
    bus = server.bus
    print("tea:", await bus.request("prices.one", "tea"))
    print("tea and coffee:", await bus.request("prices.many", ["tea", "coffee"]))
    try:
        await bus.request("prices.one", "gold")
    except ResponderFailed as error:
        print("gold:", repr(error.__cause__))
    try:
        await bus.request("prices.tomorrow", timeout=0.1)
    except RequestTimeout:
        print("tomorrow: not known in time")
    try:
        await bus.request("prices.yesterday")
    except NoResponder:
        print("yesterday: nobody answers that")
    # Any other thread may ask as well; it blocks until it has its answer.
    blocking = bus.from_thread.request
    print("tea, from a thread:", await anyio.to_thread.run_sync(blocking, "prices.one", "tea"))


async def on_asyncio() -> None:
    async with pipebus_asyncio.serve(pipeline, bind=()) as server:
        await ask(server)


async def on_trio() -> None:
    async with pipebus_trio.serve(pipeline, bind=()) as server:
        await ask(server)


if __name__ == "__main__":
    if "trio" in sys.argv:
        trio.run(on_trio)
    else:
        asyncio.run(on_asyncio())
