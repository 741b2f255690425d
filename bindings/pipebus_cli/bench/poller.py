"""Waiting for sockets to the microsecond, which an open loop needs and epoll alone does not do."""

import select
import time
from collections.abc import Callable
from typing import Final

_SPIN: Final = 0.0001
"""What a sleep may come late, in seconds: the rest of a wait is spent looking."""
_COARSE: Final = 0.02
"""From here on epoll's milliseconds do: whoever waits looks again, and then finely."""


class EpollPoller:
    """By epoll, whose descriptor select() can wait for: its timeouts are in microseconds.

    `poll` is epoll's own, to a millisecond.
    """

    register: Callable[[int, int], None]
    modify: Callable[[int, int], None]
    unregister: Callable[[int], None]
    poll: Callable[[float], list[tuple[int, int]]]
    close: Callable[[], None]

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close

        self.poll = self._epoll.poll

    def poll_finely(self, seconds: float) -> list[tuple[int, int]]:
        """Return what is ready, after `seconds` at the latest, to some microseconds."""
        if seconds >= _COARSE:
            return self._epoll.poll(seconds - 0.001)
        events = self._epoll.poll(0)
        if events or seconds <= 0:
            return events
        until = time.perf_counter() + seconds
        if seconds > _SPIN:
            select.select([self._epoll], [], [], seconds - _SPIN)
        while not (events := self._epoll.poll(0)) and time.perf_counter() < until:
            pass
        return events


class PollPoller:
    """By poll(), where there is no epoll."""

    register: Callable[[int, int], None]
    modify: Callable[[int, int], None]
    unregister: Callable[[int], None]

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, seconds: float) -> list[tuple[int, int]]:
        """Return what is ready, after about `seconds` at the latest."""
        return self._poll.poll(int(seconds * 1000))

    def poll_finely(self, seconds: float) -> list[tuple[int, int]]:
        """Do the same."""
        return self.poll(seconds)

    def close(self) -> None:
        """Do nothing: there is no descriptor."""


Poller = EpollPoller | PollPoller


def new_poller() -> Poller:
    """Return the better one that this system has."""
    return EpollPoller() if hasattr(select, "epoll") else PollPoller()
