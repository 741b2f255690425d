"""Token buckets: the rate, the burst, and a table in which no bucket is lost before it is full."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.resilience.rate_limit import SLACK, RateLimit, RateLimiter


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("rate", lambda: RateLimit(0)),
        ("rate", lambda: RateLimit(-1.0)),
        ("rate", lambda: RateLimit(float("nan"))),
        ("rate", lambda: RateLimit(float("inf"))),
        ("rate", lambda: RateLimit(True)),
        ("rate", lambda: RateLimit("5/s")),  # type: ignore[arg-type]  # a program without types
        ("burst", lambda: RateLimit(1.0, 0)),
        ("burst", lambda: RateLimit(1.0, 1.5)),  # type: ignore[arg-type]  # the same
        ("key", lambda: RateLimit(1.0, key="ip")),  # type: ignore[arg-type]  # the same
    ],
)
def test_a_policy_that_is_not_right_is_refused_by_name(
    field: str, make: Callable[[], RateLimit]
) -> None:
    with pytest.raises(ValueError, match=rf"RateLimit\.{field} must be "):
        make()


@pytest.mark.parametrize(
    ("policy", "size"),
    [(RateLimit(0.5), 1), (RateLimit(2.5), 3), (RateLimit(10), 10), (RateLimit(10, 4), 4)],
)
def test_a_burst_is_what_a_second_gives_unless_it_is_said(policy: RateLimit, size: int) -> None:
    limiter = RateLimiter(policy)
    assert [limiter.take("a", 50.0) == 0.0 for _ in range(size + 1)] == [True] * size + [False]
    assert (limiter.granted, limiter.limited, limiter.keys) == (size, 1, 1)


def test_one_that_waits_as_long_as_it_was_told_gets_its_token() -> None:
    limiter = RateLimiter(RateLimit(4.0, 2))
    assert [limiter.take("a", 10.0), limiter.take("a", 10.0)] == [0.0, 0.0]
    assert limiter.take("a", 10.0) == pytest.approx(0.25)
    assert limiter.take("a", 10.125) == pytest.approx(0.125)
    assert limiter.take("a", 10.25) == 0.0
    assert limiter.take("b", 10.25) == 0.0  # another's bucket
    assert limiter.take("a", 10.25) > 0.0


def test_a_full_bucket_is_given_to_another_key_and_no_other_is() -> None:
    limiter = RateLimiter(RateLimit(1.0, 1), max_keys=2)
    assert limiter.take("a", 0.0) == 0.0
    assert limiter.take("b", 0.5) == 0.0
    assert limiter.take("c", 0.9) == 0.0  # of the shared bucket
    assert limiter.take("d", 0.9) > 0.0
    assert (limiter.keys, limiter.overflowed) == (2, 2)
    assert limiter.take("e", 1.0) == pytest.approx(0.9)  # a's place, as empty as the shared one
    assert limiter.take("e", 1.9) == 0.0
    assert (limiter.keys, limiter.overflowed) == (2, 2)
    assert limiter.take("b", 1.4) > 0.0  # nobody had its


def test_a_flood_of_keys_resets_no_bucket() -> None:
    limiter = RateLimiter(RateLimit(1.0, 5), max_keys=10)
    for _ in range(5):
        assert limiter.take("mine", 0.0) == 0.0
    for flood in range(1_000):
        limiter.take(f"flood {flood}", flood / 1_000)
        assert limiter.take("mine", flood / 1_000) > 0.0
    assert limiter.keys == 10
    assert limiter.take("mine", 1.0) == 0.0


def test_when_all_rest_every_place_comes_free() -> None:
    limiter = RateLimiter(RateLimit(1.0, 1), max_keys=50)
    for key in range(50):
        limiter.take(f"{key}", 0.0)
    for key in range(50):
        assert limiter.take(f"new {key}", 1_000_000.0) == 0.0
    assert (limiter.keys, limiter.overflowed) == (50, 0)


steps = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.1, 1 / 3, 1.0, 7.0, 1e5]),
    ),
    max_size=120,
)


@given(
    steps=steps,
    rate=st.sampled_from([0.1, 1.0, 3.0, 10.0, 1_000.0]),
    burst=st.integers(1, 5) | st.none(),
    max_keys=st.integers(1, 12),
    start=st.sampled_from([0.0, 1e7 + 0.1]),
)
def test_never_above_rate_and_burst_over_any_window(
    steps: list[tuple[int, float]], rate: float, burst: int | None, max_keys: int, start: float
) -> None:
    policy = RateLimit(rate, burst)
    limiter = RateLimiter(policy, max_keys)
    now = start
    granted: dict[int, list[float]] = defaultdict(list)
    for key, pause in steps:
        now += pause
        if limiter.take(str(key), now) == 0.0:
            granted[key].append(now)
        assert limiter.keys <= max_keys
    assert limiter.granted + limiter.limited == len(steps)
    assert limiter.granted == sum(map(len, granted.values()))
    for times in granted.values():
        for first, begin in enumerate(times):
            for last in range(first, len(times)):
                window = times[last] - begin
                assert last - first + 1 <= policy.size + rate * (window + 2 * SLACK)


@given(steps=steps, rate=st.sampled_from([0.1, 3.0, 1_000.0]), burst=st.integers(1, 5))
def test_with_room_for_all_a_bucket_is_what_it_would_be_alone(
    steps: list[tuple[int, float]], rate: float, burst: int
) -> None:
    """It refuses nobody who has a token: a model that refills in the way of the textbook."""
    limiter = RateLimiter(RateLimit(rate, burst), 10)
    model: dict[int, tuple[float, float]] = {}
    now = 0.0
    for key, pause in steps:
        now += pause
        tokens, at = model.get(key, (float(burst), now))
        tokens = min(float(burst), tokens + (now - at) * rate)
        wait = limiter.take(str(key), now)
        if abs(tokens - 1.0) > 1e-3:  # where rounding does not decide
            assert (wait == 0.0) == (tokens > 1.0)
        if wait == 0.0:
            tokens -= 1.0
        else:
            assert wait == pytest.approx((1.0 - tokens) / rate, abs=1e-3 / rate)
            later: Any = limiter.take(str(key), now + wait)
            assert later == 0.0
            now, tokens = now + wait, 0.0
        model[key] = (tokens, now)
