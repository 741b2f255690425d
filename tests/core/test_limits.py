from dataclasses import FrozenInstanceError, fields

import pytest

from pipebus.limits import ClientLimits, Limits, Timeouts

ALL = [(kind, field.name) for kind in (Limits, Timeouts, ClientLimits) for field in fields(kind)]
MAY_BE_ZERO = {
    "drain_delay", "grace", "half_close_grace", "idle_grace", "linger_timeout", "retry_after",
    "max_idle_per_origin", "max_body",
}  # fmt: skip
MAY_BE_NONE = {
    "max_body", "max_connections_per_client", "max_in_flight_per_client", "max_loop_lag",
    "stream_idle", "connect", "write", "read", "pool", "total",
}  # fmt: skip


def test_defaults_are_valid() -> None:
    assert Limits().max_connections == 10_000
    assert Timeouts().total == 120.0
    assert ClientLimits().max_connections == 100


@pytest.mark.parametrize(("kind", "name"), ALL)
@pytest.mark.parametrize("bad", [-1, float("nan"), True, False])
def test_a_bound_that_is_none_is_refused_by_name(kind: type, name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{name} must be .*, not {bad!r}"):
        kind(**{name: bad})


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_zero_is_refused_where_nothing_would_ever_work(kind: type, name: str) -> None:
    if name in MAY_BE_ZERO:
        assert getattr(kind(**{name: 0}), name) == 0
    else:
        with pytest.raises(ValueError, match="more than 0, not 0"):
            kind(**{name: 0})


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in ALL if n in MAY_BE_NONE])
def test_none_lifts_a_bound(kind: type, name: str) -> None:
    if (kind, name) != (ClientLimits, "max_body"):
        assert getattr(kind(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, n in ALL if n not in MAY_BE_NONE or k is ClientLimits]
)
def test_none_is_refused_where_a_bound_is_needed(kind: type, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*, not None"):
        kind(**{name: None})


@pytest.mark.parametrize("bad", ["10", b"1", [1], 1.5, float("inf")])
def test_what_is_no_number_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"Limits\.max_head must be a whole number, more than 0"):
        Limits(max_head=bad)  # type: ignore[arg-type] # the point of the test


def test_durations_may_be_whole_or_infinite() -> None:
    assert Limits(grace=5).grace == 5
    assert Limits(idle_timeout=float("inf")).idle_timeout == float("inf")


def test_limits_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().max_head = 1  # type: ignore[misc] # the point of the test
