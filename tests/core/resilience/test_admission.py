"""Bounds on connections, requests in flight and held bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.limits import Limits
from pipebus.resilience.admission import ANSWERED_OVER_LIMIT, Admission, BodyBudget, Lease


def granted(budget: BodyBudget) -> list[object]:
    owners = []
    while (lease := budget.next_granted()) is not None:
        owners.append(lease.owner)
    return owners


def test_connections_beyond_the_bound_are_refused_then_dropped_and_all_are_counted() -> None:
    admission = Admission(Limits(max_connections=2))
    verdicts = [admission.connect() for _ in range(2 + ANSWERED_OVER_LIMIT + 2)]
    assert verdicts[:2] == ["admitted", "admitted"]
    assert set(verdicts[2 : 2 + ANSWERED_OVER_LIMIT]) == {"refused"}
    assert verdicts[2 + ANSWERED_OVER_LIMIT :] == ["dropped", "dropped"]
    assert (admission.refused, admission.dropped) == (ANSWERED_OVER_LIMIT, 2)
    for _ in verdicts:
        admission.disconnect()
    assert admission.connections == 0
    assert admission.connect() == "admitted"


def test_in_flight_slots_come_back() -> None:
    admission = Admission(Limits(max_in_flight=1))
    assert admission.begin()
    assert not admission.begin()
    assert (admission.in_flight, admission.overloaded) == (1, 1)
    admission.end()
    assert admission.begin()


def test_a_lease_gives_back_when_its_last_holder_lets_go() -> None:
    budget = BodyBudget(10)
    lease = budget.lease()
    assert budget.grow(lease, 10)
    lease.retain()
    lease.release()
    assert budget.held == 10
    lease.release()
    assert budget.held == 0


def test_waiting_is_first_in_first_out_and_a_small_one_does_not_overtake() -> None:
    budget = BodyBudget(10)
    holder, big, small = budget.lease("holder"), budget.lease("big"), budget.lease("small")
    assert budget.grow(holder, 6)
    assert not budget.grow(big, 5)
    assert not budget.grow(small, 1)  # would fit, but stands behind the big one
    assert budget.waiting == 2
    holder.release()
    assert budget.granted
    assert granted(budget) == ["big", "small"]
    assert budget.held == 6


def test_the_first_waits_on_until_all_that_it_wants_fits() -> None:
    budget = BodyBudget(10)
    one, other, waiter = budget.lease("one"), budget.lease("other"), budget.lease("waiter")
    assert budget.grow(one, 4)
    assert budget.grow(other, 5)
    assert not budget.grow(waiter, 6)
    one.release()
    assert granted(budget) == []
    assert (budget.waiting, budget.held) == (1, 5)
    other.release()
    assert granted(budget) == ["waiter"]
    assert budget.held == 6


def test_growing_while_waiting_adds_to_one_place_in_the_line() -> None:
    budget = BodyBudget(4)
    holder, waiter = budget.lease("holder"), budget.lease("waiter")
    assert budget.grow(holder, 4)
    assert not budget.grow(waiter, 1)
    assert not budget.grow(waiter, 2)
    assert budget.waiting == 1
    holder.release()
    assert granted(budget) == ["waiter"]
    assert (waiter.size, budget.held) == (3, 3)


def test_one_that_gives_up_while_waiting_holds_up_nobody() -> None:
    budget = BodyBudget(4)
    holder, gone, waiter = budget.lease("holder"), budget.lease("gone"), budget.lease("waiter")
    assert budget.grow(holder, 3)
    assert not budget.grow(gone, 4)
    assert not budget.grow(waiter, 1)
    gone.release()  # it was the first: the next one fits already
    assert granted(budget) == ["waiter"]
    assert budget.held == 4


def test_one_that_was_granted_and_died_before_it_was_told_is_not_named() -> None:
    budget = BodyBudget(4)
    holder, gone = budget.lease("holder"), budget.lease("gone")
    assert budget.grow(holder, 4)
    assert not budget.grow(gone, 4)
    holder.release()
    gone.release()
    assert granted(budget) == []
    assert budget.held == 0


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.tuples(st.sampled_from(["grow", "release"]), st.integers(0, 5), st.integers(1, 8)),
        max_size=60,
    ),
)
def test_the_budget_is_kept_and_nobody_is_forgotten(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    budget = BodyBudget(limit)
    leases: dict[int, Lease] = {}
    line: list[Lease] = []
    for action, key, size in steps:
        if action == "grow":
            lease = leases.setdefault(key, budget.lease(key))
            before = lease.size
            fits = budget.grow(lease, size)
            assert fits == (lease.size == before + size)
            if not fits and lease not in line:
                line.append(lease)
        elif key in leases:
            leases.pop(key).release()
        line = [lease for lease in line if lease.wanted]
        assert budget.held == sum(lease.size for lease in leases.values()) <= limit
        assert budget.waiting == len(line)
        # Whoever waits does so for a reason: the first in line does not fit.
        assert not line or budget.held + line[0].wanted > limit
    for lease in leases.values():
        lease.release()
    assert (budget.held, budget.waiting) == (0, 0)


@pytest.mark.parametrize("size", [0, 11])
def test_a_body_over_the_whole_budget_waits_and_an_empty_one_never_does(size: int) -> None:
    budget = BodyBudget(10)
    assert budget.grow(budget.lease(), size) == (size <= 10)
