"""How many each client has."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.resilience.client_counts import ClientCounts


def test_one_too_many_is_refused_and_a_place_comes_back() -> None:
    counts = ClientCounts(2)
    assert [counts.enter("a"), counts.enter("a"), counts.enter("a")] == [True, True, False]
    assert counts.enter("b")
    assert (counts.refused, counts.keys, counts.count("a"), counts.count("c")) == (1, 2, 2, 0)
    counts.leave("a")
    assert counts.count("a") == 1
    assert counts.enter("a")
    counts.leave("b")
    assert counts.keys == 1


def test_who_has_none_cannot_leave() -> None:
    with pytest.raises(KeyError):
        ClientCounts(1).leave("a")


@given(
    limit=st.integers(1, 3),
    steps=st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60),
)
def test_exact_and_nothing_stays_behind(limit: int, steps: list[tuple[bool, str]]) -> None:
    counts = ClientCounts(limit)
    inside: Counter[str] = Counter()
    refused = 0
    for enters, key in steps:
        if enters:
            fits = counts.enter(key)
            assert fits == (inside[key] < limit)
            inside[key] += fits
            refused += not fits
        elif inside[key]:
            counts.leave(key)
            inside[key] -= 1
        assert counts.count(key) == inside[key]
        assert counts.keys == len(+inside)
    assert counts.refused == refused
    for key in inside.elements():
        counts.leave(key)
    assert counts.keys == 0
