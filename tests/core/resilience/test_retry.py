"""When a call is made again, and how many may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.resilience.retry import RetryBudget, RetryPolicy, delay


def test_the_bound_doubles_up_to_the_cap_and_the_draw_is_from_zero_to_it() -> None:
    policy = RetryPolicy(base=0.1, cap=0.5)
    assert [delay(policy, n, lambda: 1.0) for n in (1, 2, 3, 4, 99)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.5, 0.5]
    )
    assert delay(policy, 3, lambda: 0.25) == pytest.approx(0.1)
    assert delay(policy, 3, lambda: 0.0) == 0.0


def test_what_the_server_asks_for_is_waited_for_and_the_draw_comes_on_top() -> None:
    policy = RetryPolicy(base=0.1)
    assert delay(policy, 1, lambda: 0.0, 7.0) == 7.0
    assert delay(policy, 1, lambda: 0.5, 7.0) == 7.05


def test_the_budget_is_a_part_of_the_calls_and_a_few_more() -> None:
    budget = RetryBudget(RetryPolicy(budget=0.5, budget_min=1))
    assert [budget.try_spend(100.0), budget.try_spend(100.0)] == [True, False]
    for _ in range(4):
        budget.request(100.0)
    assert [budget.try_spend(101.0) for _ in range(3)] == [True, True, False]
    assert (budget.spent, budget.refused) == (3, 2)
    assert budget.try_spend(111.0)  # all that is out of the window
    assert not budget.try_spend(111.0)


def test_without_a_budget_there_is_no_retry() -> None:
    budget = RetryBudget(RetryPolicy(budget=0.0, budget_min=0))
    budget.request(0.0)
    assert not budget.try_spend(0.0)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.3, 1.0, 4.0]), st.integers(0, 3)), max_size=80
    ),
    ratio=st.sampled_from([0.0, 0.2, 1.0]),
    least=st.integers(0, 3),
)
def test_no_retry_is_granted_beyond_the_budget_of_the_window(
    steps: list[tuple[float, int]], ratio: float, least: int
) -> None:
    """Every call fails and wants another try: what an outage is."""
    budget = RetryBudget(RetryPolicy(budget=ratio, budget_min=least, budget_window=10.0))
    now, calls, retries = 1_000.0, [], []
    for pause, wanted in steps:
        now += pause
        calls.append(now)
        budget.request(now)
        for _ in range(wanted):
            if budget.try_spend(now):
                retries.append(now)
                lately = sum(now - at < 9.0 - 1e-6 for at in retries)
                assert lately <= least + ratio * sum(now - at <= 10.0 + 1e-6 for at in calls)
    assert budget.spent == len(retries)
