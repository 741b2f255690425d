"""A user's service, as their type checker sees it: every common declaration once."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pipebus_asyncio
import pipebus_trio
from pipebus import (
    Context,
    Event,
    HTTPError,
    InlineContext,
    Limits,
    Pipeline,
    Request,
    RequestError,
    Response,
    StreamRequest,
    ThreadContext,
)


@dataclass
class State:
    """What the lifespan opens."""

    prices: dict[str, int]


@asynccontextmanager
async def lifespan() -> AsyncGenerator[State]:
    yield State(prices={"tea": 3})


pipeline = Pipeline("shop", lifespan=lifespan)


@pipeline.route("POST /orders/{name}")
async def order(request: Request, ctx: Context[State]) -> Response:
    name = request.path_params["name"]
    if name not in ctx.state.prices:
        raise HTTPError(404, "no such thing")
    price = await ctx.request("orders.price", {"name": name}, timeout=5)
    await ctx.publish("orders.created", name)
    upstream = await ctx.client.get("http://127.0.0.1:1/stock")
    return Response.json({"price": price, "stock": upstream.status}, status=201)


@pipeline.route("GET /health")
def health(request: Request) -> Response:
    return Response.text("ok" if request.body == b"" else request.text())


@pipeline.route("PUT /files/{rest...}", stream=True, max_body=None)
async def upload(request: StreamRequest, ctx: Context[State]) -> Response:
    size = 0
    async for chunk in request:
        size += len(chunk)
    return Response.json({"size": size, "deadline": ctx.deadline})


@pipeline.route("GET /report", thread=True)
def report(request: Request, ctx: ThreadContext[State]) -> Response:
    ctx.sleep(0.01)
    return Response.json(ctx.request("orders.price", {"name": request.query.get("name", "tea")}))


@pipeline.respond("orders.price")
def price(event: Event, ctx: InlineContext[State]) -> int:
    return ctx.state.prices[event.data["name"]]


@pipeline.subscribe("orders.>")
async def remember(event: Event) -> None:
    print(event.id, event.time)


@pipeline.tap("net.http.>")
def audit(event: Event) -> None:
    print(event.type, event.correlation_id)


async def on_trio() -> int:
    async with pipebus_trio.serve(pipeline, bind="127.0.0.1:0", limits=Limits()) as server:
        print(server.addresses)
        await server.bus.publish("orders.created", "tea")
        async with pipebus_trio.Client() as client:
            response = await client.post("http://127.0.0.1:1/orders/tea", body=b"x")
            return response.status


async def on_asyncio() -> object:
    async with pipebus_asyncio.serve(pipeline, bind="127.0.0.1:0") as server:
        try:
            return await server.bus.request("orders.price", {"name": "tea"}, timeout=1)
        except RequestError:
            return None


def main() -> None:
    pipebus_trio.run(pipeline, bind="127.0.0.1:8000")
