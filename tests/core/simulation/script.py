"""What a simulated handler does, as data: drawn from a seed, played by every handler alike."""

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Final, NamedTuple

from pipebus.errors import (
    ClientError,
    HTTPError,
    LocalProtocolError,
    PublishTimeout,
    RequestError,
    StreamInterrupted,
    WouldBlock,
    WouldDeadlock,
)
from pipebus.limits import Timeouts
from pipebus.pipeline.context import Context, InlineContext, ThreadContext

DOCUMENTED: Final = (
    RequestError, PublishTimeout, WouldDeadlock, WouldBlock, ClientError, StreamInterrupted,
    LocalProtocolError,
)  # fmt: skip
"""What a context's methods may raise."""

TOPICS: Final = ("lossless.a", "lossless.b", "latest", "first", "unheard")
ASKED: Final = ("ask.any", "ask.any", "ask.one", "ask.one", "ask.def", "ask.nobody")
UP: Final = "http://up"
PATIENCE: Final = Timeouts(connect=1.2, write=1.2, read=1.1, pool=1.1, total=1.5)
UPSTREAM: Final = ("/echo", "/slow", "/pieces", "/broken", "/refuse", "/stuck")


class Step(NamedTuple):
    """One thing to do; `script` travels with it and is what the receiver does."""

    kind: str
    topic: str = ""
    seconds: float = 0.0
    script: "Script" = ()
    catch: bool = True


Script = tuple[Step, ...]


SLEEP: Final = Step("sleep", seconds=1.3)
DYING: Final = (SLEEP, Step("stubborn"))
"""It runs on for a while after its time is up."""
THEMES: Final[tuple[Script, ...]] = (
    (SLEEP,),
    DYING,
    (Step("publish", "lossless.a", script=(SLEEP,)),) * 5,
    (Step("request", "ask.one", 0.9, (SLEEP,)),),
    (Step("at once", UP + "/stuck", catch=False),),
    (Step("upload", UP + "/stuck"), SLEEP),
    (Step("fetch", "http://silent/"), SLEEP),
    (Step("fetch", UP + "/slow"), SLEEP),
    (Step("stream", UP + "/pieces"), SLEEP),
)
"""What keeps a handler in one state for a while. With several at once, some have to wait."""


class Broke(Exception):
    """What a failing handler raises, and the pipeline has an error handler for."""


def draw_script(random: Random, depth: int = 2, longest: int = 3) -> Script:
    """Draw what a handler does; `depth` bounds how far it sets others to work."""
    return tuple(draw_step(random, depth) for _ in range(random.randrange(longest + 1)))


def plain(script: Script) -> Script:
    """Replace the steps whose end rightly depends on how bytes are cut.

    A response left early: what of it is unread. An upload to somebody who reads nothing: when the
    last byte was taken.
    """
    return tuple(
        step._replace(
            kind="stream" if step.kind == "glance" else step.kind,
            topic=step.topic.replace("/stuck", "/slow"),
            script=plain(step.script),
        )
        for step in script
    )


_LEAVES: Final = ("sleep",) * 4 + ("fail", "refuse", "hang", "stubborn")
_BRANCHES: Final = ("publish",) * 4 + ("nowait",) + ("request",) * 4
_CALLS: Final = ("fetch", "fetch", "stream", "glance", "upload", "at once")


def draw_step(random: Random, depth: int) -> Step:
    """Draw one step."""
    kind = random.choice(_LEAVES + (_BRANCHES + _CALLS) * bool(depth))
    catch = random.random() < 0.7
    if kind == "sleep":
        return Step(kind, seconds=round(random.choice((0.0, 0.01, 0.2, 1.0)), 3))
    if kind in ("publish", "nowait"):
        return Step(kind, random.choice(TOPICS), 0.0, draw_script(random, depth - 1, 2), catch)
    if kind == "request":
        patience = random.choice((0.1, 0.5, 9.0))
        inner = draw_script(random, depth - 1, 2)
        return Step(kind, random.choice(ASKED), patience, inner, catch)
    if kind in _CALLS:
        host = UP if random.random() < 0.8 else random.choice(("http://silent", "http://nowhere"))
        return Step(kind, host + random.choice(UPSTREAM), catch=catch)
    return Step(kind)


async def pieces(ctx: Context, size: int) -> AsyncIterator[bytes]:
    """Make a body of four pieces, slowly."""
    for _ in range(4):
        await ctx.sleep(0.02)
        yield bytes(size)


class Diary:
    """What became of every await of every handler, for the checks at the end."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.surprises: list[str] = []


async def play(ctx: Context, script: Script, diary: Diary) -> None:
    """Do what a script says; a documented error ends it, unless the step says otherwise."""
    for step in script:
        try:
            await _step(ctx, step)
        except DOCUMENTED as error:
            diary.ended[f"{step.kind}: {type(error).__name__}"] += 1
            if not step.catch:
                raise
        except (Broke, HTTPError):
            raise
        except Exception as error:
            diary.surprises.append(f"{step}: {error!r}")
            raise
        else:
            diary.ended[f"{step.kind}: ok"] += 1


async def _step(ctx: Context, step: Step) -> None:
    kind = step.kind
    if kind == "sleep":
        await ctx.sleep(step.seconds)
    elif kind == "publish":
        await ctx.publish(step.topic, step.script)
    elif kind == "nowait":
        ctx.publish_nowait(step.topic, step.script)
    elif kind == "request":
        await ctx.request(step.topic, step.script, timeout=step.seconds)
    elif kind == "hang":
        await ctx.sleep(10_000.0)
    elif kind == "stubborn":
        await _die_slowly(ctx)
    elif kind in ("fail", "refuse"):
        _fail(kind)
    else:
        await _call(ctx, step)


def _fail(kind: str) -> None:
    raise Broke if kind == "fail" else HTTPError(418)


async def _die_slowly(ctx: Context) -> None:
    try:
        await ctx.sleep(0.5)
    finally:
        await ctx.sleep(0.7)


async def _call(ctx: Context, step: Step) -> None:
    client, url = ctx.client, step.topic
    if step.kind == "fetch":
        await client.get(url, timeouts=PATIENCE)
    elif step.kind == "at once":
        await client.post(url, body=bytes(9_000), timeouts=PATIENCE)
    elif step.kind == "upload":
        await client.put(url, body=pieces(ctx, 3_000), timeouts=PATIENCE)
    else:
        async with client.stream("GET", url, timeouts=PATIENCE) as response:
            if step.kind == "stream":
                async for _ in response:
                    pass


def play_at_once(ctx: InlineContext | ThreadContext, script: Script, diary: Diary) -> None:
    """Do of a script what takes no time: all that a plain `def` may."""
    for step in script:
        if step.kind in ("fail", "refuse"):
            _fail(step.kind)
        if step.kind in ("publish", "nowait"):
            try:
                ctx.publish_nowait(step.topic, step.script)
            except WouldBlock as error:
                diary.ended[f"def: {type(error).__name__}"] += 1
            else:
                diary.ended["def: ok"] += 1
