"""Circuit breakers: closed, open, one probe, closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipebus.resilience.circuit_breaker import (
    TRANSITIONS,
    BreakerChange,
    BreakerPolicy,
    Breakers,
    CircuitBreaker,
)

POLICY = BreakerPolicy(window=10.0, failure_ratio=0.5, min_calls=4, open_time=5.0, jitter=0.0)


def new(policy: BreakerPolicy = POLICY, random: float = 0.5) -> CircuitBreaker:
    return CircuitBreaker(policy, lambda: random, name="up")


def call(breaker: CircuitBreaker, ok: bool | None, now: float) -> None:
    ticket = breaker.acquire(now)
    assert ticket
    breaker.record(ticket, ok, now)


def opened(now: float = 100.0) -> CircuitBreaker:
    breaker = new()
    for _ in range(4):
        call(breaker, False, now)
    assert breaker.state == "open"
    return breaker


def state(breaker: CircuitBreaker) -> str:
    """The attribute, in words that mypy does not take for unchanging."""
    return breaker.state


def test_it_opens_at_the_ratio_and_not_before_there_are_enough_calls() -> None:
    breaker = new()
    for ok in (False, False, False):
        call(breaker, ok, 100.0)
    assert state(breaker) == "closed"
    call(breaker, True, 100.0)  # three of four
    assert state(breaker) == "open"
    assert list(breaker.changes) == [BreakerChange("up", "closed", "open", 3, 4, 5.0)]


def test_below_the_ratio_it_stays_closed() -> None:
    breaker = new()
    for ok in (True, True, True, False, False, True):
        call(breaker, ok, 100.0)
    assert state(breaker) == "closed"
    call(breaker, False, 100.0)
    assert state(breaker) == "closed"  # three of seven
    call(breaker, False, 100.0)
    assert state(breaker) == "open"


def test_what_is_older_than_the_window_does_not_count() -> None:
    breaker = new()
    for at in (100.0, 104.0, 108.0, 112.0, 116.0, 120.0):
        call(breaker, False, at)
    assert state(breaker) == "closed"


def test_open_it_refuses_at_once_and_says_for_how_long() -> None:
    breaker = opened(100.0)
    assert (breaker.acquire(100.0), breaker.acquire(104.9)) == (0, 0)
    assert breaker.rejected == 2
    assert breaker.retry_after(103.0) == 2.0
    assert breaker.retry_after(106.0) == 0.0
    assert new().retry_after(0.0) == 0.0


def test_one_probe_and_then_closed() -> None:
    breaker = opened(100.0)
    breaker.changes.clear()
    probe = breaker.acquire(105.0)
    assert probe
    assert (breaker.acquire(105.0), breaker.acquire(1e6)) == (0, 0)
    assert breaker.retry_after(105.0) == 0.0
    breaker.record(probe, True, 106.0)
    assert state(breaker) == "closed"
    assert [(c.old, c.new) for c in breaker.changes] == [
        ("open", "half_open"),
        ("half_open", "closed"),
    ]
    for _ in range(3):
        call(breaker, False, 106.0)
    assert state(breaker) == "closed"  # it began anew
    call(breaker, False, 106.0)
    assert state(breaker) == "open"


def test_a_probe_that_fails_opens_it_for_another_while() -> None:
    breaker = opened(100.0)
    call(breaker, False, 107.0)
    assert state(breaker) == "open"
    assert breaker.changes[-1] == BreakerChange("up", "half_open", "open", 0, 0, 5.0)
    assert not breaker.acquire(111.9)
    assert breaker.acquire(112.0)


def test_a_probe_that_is_cancelled_makes_the_next_call_the_probe() -> None:
    breaker = opened(100.0)
    first = breaker.acquire(105.0)
    breaker.record(first, None, 105.0)
    assert state(breaker) == "half_open"
    breaker.record(first, True, 105.0)  # it has had its end
    assert state(breaker) == "half_open"
    second = breaker.acquire(105.0)
    assert second not in (0, first)
    breaker.record(first, True, 105.0)
    assert state(breaker) == "half_open"
    breaker.record(second, True, 105.0)
    assert state(breaker) == "closed"
    assert breaker.ignored == 2


def test_results_from_before_the_opening_do_not_count() -> None:
    breaker = new()
    old = [breaker.acquire(100.0) for _ in range(3)]
    for _ in range(4):
        call(breaker, False, 100.0)
    breaker.record(old[0], True, 101.0)
    assert state(breaker) == "open"
    probe = breaker.acquire(105.0)
    breaker.record(old[1], True, 105.0)
    assert state(breaker) == "half_open"
    breaker.record(probe, True, 105.0)
    breaker.record(old[2], False, 105.0)
    breaker.record(0, False, 105.0)
    assert breaker.ignored == 4
    for _ in range(3):
        call(breaker, False, 105.0)
    assert state(breaker) == "closed"


def test_cancelled_calls_count_neither_way() -> None:
    breaker = new()
    for ok in (False, None, False, None, None, False):
        call(breaker, ok, 100.0)
    assert state(breaker) == "closed"
    call(breaker, False, 100.0)
    assert state(breaker) == "open"


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 4.0), (0.5, 5.0), (0.999, 5.998)])
def test_the_open_time_is_changed_by_a_part_of_it(random: float, seconds: float) -> None:
    policy = BreakerPolicy(min_calls=1, open_time=5.0, jitter=0.2)
    breaker = new(policy, random)
    call(breaker, False, 100.0)
    assert breaker.retry_after(100.0) == pytest.approx(seconds)


class Machine(RuleBasedStateMachine):
    """Any calls, ending in any order: one probe at most, and only results of the time count."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(
            BreakerPolicy(window=10.0, min_calls=2, open_time=5.0, jitter=1.0), self.draw
        )
        self.now = 1_000.0
        self.under_way: list[tuple[int, int]] = []
        self.epoch = 0
        self.drawn = 0.5

    def draw(self) -> float:
        return self.drawn

    def looked(self) -> None:
        """Take the changes; each is in the table, and the first state is the last one's new."""
        while self.breaker.changes:
            change = self.breaker.changes.popleft()
            assert (change.old, change.new) in {(old, to) for (old, _), to in TRANSITIONS.items()}
            self.epoch += 1

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 20.0]), drawn=st.floats(0, 0.999))
    def wait(self, seconds: float, drawn: float) -> None:
        self.now += seconds
        self.drawn = drawn

    @rule()
    def acquire(self) -> None:
        before = self.breaker.state
        probes = self.probes()
        ticket = self.breaker.acquire(self.now)
        self.looked()
        if before == "closed":
            assert ticket
        elif before == "half_open":
            assert bool(ticket) == (not probes)
        else:
            assert bool(ticket) == (self.breaker.state == "half_open")
        if ticket:
            self.under_way.append((ticket, self.epoch))

    def probes(self) -> list[tuple[int, int]]:
        if self.breaker.state != "half_open":
            return []
        return [each for each in self.under_way if each[1] == self.epoch]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), ok=st.sampled_from([True, False, None]))
    def record(self, data: st.DataObject, ok: bool | None) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        ticket, epoch = self.under_way.pop(index)
        before, changes = self.breaker.state, self.epoch
        self.breaker.record(ticket, ok, self.now)
        self.looked()
        if epoch != changes or ok is None:
            assert self.breaker.state == before
        elif before == "half_open":
            assert self.breaker.state == ("closed" if ok else "open")

    @invariant()
    def one_probe_at_most(self) -> None:
        assert len(self.probes()) <= 1

    @invariant()
    def nothing_is_told_twice(self) -> None:
        assert not self.breaker.changes

    def teardown(self) -> None:
        """From wherever it is every state can be reached, and left."""
        self.drawn = 0.5
        for wanted, ok in (("open", False), ("closed", True), ("open", False)):
            for _ in range(50):
                if self.breaker.state == wanted:
                    break
                for ticket, _ in self.under_way:
                    self.breaker.record(ticket, None, self.now)
                self.under_way = []
                self.now += 0.5
                ticket = self.breaker.acquire(self.now)
                if ticket:
                    self.breaker.record(ticket, ok, self.now)
            assert self.breaker.state == wanted


TestMachine = Machine.TestCase


def test_each_name_has_a_breaker_and_all_tell_in_one_place() -> None:
    breakers = Breakers(POLICY, lambda: 0.5)
    one, other = breakers.of("one", 0.0), breakers.of("other", 0.0)
    assert one is not None
    assert other is not None
    assert breakers.of("one", 1.0) is one is not other
    for _ in range(4):
        call(other, False, 1.0)
    assert [(c.name, c.new) for c in breakers.changes] == [("other", "open")]
    assert [(b.name, b.state) for b in breakers.all()] == [("one", "closed"), ("other", "open")]


def test_the_table_forgets_those_that_know_nothing() -> None:
    breakers = Breakers(POLICY, lambda: 0.5, limit=3)
    for name in ("open", "used", "idle"):
        breaker = breakers.of(name, 100.0)
        assert breaker is not None
        for _ in range(4):
            call(breaker, name != "open", 100.0)
    assert breakers.of("new", 101.0) is None
    assert breakers.unguarded == 1
    used = breakers.of("used", 110.0)
    assert used is not None
    call(used, True, 110.0)
    assert breakers.of("new", 111.0) is not None
    assert {b.name for b in breakers.all()} == {"open", "used", "new"}
    assert len(breakers) == 3


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.floats(0, 3)), max_size=100))
def test_the_table_is_bounded_and_no_open_breaker_is_lost(
    steps: list[tuple[int, bool, float]],
) -> None:
    breakers = Breakers(BreakerPolicy(min_calls=2, window=3.0), lambda: 0.5, limit=10)
    opens: dict[str, CircuitBreaker] = {}
    now = 1_000.0
    for number, ok, pause in steps:
        now += pause
        breaker = breakers.of(f"{number}", now)
        assert len(breakers) <= 10
        if breaker is None:
            continue
        known = opens.pop(breaker.name, None)
        assert known is None or known is breaker
        ticket = breaker.acquire(now)
        if ticket:
            breaker.record(ticket, ok, now)
        if breaker.state != "closed":
            opens[breaker.name] = breaker
