"""What a supervisor decides: which worker is started, signalled, replaced, given up, and when."""

import signal
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from pipebus.limits import INFINITY

BACK_OFF_FIRST: Final = 0.1
BACK_OFF_MOST: Final = 10.0
"""Seconds until a worker that dies again is started, doubling from the first to the most."""
SOUND_AFTER: Final = 10.0
"""A worker that has run for this many seconds died of something new: no back-off."""
MARGIN: Final = 10.0
"""Seconds beyond `grace` for what follows the requests: tasks that end, the lifespan."""
STUCK_STATUS: Final = 70  # EX_SOFTWARE of sysexits.h, as of a single process that ends hard


@dataclass(slots=True, eq=False)
class Worker:
    """A process, from the decision to start it until it has ended."""

    slot: int
    started: float
    state: Literal["starting", "ready", "stopping"] = "starting"
    kill_at: float = INFINITY


@dataclass(slots=True, eq=False)
class _Slot:
    current: Worker | None = None
    successor: Worker | None = None
    back_off: float = 0.0
    restart_at: float = INFINITY


@dataclass(frozen=True, slots=True)
class Start:
    """Start a worker's process, with the sockets of its slot."""

    worker: Worker
    replaces: bool = False
    """Whether another one serves in its slot until this one does."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a signal to a worker's process."""

    worker: Worker
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Replace:
    """Tell a worker that another one serves in its place, so that it ends."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line, about one worker or about them all."""

    text: str
    worker: Worker | None = None
    error: bool = False


Action = Start | Send | Replace | Log


class Supervision:
    """Slots, in each of which a worker runs. Knows neither process nor clock.

    Inputs: `begin` (first), `ready`, `ended`, `reload`, `stop`, `handle_timeout`. Outputs:
    `next_action` until it is None, `next_deadline`, `status`.

    The first worker is started alone: if it cannot start, neither can the others, and to say so
    once is enough. `grace` is what a worker has to finish its requests, in seconds.
    """

    def __init__(self, workers: int, *, grace: float) -> None:
        self.status: int | None = None
        """The exit status, once it is over."""
        self.error: str = ""
        """Why the first worker did not start, unless it has said so itself."""
        self._slots = [_Slot() for _ in range(workers)]
        self._grace = grace
        self._alive: list[Worker] = []
        self._actions: deque[Action] = deque()
        self._proven = False  # a worker has been ready once: what is served can be served
        self._stops = 0
        self._last_status = 0
        self._turn: int | None = None  # the slot that a reload has come to
        self._leaving: Worker | None = None  # the worker that was replaced there, until it ends
        self._reload_again = False

    # --- inputs --------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start the first worker."""
        self._slots[0].current = self._start(0, now)

    def ready(self, worker: Worker, now: float) -> None:
        """Take note that a worker accepts connections."""
        if worker.state != "starting":  # it was told to end meanwhile
            return
        worker.state = "ready"
        self._log(f"ready after {now - worker.started:.2f} s", worker)
        slot = self._slots[worker.slot]
        if worker is slot.successor:
            self._leaving, slot.current, slot.successor = slot.current, worker, None
            slot.back_off = 0.0
            if self._leaving is None:
                self._next_turn(now)
            else:
                self._end(self._leaving, now, Replace(self._leaving))
        elif not self._proven:
            self._proven = True
            for number in range(1, len(self._slots)):
                self._slots[number].current = self._start(number, now)
            if self._reload_again:
                self.reload(now)

    def ended(self, worker: Worker, status: int, now: float) -> None:
        """Take note that a process is gone; `status` is as of `Popen.returncode`."""
        self._alive.remove(worker)
        slot = self._slots[worker.slot]
        if self._stops:
            self._stopped(worker, status)
        elif worker is slot.successor:
            slot.successor = None
            self._successor_ended(slot, worker, status, now)
        elif worker is self._leaving:
            self._leaving = None
            self._log(f"{_how(status)}; it was replaced", worker, error=not _as_told(status))
            self._next_turn(now)
        elif self._proven:
            slot.current = None
            what = "its successor starts" if slot.successor else self._restart(slot, worker, now)
            self._log(f"{_how(status)}; {what}", worker, error=True)
        else:
            self._give_up(status)

    def reload(self, now: float) -> None:
        """Replace every worker, one after the other; the old one goes when the new one is ready.

        One that does not start ends it, and the old one stays. A reload within a reload begins
        again: what has started already may not have seen the last change.
        """
        if self._stops:
            return
        if self._turn is None and self._proven:
            self._reload_again = False
            self._log("reloading one by one")
            self._turn = -1
            self._next_turn(now)
            return
        self._reload_again = True
        successor = None if self._turn is None else self._slots[self._turn].successor
        if successor is not None and successor.state != "stopping":
            self._end(successor, now)

    def stop(self, number: int, now: float) -> None:
        """Let every worker drain; the second time, end at once; the third time, kill.

        `number` is the signal that asks for it.
        """
        self._stops += 1
        name = signal.Signals(number).name
        if self._stops == 1:
            self._log(f"{name}: draining")
            for slot in self._slots:
                slot.restart_at = INFINITY
            for worker in self._alive:
                if worker.state != "stopping":  # its second signal would end it at once
                    self._end(worker, now)
            self._end_if_none_is_left()
            return
        self._log(f"{name}: ending at once")
        self._last_status = 128 + number
        for worker in self._alive:
            self._send(worker, signal.SIGTERM if self._stops == 2 else signal.SIGKILL)
            # A signal that comes while the one before waits is lost.
            worker.kill_at = min(worker.kill_at, now + MARGIN)

    def handle_timeout(self, now: float) -> None:
        """Start what was put off, kill what does not end."""
        for number, slot in enumerate(self._slots):
            if slot.restart_at <= now:
                slot.restart_at = INFINITY
                slot.current = self._start(number, now)
        for worker in self._alive:
            if worker.kill_at <= now:
                worker.kill_at = INFINITY
                self._log("does not end: killing it", worker, error=True)
                self._send(worker, signal.SIGKILL)

    # --- outputs -------------------------------------------------------------------------------

    def next_action(self) -> Action | None:
        """Return the next thing to do."""
        return self._actions.popleft() if self._actions else None

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` is due."""
        due = min(
            *(worker.kill_at for worker in self._alive),
            *(slot.restart_at for slot in self._slots),
            INFINITY,
        )
        return due if due < INFINITY else None

    # --- parts ---------------------------------------------------------------------------------

    def _start(self, slot: int, now: float, *, replaces: bool = False) -> Worker:
        worker = Worker(slot, now)
        self._alive.append(worker)
        self._actions.append(Start(worker, replaces))
        return worker

    def _send(self, worker: Worker, number: signal.Signals) -> None:
        self._actions.append(Send(worker, number))

    def _log(self, text: str, worker: Worker | None = None, *, error: bool = False) -> None:
        self._actions.append(Log(text, worker, error))

    def _end(self, worker: Worker, now: float, how: Action | None = None) -> None:
        worker.state = "stopping"
        worker.kill_at = now + self._grace + MARGIN
        self._actions.append(how or Send(worker, signal.SIGTERM))

    def _restart(self, slot: _Slot, worker: Worker, now: float) -> str:
        """Start another in place of one that died; say when."""
        if now - worker.started >= SOUND_AFTER:
            slot.back_off = 0.0
        delay = slot.back_off
        slot.back_off = min(max(2 * delay, BACK_OFF_FIRST), BACK_OFF_MOST)
        if delay:
            slot.restart_at = now + delay
            return f"restarting in {delay:g} s"
        slot.current = self._start(worker.slot, now)
        return "restarting"

    def _give_up(self, status: int) -> None:
        """End: the first worker has not come up, so nothing that is served here would."""
        self.status = status if status > 0 else 128 - status if status else 1
        if status <= 0:  # otherwise it has said why
            self.error = f"the first worker {_how(status)} before it accepted connections"

    def _next_turn(self, now: float) -> None:
        assert self._turn is not None, "only a reload has turns"
        turn = self._turn + 1
        if self._reload_again:
            turn, self._reload_again = 0, False
            self._log("reloading again, from the first")
        if turn == len(self._slots):
            self._turn = None
            self._log("reloaded")
            return
        self._turn = turn
        slot = self._slots[turn]
        slot.restart_at = INFINITY
        slot.successor = self._start(turn, now, replaces=slot.current is not None)

    def _successor_ended(self, slot: _Slot, worker: Worker, status: int, now: float) -> None:
        what = "the old worker stays"
        if slot.current is None:  # it died meanwhile, or waited to be started again
            what = self._restart(slot, worker, now)
        if self._reload_again:
            self._log(f"{_how(status)}; {what}", worker)
            self._next_turn(now)
            return
        self._turn = None
        self._log(
            f"{_how(status)} before it was ready; the reload stops; {what}", worker, error=True
        )

    def _stopped(self, worker: Worker, status: int) -> None:
        stuck = self._stops == 1 and not _as_told(status)
        self._log(_how(status), worker, error=stuck)
        if stuck:
            self._last_status = STUCK_STATUS
        self._end_if_none_is_left()

    def _end_if_none_is_left(self) -> None:
        if not self._alive:
            self.status = self._last_status


def _as_told(status: int) -> bool:
    """Whether a worker that was told to end ended well: one that starts has no handler yet."""
    return status in (0, -signal.SIGTERM)


def _how(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with status {status}" if status else "ended"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-status}"
