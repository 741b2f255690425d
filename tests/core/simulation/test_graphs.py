"""Random graphs of handlers, circles included, come to rest by themselves: no wait lasts for ever.

The bus alone is tested so in `tests/core/bus/test_handler_graphs.py`; here its edges are those that
the engine tells it, handlers are tasks, and the timeouts are the engine's.
"""

from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

import pytest

from pipebus.bus.event import Event
from pipebus.errors import PublishTimeout, RequestError, WouldDeadlock
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation
from pipebus.testing.simulation import left_behind

pytestmark = pytest.mark.untraced

LIMITS: Final = Limits(publish_timeout=4.0, request_timeout=6.0, subscription_queue=1)
ROUNDING: Final = 1e-6
Deed = tuple[str, str, float]


class Graph:
    """A pipeline whose handlers set one another to work until their hops are used up."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.topics = [f"t{number}" for number in range(random.randint(1, 4))]
        self.questions = [f"q{number}" for number in range(random.randint(1, 3))]
        self.seen: Counter[str] = Counter()
        self.longest: dict[str, float] = {"publish": 0.0, "request": 0.0}
        self.pipeline: Pipeline[None] = Pipeline()
        for topic in [*self.topics, *self.topics[:2], self.questions[0]]:
            self._subscriber(topic, self._deeds())
        for question in self.questions:
            self._responder(question, self._deeds())
        deeds = self._deeds() + self._deeds()

        @self.pipeline.route("GET /")
        async def root(request: Request, ctx: Context) -> Response:
            await self._work(ctx, deeds, 4)
            return Response()

    def _deeds(self) -> list[Deed]:
        random = self.random
        kinds = random.choices(("publish", "request", "sleep"), (3, 3, 1), k=random.randint(0, 2))
        return [
            (
                kind,
                random.choice(self.topics if kind == "publish" else self.questions),
                random.choice((0.0, 0.5, 2.0)),
            )
            for kind in kinds
        ]

    def _subscriber(self, topic: str, deeds: list[Deed]) -> None:
        queue = self.random.randint(1, 2)

        @self.pipeline.subscribe(topic, queue=queue)
        async def subscriber(event: Event, ctx: Context) -> None:
            await self._work(ctx, deeds, event.data)

    def _responder(self, question: str, deeds: list[Deed]) -> None:
        slots, queue = self.random.randint(1, 2), self.random.randint(0, 3)

        @self.pipeline.respond(question, concurrency=slots, queue=queue)
        async def responder(event: Event, ctx: Context) -> None:
            await self._work(ctx, deeds, event.data)

    async def _work(self, ctx: Context, deeds: list[Deed], hops: int) -> None:
        for kind, topic, seconds in deeds if hops else ():
            if kind == "sleep":
                await ctx.sleep(seconds)
            elif kind == "publish":
                await self._timed(kind, ctx.publish(topic, hops - 1))
            else:
                await self._timed(kind, ctx.request(topic, hops - 1))

    async def _timed(self, kind: str, wait: Coroutine[Any, Any, object]) -> None:
        started = self.app.world.now
        try:
            await wait
        except (WouldDeadlock, PublishTimeout, RequestError) as error:
            self.seen[type(error).__name__] += 1
        finally:
            took = self.app.world.now - started
            self.longest[kind] = max(self.longest[kind], took)

    def rest(self) -> None:
        """Set it going, and let time pass until nothing would ever happen any more."""
        self.app = app = Simulation(self.pipeline, limits=LIMITS)
        with app:
            engine, now = app.engine, app.world.now
            calls = [engine.publish(topic, 4, now) for topic in self.topics * 2]
            calls += [engine.request(question, 4, now) for question in self.questions * 2]
            answer = app.start("GET", "/")
            app.server.pump()
            app.advance(1_000.0)
            assert all(call.done for call in calls)
            assert answer.done
            assert app.server.tasks == 0
            assert {key: n for key, n in left_behind(engine).items() if n} == {}
            assert engine.bus.settled
            assert app.world.next_moment() is None


@pytest.mark.parametrize("block", range(6))
def test_every_wait_ends_within_its_bound(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(block * 40, block * 40 + 40):
        graph = Graph(seed)
        graph.rest()
        seen.update(graph.seen)
        assert graph.longest["publish"] <= LIMITS.publish_timeout + ROUNDING, seed
        # A request may also wait for room for its own event.
        bound = LIMITS.request_timeout + LIMITS.publish_timeout + ROUNDING
        assert graph.longest["request"] <= bound, seed
    for what in ("WouldDeadlock", "Rejected"):
        assert seen[what], f"no {what}: too tame"
