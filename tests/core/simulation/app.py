"""The program under simulation: handlers of every kind, all playing scripts; and its upstream."""

from collections.abc import AsyncIterator

from pipebus.bus.event import Event
from pipebus.http.message import Request, RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, InlineContext, ThreadContext
from pipebus.pipeline.declare import Pipeline
from tests.core.simulation.script import Broke, Diary, Script, play, play_at_once

LIMITS = Limits(
    max_connections=9,
    max_in_flight=6,
    max_buffered=6_000,
    buffered_wait=0.4,
    max_body=5_000,
    request_timeout=1.6,
    read_ahead=1_000,
    write_high_water=2_000,
    head_timeout=1.1,
    body_timeout=0.8,
    idle_timeout=1.7,
    write_timeout=0.9,
    stream_idle=0.7,
    half_close_grace=0.3,
    linger_timeout=0.5,
    grace=1.0,
    publish_timeout=0.8,
    taps_per_sweep=100_000,  # the recorder misses nothing when queues are dropped at the end
)


class Seen:
    """What subscribers were given: the serial numbers of events, in order, by subscriber."""

    def __init__(self) -> None:
        self.serials: dict[str, list[int]] = {}

    def note(self, who: str, event: Event) -> None:
        self.serials.setdefault(who, []).append(int(event.id.rpartition("-")[2]))


class App:
    """A pipeline, the scripts of its requests, and what is observed from within its handlers.

    `slow_reader`: a streamed request is read slowly, piece by piece.
    """

    def __init__(self, *, audited: bool, slow_reader: bool) -> None:
        self.slow_reader = slow_reader
        self.scripts: dict[str, Script] = {}
        self.diary = Diary()
        self.seen = Seen()
        self.pipeline: Pipeline[None] = Pipeline("app")
        self._routes()
        self._streams()
        self._responders()
        self._subscribers()
        if audited:
            self._auditors()

    def script_of(self, request: RequestInfo) -> Script:
        return self.scripts[request.path_params["key"]]

    def _routes(self) -> None:
        pipeline, diary = self.pipeline, self.diary

        @pipeline.route("/do/{key}")
        async def do(request: Request, ctx: Context) -> Response:
            await play(ctx, self.script_of(request), diary)
            return Response(200, request.body)

        @pipeline.route("/one/{key}", concurrency=1, queue=2)
        async def one(request: Request, ctx: Context) -> Response:
            await play(ctx, self.script_of(request), diary)
            return Response(200, request.body)

        @pipeline.route("/def/{key}")
        def inline(request: Request, ctx: InlineContext) -> Response:
            play_at_once(ctx, self.script_of(request), diary)
            return Response(200, request.body)

        @pipeline.route("/thread/{key}", thread=True)
        def thread(request: Request, ctx: ThreadContext) -> Response:
            play_at_once(ctx, self.script_of(request), diary)
            return Response(200, request.body)

        @pipeline.route("/big/{key}")
        def big(request: Request) -> Response:
            return Response(200, bytes(12_000))

        @pipeline.route("/wrong/{key}")
        def wrong(request: Request) -> Response:
            return None  # type: ignore[return-value]  # a mistake that programs make

        @pipeline.on_error(Broke)
        async def broke(error: Broke, request: RequestInfo, /) -> Response:
            return Response.text("broke", status=402)

    def _streams(self) -> None:
        pipeline, diary = self.pipeline, self.diary

        @pipeline.route("/up/{key}", stream=True)
        async def up(request: StreamRequest, ctx: Context) -> Response:
            got: list[bytes] = []
            async for piece in request:
                got.append(piece)
                if self.slow_reader:
                    await ctx.sleep(0.05)
            await play(ctx, self.script_of(request), diary)
            return Response(200, b"".join(got))

        @pipeline.route("/refuse/{key}", stream=True)
        async def refuse(request: StreamRequest) -> Response:
            return Response(403)

        @pipeline.route("/down/{key}")
        async def down(request: Request, ctx: Context) -> Response:
            body = self._stream(ctx, self.script_of(request))
            known = 4 * 1_500 if len(request.path_params["key"]) % 2 else None
            return Response.stream(body, content_length=known)

        @pipeline.route("/events/{key}")
        async def events(request: Request, ctx: Context) -> Response:
            async def ticks() -> AsyncIterator[str]:
                for _ in range(3):
                    await ctx.sleep(0.3)
                    yield "tick"

            return Response.events(ticks())

    async def _stream(self, ctx: Context, script: Script) -> AsyncIterator[bytes]:
        for _ in range(2):
            yield bytes(1_500)
        await play(ctx, script, self.diary)
        for _ in range(2):
            yield bytes(1_500)

    def _responders(self) -> None:
        pipeline, diary = self.pipeline, self.diary

        async def answer(event: Event, ctx: Context) -> object:
            await play(ctx, event.data, diary)
            return event.id

        pipeline.respond("ask.any")(answer)
        pipeline.respond("ask.one", concurrency=1, queue=1, timeout=0.7)(answer)

        @pipeline.respond("ask.def")
        def at_once(event: Event, ctx: InlineContext) -> object:
            play_at_once(ctx, event.data, diary)
            return event.id

    def _subscribers(self) -> None:
        pipeline, diary, seen = self.pipeline, self.diary, self.seen

        @pipeline.subscribe("lossless.*", queue=1)
        async def lossless(event: Event, ctx: Context) -> None:
            seen.note("lossless", event)
            await ctx.sleep(0.05)
            await play(ctx, event.data, diary)

        @pipeline.subscribe("lossless.a", queue=2)
        def other(event: Event, ctx: InlineContext) -> None:
            seen.note("other", event)
            play_at_once(ctx, event.data, diary)

        @pipeline.subscribe("latest", queue=1, overflow="drop_oldest")
        async def latest(event: Event, ctx: Context) -> None:
            seen.note("latest", event)
            await play(ctx, event.data, diary)

        @pipeline.subscribe("first", queue=1, overflow="drop_newest", thread=True)
        def first(event: Event, ctx: ThreadContext) -> None:
            seen.note("first", event)
            play_at_once(ctx, event.data, diary)

        @pipeline.tap("*.a", queue=2)
        async def tap(event: Event, ctx: Context) -> None:
            seen.note("tap", event)
            await ctx.sleep(0.1)
            if len(event.data) == 1:
                raise Broke

    def _auditors(self) -> None:
        pipeline, seen = self.pipeline, self.seen

        @pipeline.subscribe("net.http.*", queue=1)
        async def auditor(event: Event, ctx: Context) -> None:
            seen.note("auditor", event)
            await ctx.sleep(0.15)

        @pipeline.subscribe("net.connection.*", queue=1)
        async def doorman(event: Event, ctx: Context) -> None:
            seen.note("doorman", event)
            await ctx.sleep(0.2)


def upstream() -> Pipeline[None]:
    """Make what the program's outgoing calls meet."""
    pipeline: Pipeline[None] = Pipeline("up")

    @pipeline.route("/echo", concurrency=1, queue=4)
    async def echo(request: Request, ctx: Context) -> Response:
        await ctx.sleep(0.02)
        return Response(200, request.body)

    @pipeline.route("/slow")
    async def slow(request: Request, ctx: Context) -> Response:
        await ctx.sleep(1.2)
        return Response(200, b"at last")

    @pipeline.route("/pieces")
    async def pieces(request: Request, ctx: Context) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(5):
                await ctx.sleep(0.1)
                yield b"piece"

        return Response.stream(body())

    @pipeline.route("/broken")
    async def broken(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"some"
            raise Broke

        return Response.stream(body())

    @pipeline.route("/refuse", stream=True)
    async def refuse(request: StreamRequest) -> Response:
        return Response(403)

    @pipeline.route("/stuck", stream=True)
    async def stuck(request: StreamRequest, ctx: Context) -> Response:
        await ctx.sleep(1.3)  # and reads nothing: the caller is stopped while it sends
        return Response(200, b"".join([piece async for piece in request]))

    return pipeline
