"""Cancel the binding at each of its awaits in turn, and look at the core afterwards.

Every task that the binding spawns is stepped by `Steps`, which counts the moments at which one of
them waits and cancels the task that makes the n-th. One scenario uses every part; it is run for
each n until a run has no n-th wait any more.
"""

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any

import anyio
import pytest

from pipebus.bus.event import Event
from pipebus.http.message import Request, StreamRequest
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.client import BaseClient
from pipebus_anyio.memory import MemoryNetwork
from pipebus_anyio.options import Options
from pipebus_anyio.runtime import Runtime, Task
from pipebus_anyio.server import Server
from pipebus_anyio.server import serve as serve_in
from pipebus_anyio.testing import surroundings
from tests.bindings.conftest import Stack
from tests.bindings.peer import Peer, get, request

NEVER = 1_000_000
EXEMPT = ("_keep_time",)
"""Nobody cancels the timer's task but the runtime's exit."""


class Steps:
    """Counts waits over all tasks, and cancels at the chosen one."""

    def __init__(self, cancel_at: int) -> None:
        self.cancel_at = cancel_at
        self.count = 0
        self.where = ""

    def waits(self, who: str, cancel: Callable[[], None]) -> None:
        self.count += 1
        if self.count == self.cancel_at:
            self.where = who
            cancel()


class Stepped:
    """Awaits a coroutine, saying each time before it waits."""

    def __init__(self, coroutine: Any, waits: Callable[[], None]) -> None:
        self.coroutine = coroutine
        self.waits = waits

    def __await__(self) -> Generator[Any, Any, Any]:
        step = partial(self.coroutine.send, None)
        while True:
            try:
                message = step()
            except StopIteration as end:
                return end.value
            self.waits()
            try:
                step = partial(self.coroutine.send, (yield message))
            except BaseException as error:  # noqa: BLE001 (handed on)
                step = partial(self.coroutine.throw, error)


def stepping(base: type[Any], steps: Steps) -> Callable[[], Runtime]:
    """Return a runtime whose tasks are stepped."""

    class Stepping(base):  # type: ignore[misc]  # chosen at run time
        def spawn(self, fn: Callable[..., Awaitable[None]], *args: Any) -> Task:
            if fn.__name__ in EXEMPT:
                exempt: Task = super().spawn(fn, *args)
                return exempt
            mine: list[Task] = []

            async def stepped() -> None:
                def waits() -> None:
                    steps.waits(fn.__qualname__, lambda: self.cancel(mine[0]))

                await Stepped(fn(*args), waits)

            stepped.__qualname__ = fn.__qualname__
            mine.append(super().spawn(stepped))
            return mine[0]

    return Stepping


class Scenario:
    """Everything at once: requests, uploads, streams, calls out, subscribers, TLS, a drain."""

    def __init__(self, stack: Stack, network: MemoryNetwork) -> None:
        self.stack = stack
        self.network = network
        self.client: BaseClient
        self.url = "http://app.test:80"
        pipeline: Pipeline[None] = Pipeline("app")
        self.pipeline = pipeline

        @pipeline.route("POST /upload", stream=True)
        async def upload(incoming: StreamRequest) -> Response:
            size = 0
            async for chunk in incoming:
                size += len(chunk)
            return Response.text(str(size))

        @pipeline.route("GET /stream")
        async def stream(_: Request) -> Response:
            return Response.stream(self.pieces())

        @pipeline.route("GET /out")
        async def out(_: Request, ctx: Context[None]) -> Response:
            await ctx.publish("said", 1)
            await ctx.sleep(0.1)
            await ctx.request("double", 2)
            sent = await ctx.client.post(f"{self.url}/upload", body=self.pieces())
            async with ctx.client.stream("GET", f"{self.url}/stream") as answer:
                size = sum([len(chunk) async for chunk in answer])
            return Response.text(f"{sent.text()} {size}")

        @pipeline.respond("double")
        async def double(event: Event, ctx: Context[None]) -> int:
            await ctx.sleep(0.1)
            number: int = event.data
            return number * 2

        @pipeline.subscribe("said")
        async def listen(_: Event, ctx: Context[None]) -> None:
            await ctx.sleep(0.1)

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(2):
            await anyio.sleep(0.01)
            yield b"x" * 100_000

    async def play(self, server: Server) -> list[str]:
        """Do it all; what fails, fails: somebody was cancelled."""
        done: list[str] = []

        async def attempt(name: str, doing: Coroutine[Any, Any, None]) -> None:
            try:
                with anyio.fail_after(200):
                    await doing
            except Exception:  # noqa: BLE001 (the state is what is looked at)
                return
            done.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, "plain", self.plain(server))
            tasks.start_soon(attempt, "client", self.call_out())
        return done

    async def plain(self, server: Server) -> None:
        transport = await self.network.connect(server.addresses[0])
        try:
            peer = Peer(transport)
            await peer.send(request("POST", "/upload", "Transfer-Encoding: chunked"))
            await peer.send(b"3\r\nabc\r\n0\r\n\r\n")
            assert (await peer.answer("POST")).body == b"3"
            assert len((await peer.ask(get("/stream"))).body) == 200_000
            await peer.end()
            assert await peer.rest() == b""
        finally:
            await transport.aclose()

    async def call_out(self) -> None:
        response = await self.client.get(f"{self.url}/out")
        assert response.body == b"200000 200000"


def at_rest(server: Server, client: BaseClient) -> dict[str, int]:
    """Return everything that must be nothing when all is over."""
    engine, other = server.engine, client._engine
    left = {
        "running": engine.running,
        "exchanges": engine.bus.open_exchanges,
        "connections": engine.admission.connections,
        "in flight": engine.admission.in_flight,
        "bodies": engine.admission.bodies.held,
        "uploads": engine.uploads + other.uploads,
        "timers": len(engine.timers) + len(other.timers),
        "actions": int(engine.next_action() is not None) + int(other.next_action() is not None),
    }
    for name, machine in (("server", engine), ("client", other)):
        left[f"pool of the {name}"] = len(machine.client.pool.blocked) + machine.client.pool.slots
    counts = engine.bus.counts
    left["outcomes"] = counts.opened - sum(counts.outcomes.values())
    return {name: count for name, count in left.items() if count}


def run_once(
    stack: Stack, cancel_at: int, *, program: bool = False
) -> tuple[Steps, list[str], dict[str, int]]:
    """Run the scenario; `program` steps the code around server and client, not their tasks."""
    steps = Steps(cancel_at)
    module = importlib.import_module(f"pipebus_{stack.runtime}.runtime")
    plain = getattr(module, f"{stack.runtime.capitalize()}Runtime")
    runtime = plain if program else stepping(plain, steps)
    done: list[str] = []
    left: list[dict[str, int]] = []

    async def play() -> None:
        network = MemoryNetwork()
        scenario = Scenario(stack, network)

        class Client(BaseClient):
            def _new_runtime(self) -> Runtime:
                new: Runtime = runtime()
                return new

        scenario.client = Client()
        scenario.client._surroundings = surroundings(network, "c-")
        options = Options(bind="127.0.0.1:80", limits=Limits(grace=100))
        served: list[Server] = []
        try:
            async with (
                serve_in(
                    runtime, scenario.pipeline, options, surroundings(network, "s-")
                ) as server,
                scenario.client,
            ):
                served.append(server)
                done.extend(await scenario.play(server))
        finally:
            if served:
                left.append(at_rest(served[0], scenario.client))

    async def main() -> None:
        if program:
            with anyio.CancelScope() as scope:
                await Stepped(play(), lambda: steps.waits("program", scope.cancel))
        else:
            await play()

    stack.testing.run_virtual(main)
    return steps, done, left[0] if left else {}


def test_nothing_is_left_when_nobody_is_cancelled(stack: Stack) -> None:
    steps, done, left = run_once(stack, NEVER)
    assert sorted(done) == ["client", "plain"]
    assert steps.count > 50
    assert left == {}


def test_nothing_is_left_wherever_a_task_is_cancelled(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    waits = run_once(stack, NEVER)[0].count
    where: set[str] = set()
    for cancel_at in range(1, waits + 1):
        steps, _, left = run_once(stack, cancel_at)
        assert left == {}, f"after cancelling wait {cancel_at}, in {steps.where}"
        where.add(steps.where.rpartition(".")[2])
    assert where >= {
        "_run_accepted", "_read", "_run_task", "_send_upload", "_resolve", "_connect",
        "accept_forever",
    }  # fmt: skip
    unexpected = [r for r in caplog.records if "unexpected exception" in r.getMessage()]
    assert unexpected == []


def test_nothing_is_left_wherever_the_program_is_cancelled(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    waits = run_once(stack, NEVER, program=True)[0].count
    assert waits >= 3  # the play, the client's exit, the drain
    for cancel_at in range(1, waits + 1):
        _, _, left = run_once(stack, cancel_at, program=True)
        assert left == {}, f"after cancelling wait {cancel_at} of {waits}"
    assert caplog.records == []
