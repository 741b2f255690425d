"""Stage durations are differences of edges and add up to the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.telemetry.stages import Stages, measure

NOT_REACHED = -1.0


def test_each_stage_is_the_difference_of_two_edges() -> None:
    assert measure(1.0, 3.0, 6.0, 10.0, 15.0) == Stages(2.0, 3.0, 4.0, 5.0)


def test_a_request_that_no_handler_began_spent_its_time_in_the_queue() -> None:
    assert measure(1.0, 3.0, NOT_REACHED, 10.0, 15.0) == Stages(2.0, 7.0, 0.0, 5.0)


def test_a_request_that_was_never_dispatched_spent_its_time_being_read() -> None:
    assert measure(1.0, NOT_REACHED, NOT_REACHED, 10.0, 15.0) == Stages(9.0, 0.0, 0.0, 5.0)


@given(
    edges=st.lists(st.floats(0, 1e6), min_size=5, max_size=5).map(sorted),
    reached=st.sampled_from([0, 1, 2]),
)
def test_the_stages_add_up_and_none_is_negative(edges: list[float], reached: int) -> None:
    started, dispatched, began, completed, sent = edges
    stages = measure(
        started,
        dispatched if reached >= 1 else NOT_REACHED,
        began if reached >= 2 else NOT_REACHED,
        completed,
        sent,
    )
    assert stages.total == pytest.approx(sent - started, abs=1e-6)
    assert min(stages.read, stages.queue, stages.handler, stages.write) >= 0.0
