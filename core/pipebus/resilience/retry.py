"""When a call is made again, and how many may be."""

from collections.abc import Callable

from pipebus.resilience.policies import RetryPolicy
from pipebus.resilience.rolling import RollingCounts

__all__ = ["RetryBudget", "RetryPolicy", "delay"]


def delay(
    policy: RetryPolicy, attempts: int, random: Callable[[], float], retry_after: float = 0.0
) -> float:
    """Return the seconds to wait after `attempts` of them (1 or more).

    Drawn evenly from 0 to a bound that doubles each time up to `cap`. `retry_after` is waited for
    in any case, and the drawn time comes on top: else all who were told the same would be back at
    the same moment.
    """
    bound = min(policy.cap, policy.base * 2.0 ** (attempts - 1))
    return retry_after + bound * random()


class RetryBudget:
    """How many retries the recent past allows: `budget_min`, and `budget` of the calls in it.

    Mutators: `request` for each call, `try_spend` for each retry of one. Counters: `spent`,
    `refused`.
    """

    __slots__ = ("_counts", "_policy", "refused", "spent")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._counts = RollingCounts(policy.budget_window)
        self.spent: int = 0
        self.refused: int = 0

    def request(self, now: float) -> None:
        """Count a call."""
        self._counts.roll(now)
        self._counts.add(marked=False)

    def try_spend(self, now: float) -> bool:
        """Take one retry; False (counted): there is none left."""
        counts, policy = self._counts, self._policy
        counts.roll(now)
        calls = counts.all - counts.marked
        if counts.marked + 1 > policy.budget_min + policy.budget * calls:
            self.refused += 1
            return False
        counts.add(marked=True)
        self.spent += 1
        return True
