"""The seam: tasks that always begin, waiters that lose nothing, an exit that waits and names."""

import importlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from pipebus_anyio.runtime import EXIT_TIMEOUT, Runtime
from tests.bindings.conftest import STREAMS, Stack

pytestmark = pytest.mark.parametrize("stack", STREAMS, ids=str, indirect=True)
Scenario = Callable[[Runtime], Coroutine[Any, Any, None]]


class Play:
    """Runs scenarios with a runtime of one library, in virtual time."""

    def __init__(self, stack: Stack) -> None:
        module = importlib.import_module(f"pipebus_{stack.runtime}.runtime")
        self.new: Callable[[], Runtime] = getattr(module, f"{stack.runtime.capitalize()}Runtime")
        self.run_virtual = stack.testing.run_virtual
        self.stuck: list[list[str]] = []

    def __call__(self, scenario: Scenario) -> None:
        async def main() -> None:
            runtime = self.new()
            runtime.on_stuck = self.stuck.append
            async with runtime:
                await scenario(runtime)

        self.run_virtual(main)


@pytest.fixture
def play(stack: Stack) -> Play:
    return Play(stack)


def test_it_says_which_library_and_tells_its_time(play: Play, stack: Stack) -> None:
    async def scenario(runtime: Runtime) -> None:
        assert runtime.name == stack.runtime
        before = runtime.now()
        await anyio.sleep(3)
        assert runtime.now() == pytest.approx(before + 3)

    play(scenario)


def test_a_task_runs_with_its_arguments_and_its_name(play: Play) -> None:
    seen: list[tuple[int, str]] = []

    async def work(number: int, text: str) -> None:
        seen.append((number, text))

    async def scenario(runtime: Runtime) -> None:
        assert runtime.spawn(work, 1, "a").name.endswith("work")
        await anyio.wait_all_tasks_blocked()

    play(scenario)
    assert seen == [(1, "a")]


def test_a_task_cancelled_before_it_ran_still_begins(play: Play) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("began")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cleaned up")

    async def scenario(runtime: Runtime) -> None:
        runtime.cancel(runtime.spawn(work))
        await anyio.wait_all_tasks_blocked()
        assert seen == ["began", "cleaned up"]

    play(scenario)


def test_a_running_task_is_cancelled_where_it_waits(play: Play) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise

    async def scenario(runtime: Runtime) -> None:
        task = runtime.spawn(work)
        await anyio.wait_all_tasks_blocked()
        runtime.cancel(task)
        await anyio.wait_all_tasks_blocked()
        assert seen == ["cancelled"]
        runtime.cancel(task)  # it has ended: nothing happens

    play(scenario)


def test_an_exception_is_logged_and_ends_only_its_task(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise LookupError("lost")

    async def scenario(runtime: Runtime) -> None:
        runtime.spawn(work)
        await anyio.sleep(1)

    play(scenario)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "work" in record.getMessage()
    assert "lost" in caplog.text


def test_a_wake_before_the_wait_is_remembered_once(play: Play) -> None:
    async def scenario(runtime: Runtime) -> None:
        waiter = runtime.new_waiter()
        waiter.wake()
        waiter.wake()
        await waiter.wait()
        with anyio.move_on_after(1) as scope:
            await waiter.wait()
        assert scope.cancelled_caught

    play(scenario)


def test_a_waiter_wakes_its_task_again_and_again(play: Play) -> None:
    rounds: list[int] = []

    async def scenario(runtime: Runtime) -> None:
        waiter = runtime.new_waiter()

        async def work() -> None:
            while True:
                await waiter.wait()
                rounds.append(len(rounds))

        runtime.spawn(work)
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            waiter.wake()
        await anyio.wait_all_tasks_blocked()

    play(scenario)
    assert rounds == [0, 1, 2]


def test_a_cancelled_wait_loses_no_wake(play: Play) -> None:
    async def scenario(runtime: Runtime) -> None:
        waiter = runtime.new_waiter()
        ended: list[str] = []

        async def work() -> None:
            try:
                await waiter.wait()
            finally:
                ended.append("")

        task = runtime.spawn(work)
        await anyio.wait_all_tasks_blocked()
        waiter.wake()
        waiter.wake()
        runtime.cancel(task)
        await anyio.wait_all_tasks_blocked()
        assert ended
        task = runtime.spawn(work)
        await anyio.wait_all_tasks_blocked()
        # asyncio: the cancellation overtook the wake, which is still there for the next wait.
        # trio: the wake was first and was consumed; then this one waits.
        if len(ended) == 1:
            runtime.cancel(task)
            await anyio.wait_all_tasks_blocked()
        assert len(ended) == 2

    play(scenario)


def test_the_exit_cancels_and_waits(play: Play) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(EXIT_TIMEOUT / 2)
            seen.append("cleaned up")

    async def scenario(runtime: Runtime) -> None:
        runtime.spawn(work)
        runtime.spawn(work)
        await anyio.wait_all_tasks_blocked()

    play(scenario)
    assert seen == ["cleaned up"] * 2
    assert play.stuck == []


def test_a_task_that_will_not_end_is_named(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            while True:
                try:
                    await anyio.sleep(EXIT_TIMEOUT * 2)
                except anyio.get_cancelled_exc_class():
                    continue
                return

    async def scenario(runtime: Runtime) -> None:
        runtime.spawn(stubborn)
        await anyio.wait_all_tasks_blocked()

    async def main() -> None:
        runtime = play.new()
        runtime.on_stuck = play.stuck.append
        async with runtime:
            await scenario(runtime)
        await anyio.sleep(EXIT_TIMEOUT * 3)  # asyncio abandoned it: let it come to its end

    play.run_virtual(main)
    (record,) = caplog.records
    assert "stubborn" in record.getMessage()
    ((name,),) = play.stuck
    assert "stubborn" in name


def test_cancelling_the_code_around_leaves_the_order_of_the_end_to_it(play: Play) -> None:
    order: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append("task")

    async def main() -> None:
        with anyio.move_on_after(1):
            async with play.new() as runtime:
                runtime.spawn(work)
                try:
                    await anyio.sleep_forever()
                finally:
                    order.append("block")

    play.run_virtual(main)
    assert order == ["block", "task"]


def test_an_impatient_cancellation_does_not_leave_tasks_behind(play: Play, stack: Stack) -> None:
    """What comes after a server, such as its lifespan's end, relies on its handlers being gone."""
    ended: list[str] = []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            ended.append("task")

    async def main() -> None:
        async def owner() -> None:
            try:
                async with play.new() as runtime:
                    runtime.spawn(slow)
                    await anyio.sleep_forever()
            finally:
                ended.append("owner")

        async with play.new() as outer:
            task = outer.spawn(owner)
            await anyio.wait_all_tasks_blocked()
            outer.cancel(task)
            await anyio.sleep(1)
            outer.cancel(task)

    play.run_virtual(main)
    assert ended == ["task", "owner"]


def test_an_exception_of_the_block_comes_out_as_it_is(play: Play) -> None:
    async def scenario(_: Runtime) -> None:
        raise LookupError("bare, in no group")

    with pytest.raises(LookupError, match="bare"):
        play(scenario)


def test_virtual_time_starts_at_zero_and_costs_none(stack: Stack) -> None:
    async def main(seconds: float) -> tuple[float, float]:
        start = anyio.current_time()
        await anyio.sleep(seconds)
        return start, anyio.current_time()

    start, end = stack.testing.run_virtual(main, 86_400.0)
    assert start == pytest.approx(0, abs=1)
    assert end - start == pytest.approx(86_400)


def test_virtual_time_waits_for_a_thread_where_there_is_no_timer(stack: Stack) -> None:
    async def main() -> int:
        return await anyio.to_thread.run_sync(lambda: 7)

    assert stack.testing.run_virtual(main) == 7
