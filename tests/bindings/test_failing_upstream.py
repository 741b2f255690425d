"""A server that fails and heals behind ours: the breaker opens, probes once, and closes."""

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.errors import BreakerOpen, ConnectError
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus.resilience.policies import BreakerPolicy, RetryPolicy
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, peer, until

pytestmark = pytest.mark.anyio


class Upstream:
    """Fails until it is healed; the first call after that is held up."""

    def __init__(self) -> None:
        self.pipeline: Pipeline[None] = Pipeline("upstream")
        self.calls = 0
        self.healed = False
        self.probed = anyio.Event()
        self.go_on = anyio.Event()

        @self.pipeline.route("GET /")
        async def answer(_: Request) -> Response:
            self.calls += 1
            if not self.healed:
                return Response.text("broken", status=500)
            self.probed.set()
            await self.go_on.wait()
            return Response.text("well")


def front(url: str, told: list[tuple[str, str, str]]) -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("front")

    @pipeline.route("GET /")
    async def passes_on(_: Request, ctx: Context) -> Response:
        answer = await ctx.client.get(f"{url}/")
        return Response.text(answer.text(), status=answer.status)

    @pipeline.tap("pipebus.breaker.>")
    async def watch(event: Event) -> None:
        told.append((event.type, event.data.old, event.data.new))

    return pipeline


async def test_it_opens_answers_at_once_probes_once_and_closes(stack: Stack) -> None:
    upstream = Upstream()
    told: list[tuple[str, str, str]] = []
    policy = BreakerPolicy(min_calls=4, open_time=0.1)
    async with (
        stack.serve(upstream.pipeline) as up,
        stack.serve(front(up.url, told), breaker=policy) as server,
        peer(server.addresses[0]) as client,
    ):
        assert [(await client.ask(get("/"))).status for _ in range(4)] == [500] * 4
        refused = await client.ask(get("/"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert upstream.calls == 4

        upstream.healed = True
        async with peer(server.addresses[0]) as other, anyio.create_task_group() as tasks:
            tasks.start_soon(ask_until_it_is_served, other)
            await upstream.probed.wait()
            for _ in range(5):  # the probe is under way
                refused = await client.ask(get("/"))
                assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert upstream.calls == 5
            upstream.go_on.set()
        assert [(await client.ask(get("/"))).body for _ in range(3)] == [b"well"] * 3
        assert upstream.calls == 8
        await until(lambda: len(told) == 3)
        assert told == [
            ("pipebus.breaker.open", "closed", "open"),
            ("pipebus.breaker.half_open", "open", "half_open"),
            ("pipebus.breaker.closed", "half_open", "closed"),
        ]


async def ask_until_it_is_served(client: Peer) -> None:
    while (answer := await client.ask(get("/"))).status == 503:
        pass
    assert (answer.status, answer.body) == (200, b"well")


async def test_a_client_of_its_own_retries_and_then_leaves_the_server_alone(stack: Stack) -> None:
    retry = RetryPolicy(attempts=2, base=0.001)
    breaker = BreakerPolicy(min_calls=4, open_time=60.0)
    async with stack.client(retry=retry, breaker=breaker) as client:
        for _ in range(2):
            with pytest.raises(ConnectError):
                await client.get("http://127.0.0.1:1/")
        with pytest.raises(BreakerOpen) as caught:
            await client.get("http://127.0.0.1:1/")
        assert 40.0 < caught.value.retry_after < 75.0
        stats = client._engine.client.stats
        assert (stats.backoff_retries, stats.breaker_rejected) == (2, 1)


async def test_a_response_that_says_when_is_asked_for_again_then(stack: Stack) -> None:
    pipeline: Pipeline[None] = Pipeline("busy")
    asked: list[str] = []

    @pipeline.route("GET /")
    def busy(request: Request) -> Response:
        asked.append(request.id)
        if len(asked) == 1:
            return Response(503, b"", {"retry-after": "0"})
        return Response.text("now")

    retry = RetryPolicy(base=0.001)
    async with stack.serve(pipeline) as server, stack.client(retry=retry) as client:
        answer = await client.get(f"{server.url}/")
        assert (answer.status, answer.text()) == (200, "now")
        assert answer.timings.retries > 0.0
