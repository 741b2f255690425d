"""Tell two subscribers of every order: one that must miss none, one that wants only the latest.

Run it by `pipebus serve examples.subscribers:pipeline`, order something by
`curl -d tea http://127.0.0.1:8000/orders`, and look by `curl http://127.0.0.1:8000/orders`. The
ledger is lossless: when its queue is full, `publish` waits, so that orders come in no faster than
they can be written down. The display is lossy: it is slower still, and nobody waits for it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipebus import Context, Event, Pipeline, Request, Response


@dataclass
class Shop:
    ledger: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    yield Shop()


pipeline = Pipeline("orders", lifespan=shop)


@pipeline.route("POST /orders")
async def order(request: Request, ctx: Context[Shop]) -> Response:
    await ctx.publish("orders.created", request.text())
    return Response(202)


@pipeline.route("GET /orders")
async def orders(request: Request, ctx: Context[Shop]) -> Response:
    return Response.json(ctx.state)


@pipeline.subscribe("orders.created", queue=16)
async def write_down(event: Event, ctx: Context[Shop]) -> None:
    await ctx.sleep(0.001)  # a disk, say
    ctx.state.ledger.append(event.data)


@pipeline.subscribe("orders.created", queue=1, overflow="drop_oldest")
async def show(event: Event, ctx: Context[Shop]) -> None:
    ctx.state.shown.append(event.data)
    await ctx.sleep(0.1)  # let people read it
