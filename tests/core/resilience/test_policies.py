"""Policies of breakers and retries say which field is not right."""

from typing import Any

import pytest

from pipebus.resilience.policies import RETRY_STATUSES, BreakerPolicy, RetryPolicy

NAN = float("nan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 0.0),
        ("window", NAN),
        ("failure_ratio", 0.0),
        ("failure_ratio", 1.01),
        ("min_calls", 0),
        ("min_calls", 2.0),
        ("min_calls", True),
        ("open_time", -1.0),
        ("open_time", float("inf")),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", "0.1"),
    ],
)
def test_breaker(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^BreakerPolicy\.{field} must be .*, not {value!r}$"):
        BreakerPolicy(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempts", 0),
        ("attempts", 101),
        ("base", -0.1),
        ("cap", 0.05),
        ("cap", NAN),
        ("statuses", frozenset({503, 200})),
        ("max_retry_after", -1.0),
        ("budget", 1.5),
        ("budget_min", -1),
        ("budget_min", 1.5),
        ("budget_window", 0.0),
    ],
)
def test_retry(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^RetryPolicy\.{field} must be "):
        RetryPolicy(**{field: value})


def test_the_ends_of_what_is_allowed() -> None:
    BreakerPolicy(failure_ratio=1, min_calls=1, jitter=0)
    BreakerPolicy(jitter=1)
    policy = RetryPolicy(attempts=1, base=0, cap=0, statuses=frozenset(), budget=1, budget_min=0)
    assert policy.statuses == frozenset()
    assert RetryPolicy().statuses == RETRY_STATUSES
