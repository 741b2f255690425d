"""Circuit breakers of routes and responders: one that fails is not asked for a while."""

from collections import deque
from collections.abc import Callable

from pipebus.bus.exchange import Exchange
from pipebus.http.problem import answer_for_error
from pipebus.http.response import Response
from pipebus.resilience.circuit_breaker import BreakerChange, CircuitBreaker
from pipebus.resilience.policies import BreakerPolicy


class ResponderBreakers:
    """Makes them, tells them how exchanges ended, and collects what changed.

    Mutators: `new`, `ended`. Outputs: `changes`, and `all` for looking at.
    """

    __slots__ = ("_random", "all", "changes")

    def __init__(self, random: Callable[[], float] | None) -> None:
        self._random = random
        self.all: list[CircuitBreaker] = []
        self.changes: deque[BreakerChange] = deque()
        """What is to be published."""

    def new(self, policy: BreakerPolicy | None, name: str) -> CircuitBreaker | None:
        """Return a breaker, if there is a policy; `ValueError` for one where nothing is drawn."""
        if policy is None:
            return None
        if self._random is None:
            msg = "a breaker needs the engine's `random`"
            raise ValueError(msg)
        breaker = CircuitBreaker(policy, self._random, name=name, changes=self.changes)
        self.all.append(breaker)
        return breaker

    @staticmethod
    def ended(exchange: Exchange, now: float) -> None:
        """Tell a group's breaker how an exchange ended that has a ticket of it."""
        judge(exchange, _went_well(exchange), now)


def judge(exchange: Exchange, ok: bool | None, now: float) -> None:
    """Tell a group's breaker, once, what an exchange that has a ticket of it says of the group."""
    group = exchange.group
    assert group is not None
    assert group.breaker is not None
    ticket, exchange.ticket = exchange.ticket, 0
    group.breaker.record(ticket, ok, now)


def _went_well(exchange: Exchange) -> bool | None:
    """Judge: a fault of the responder's, its answer 5xx or its time over; None: nobody's."""
    if exchange.outcome == "replied":
        return not isinstance(exchange.reply, Response) or exchange.reply.status < 500
    if exchange.outcome == "failed":
        assert exchange.error is not None
        return answer_for_error(exchange.error).status < 500
    return False if exchange.outcome == "timed_out" and exchange.started else None
