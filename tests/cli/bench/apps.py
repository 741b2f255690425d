"""Pipelines with one fault each, for `pipebus serve tests.cli.bench.apps:NAME`."""

import itertools
import time

from pipebus import Context, Event, InlineContext, Pipeline, Request, Response

fine = Pipeline[None]("fine")
wrong = Pipeline[None]("wrong")
slow = Pipeline[None]("slow")
lossy = Pipeline[None]("lossy")
failing = Pipeline[None]("failing")

_numbers = itertools.count(1)


@fine.route("/")
def echo(request: Request) -> Response:
    """Answer with the request's body."""
    return Response(200, request.body)


@wrong.route("/")
def wrong_once(request: Request) -> Response:
    """Leave out the end of the seventh body."""
    return Response(200, request.body[:-1] if next(_numbers) == 7 else request.body)


@slow.route("/")
def slow_echo(request: Request) -> Response:
    """Take 20 ms."""
    time.sleep(0.02)
    return Response(200, request.body)


@failing.route("/")
def failing_once(request: Request) -> Response:
    """Raise at the seventh request."""
    if next(_numbers) == 7:
        msg = "the seventh"
        raise RuntimeError(msg)
    return Response(200, request.body)


@lossy.route("/")
def telling(request: Request, ctx: InlineContext[None]) -> Response:
    """Tell a subscriber that is full what came."""
    for _ in range(3):
        ctx.publish_nowait("lossy.came", None)
    return Response(200, request.body)


@lossy.subscribe("lossy.came", queue=1, overflow="drop_newest")
async def take(event: Event, ctx: Context[None]) -> None:
    """Take one, and much time for it."""
    await ctx.sleep(60)


leaking = Pipeline[None]("leaking")
_kept: list[bytes] = []


@leaking.route("/")
def leak(request: Request) -> Response:
    """Keep 100 kB for each request."""
    _kept.append(b"x" * 100_000)
    return Response(200, request.body)
