"""The bus from user tasks and from other threads, and handlers that run in threads."""

import queue
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from pipebus.bus.event import Event
from pipebus.errors import (
    NoResponder,
    RequestCancelled,
    RequestTimeout,
    ResponderFailed,
    WouldBlock,
)
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus_anyio.server import Server
from tests.bindings.conftest import Stack
from tests.bindings.peer import get, peer, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipeline() -> Pipeline[None]:
    pipeline: Pipeline[None] = Pipeline("app")

    @pipeline.respond("double")
    async def double(event: Event) -> int:
        number: int = event.data
        return number * 2

    @pipeline.respond("fail")
    async def fail(_: Event) -> int:
        raise LookupError("inside")

    @pipeline.respond("never")
    async def never(_: Event) -> None:
        await anyio.sleep_forever()

    return pipeline


# --- user tasks ------------------------------------------------------------------------------


async def test_request_and_its_outcomes(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server:
        assert await server.bus.request("double", 21) == 42
        with pytest.raises(NoResponder):
            await server.bus.request("nobody")
        with pytest.raises(ResponderFailed) as failed:
            await server.bus.request("fail")
        assert isinstance(failed.value.__cause__, LookupError)
        with pytest.raises(RequestTimeout):
            await server.bus.request("never", timeout=0.02)


async def test_a_cancelled_request_cancels_its_responder(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    async with stack.serve(pipeline) as server:
        with anyio.move_on_after(0.02) as scope:
            await server.bus.request("never")
        assert scope.cancelled_caught
        await until(lambda: server.engine.running == 0)
        assert server.engine.bus.counts.outcomes["cancelled"] == 1


async def test_subscribe_in_order(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a.*") as events:
        for number in range(3):
            await server.bus.publish("a.b", number, subject="s", metadata={"k": "v"})
        got = [await anext(events) for _ in range(3)]
        assert [event.data for event in got] == [0, 1, 2]
        assert got[0].subject == "s"
        assert got[0].metadata == {"k": "v"}


async def test_a_cancelled_wait_loses_no_event(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a") as events:
        for number in range(20):
            with anyio.move_on_after(0):
                await anext(events)
            got: list[Any] = []

            async def take(got: list[Any] = got) -> None:
                got.append((await anext(events)).data)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await anyio.wait_all_tasks_blocked()
                server.bus.publish_nowait("a", number)
                tasks.cancel_scope.cancel()  # in the same moment as the event
            if not got:
                got.append((await anext(events)).data)
            assert got == [number]


async def test_leaving_the_block_unsubscribes(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server:
        async with server.bus.subscribe("a", queue=1) as events:
            server.bus.publish_nowait("a", 1)
            with pytest.raises(WouldBlock):
                server.bus.publish_nowait("a", 2)
        assert events.subscription.dropped
        server.bus.publish_nowait("a", 3)


async def test_the_iteration_ends_with_the_server(stack: Stack, pipeline: Pipeline[None]) -> None:
    seen: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def listen(server: Server) -> None:
            async with server.bus.subscribe("a") as events:
                async for event in events:
                    seen.append(event.data)
            seen.append("end")

        async with stack.serve(pipeline) as server:
            tasks.start_soon(listen, server)
            await anyio.wait_all_tasks_blocked()
            server.bus.publish_nowait("a", 1)
            await until(lambda: seen == [1])
    assert seen == [1, "end"]


async def test_a_lossless_publish_waits_and_can_be_cancelled(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a", queue=1) as events:
        await server.bus.publish("a", 1)
        with anyio.move_on_after(0.02) as scope:
            await server.bus.publish("a", 2)
        assert scope.cancelled_caught
        assert (await anext(events)).data == 1
        done: list[int] = []

        async def publish() -> None:
            await server.bus.publish("a", 3)
            await server.bus.publish("a", 4)
            done.append(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(publish)
            await anyio.wait_all_tasks_blocked()
            assert not done
            assert (await anext(events)).data == 3
        assert done


async def test_a_loop_that_never_waits_can_be_cancelled(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    async with stack.serve(pipeline) as server:
        with anyio.move_on_after(0.02) as scope:
            while True:
                await server.bus.publish("unheard", 1)
        assert scope.cancelled_caught


async def test_one_task_at_a_time_iterates(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a") as events:
        got: list[int] = []

        async def take() -> None:
            got.append((await anext(events)).data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(5), pytest.raises(RuntimeError, match="another task"):
                await anext(events)
            server.bus.publish_nowait("a", 1)
        assert got == [1]


async def test_a_loop_over_events_that_are_there_can_be_cancelled_and_loses_none(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a") as events:
        seen = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            for number in range(100):
                server.bus.publish_nowait("a", number)
                assert (await anext(events)).data == number
                seen += 1
        assert scope.cancelled_caught
        assert (await anext(events)).data == seen


# --- other threads -----------------------------------------------------------------------------


async def test_a_foreign_thread(stack: Stack, pipeline: Pipeline[None]) -> None:
    async with stack.serve(pipeline) as server, server.bus.subscribe("a") as events:
        results: queue.Queue[Any] = queue.Queue()

        def work() -> None:
            bus = server.bus.from_thread
            results.put(bus.request("double", 4))
            results.put(bus.publish("a", "from a thread").id)
            try:
                bus.request("nobody")
            except NoResponder as error:
                results.put(type(error))

        thread = threading.Thread(target=work)
        thread.start()
        event = await anext(events)
        await anyio.to_thread.run_sync(thread.join)
        assert event.data == "from a thread"
        assert [results.get_nowait() for _ in range(3)] == [8, event.id, NoResponder]


async def test_a_thread_that_waits_when_the_server_ends(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    results: queue.Queue[BaseException] = queue.Queue()
    async with stack.serve(pipeline, limits=Limits(grace=0.02)) as server:

        def work() -> None:
            try:
                server.bus.from_thread.request("never")
            except BaseException as error:  # noqa: BLE001 (it is looked at below)
                results.put(error)

        thread = threading.Thread(target=work)
        thread.start()
        await until(lambda: server.engine.running == 1)
    await anyio.to_thread.run_sync(thread.join)
    assert isinstance(results.get_nowait(), RequestCancelled)


@pytest.mark.parametrize("ends", ["server", "loop"])
def test_a_thread_is_not_left_waiting_for_what_has_ended(
    stack: Stack, pipeline: Pipeline[None], ends: str
) -> None:
    """One that calls again and again is certain to ask just as the loop stops."""
    problems: queue.Queue[BaseException] = queue.Queue()
    called = threading.Event()

    async def main() -> threading.Thread:
        async with stack.serve(pipeline) as server:

            def work() -> None:
                try:
                    while True:
                        server.bus.from_thread.publish("a")
                        called.set()
                except BaseException as error:  # noqa: BLE001 (it is looked at below)
                    problems.put(error)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            await until(called.is_set)
        if ends == "server":
            await anyio.to_thread.run_sync(thread.join, 5)
        return thread

    thread = anyio.run(main, backend=stack.runtime)
    thread.join(5)
    assert not thread.is_alive()
    problem = problems.get_nowait()
    assert isinstance(problem, RuntimeError)
    assert "ended" in str(problem)


async def test_the_loops_own_thread_is_refused_and_not_blocked_for_ever(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    async with stack.serve(pipeline) as server:
        with pytest.raises(RuntimeError, match="very thread"):
            server.bus.from_thread.publish("a")


async def test_what_a_thread_asks_wrongly_is_raised_there(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    @pipeline.route("GET /wrong", thread=True)
    def wrong(_: Request, ctx: ThreadContext[None]) -> Response:
        with pytest.raises(ValueError, match="topic"):
            ctx.publish("no topic")
        with pytest.raises(ValueError, match="topic"):
            ctx.publish_nowait("no topic")
        return Response(204)

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        assert (await client.ask(get("/wrong"))).status == 204


# --- handlers in threads -------------------------------------------------------------------------


class InThread:
    """A handler that is held in its thread until the test lets it go."""

    def __init__(self, pipeline: Pipeline[None]) -> None:
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.calls = 0
        self.problems: list[BaseException] = []

        @pipeline.route("GET /held", thread=True, concurrency=1, queue=1, timeout=0.05)
        def held(_: Request, ctx: ThreadContext[None]) -> Response:
            self.calls += 1
            self.started.set()
            assert self.go_on.wait(10)
            return Response.text(threading.current_thread().name)


async def test_a_thread_does_not_hold_the_loop(stack: Stack, pipeline: Pipeline[None]) -> None:
    @pipeline.route("GET /thread", thread=True)
    def handler(_: Request, ctx: ThreadContext[None]) -> Response:
        ctx.sleep(0.001)
        ctx.publish("a", 1)
        ctx.publish_nowait("a", 2)
        return Response.text(f"{ctx.request('double', 5)} {threading.current_thread().name}")

    @pipeline.route("GET /raises", thread=True)
    def raises(_: Request) -> Response:
        raise SystemExit(3)  # ends this call, not the process

    @pipeline.route("GET /stream", thread=True)
    def stream(_: Request) -> Response:
        async def chunks() -> Any:
            yield b"streamed in the loop"

        return Response.stream(chunks())

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        number, name = (await client.ask(get("/thread"))).body.decode().split(" ", 1)
        assert number == "10"
        assert name != threading.current_thread().name
        assert (await client.ask(get("/raises"))).status == 500
        assert (await client.ask(get("/stream"))).body == b"streamed in the loop"


async def test_a_thread_runs_on_after_its_timeout_and_keeps_its_slot(
    stack: Stack, pipeline: Pipeline[None]
) -> None:
    held = InThread(pipeline)
    async with stack.serve(pipeline) as server:
        address = server.addresses[0]
        async with peer(address) as first, peer(address) as second:
            assert (await first.ask(get("/held"))).status == 504
            assert server.engine.running == 1
            assert (await second.ask(get("/held"))).status == 504  # queued behind the dead call
            assert held.calls == 1
            held.go_on.set()
            await until(lambda: server.engine.running == 0)
            assert (await first.ask(get("/held"))).status == 200
            assert held.calls == 2


async def test_a_thread_that_does_not_end_is_abandoned_at_the_exit(
    stack: Stack, pipeline: Pipeline[None], caplog: pytest.LogCaptureFixture
) -> None:
    held = InThread(pipeline)
    try:
        async with (
            stack.serve(pipeline, limits=Limits(grace=0.02)) as server,
            peer(server.addresses[0]) as client,
        ):
            assert (await client.ask(get("/held"))).status == 504
        assert server.engine.running == 0
        (record,) = caplog.records
        assert "held" in record.getMessage()
    finally:
        held.go_on.set()


async def test_contexts_of_async_handlers(stack: Stack, pipeline: Pipeline[None]) -> None:
    seen: list[int] = []

    @pipeline.subscribe("a")
    async def listen(event: Event) -> None:
        seen.append(event.data)

    @pipeline.route("GET /all")
    async def everything(_: Request, ctx: Context[None]) -> Response:
        await ctx.sleep(0.001)
        await ctx.publish("a", 1)
        ctx.publish_nowait("a", 2)
        return Response.text(str(await ctx.request("double", 5)))

    async with stack.serve(pipeline) as server, peer(server.addresses[0]) as client:
        assert (await client.ask(get("/all"))).body == b"10"
        await until(lambda: seen == [1, 2])
