"""Making one connection: resolve, then race the addresses (RFC 8305, "happy eyeballs")."""

from collections import deque
from collections.abc import Callable

from pipebus.errors import ConnectError, text_of
from pipebus.http.dial_actions import AbandonConnect, Connect, Resolve
from pipebus.http.message import Address
from pipebus.http.url import Url
from pipebus.limits import INFINITY
from pipebus.timers import Timed, TimerQueue


def interleave(addresses: list[tuple[str, int]]) -> list[Address]:
    """Alternate the families, the first address's first (RFC 8305 section 4); drop duplicates."""
    unique = list(dict.fromkeys(addresses))
    first = [a for a in unique if _is_v6(a) == _is_v6(unique[0])]
    second = [a for a in unique if _is_v6(a) != _is_v6(unique[0])]
    mixed: list[Address] = []
    for index, address in enumerate(first):
        mixed.append(address)
        if index < len(second):
            mixed.append(second[index])
    mixed.extend(second[len(first) :])
    return mixed


def _is_v6(address: tuple[str, int]) -> bool:
    return ":" in address[0]


class Dial(Timed):
    """One connection in the making; it holds one slot of the pool, however many attempts it has."""

    __slots__ = (
        "_expired",
        "attempts",
        "connect_deadline",
        "errors",
        "owner",
        "resolve_id",
        "stagger_at",
        "untried",
        "url",
    )

    def __init__(self, url: Url, expired: "Callable[[Dial, float], None]") -> None:
        super().__init__()
        self.url: Url = url
        self.owner: object = None
        """The call that it is for; None for a spare one."""
        self.resolve_id: str = ""
        """Of the resolution under way."""
        self.untried: list[Address] = []
        """Last one first."""
        self.attempts: dict[str, Address] = {}
        """Those under way, by their id."""
        self.errors: list[tuple[str, BaseException]] = []
        self.connect_deadline: float = INFINITY
        self.stagger_at: float = INFINITY
        """When the next address is to be tried beside those under way."""
        self._expired = expired

    def handle_timeout(self, now: float) -> None:
        """Act on what is due (see `Timed`)."""
        if now >= self.deadline:
            self._expired(self, now)

    def rearm(self) -> None:
        """Make `deadline` true again."""
        self.deadline: float = min(self.connect_deadline, self.stagger_at)
        self.deadline_reason = "connect" if self.deadline == self.connect_deadline else "stagger"

    @property
    def failed(self) -> bool:
        """Whether nothing is left to wait for."""
        return not (self.attempts or self.untried or self.resolve_id)

    def error(self) -> ConnectError:
        """Say why every address failed."""
        reasons = "; ".join(f"{what}: {_describe(error)}" for what, error in self.errors)
        failure = ConnectError(
            f"cannot connect to {self.url.origin}: {reasons or 'it has no address'}"
        )
        if self.errors:
            failure.__cause__ = self.errors[-1][1]
        return failure


class Dialer:
    """All dials under way: names them for the binding, takes its answers, races the addresses.

    Inputs: `resolved`, `resolve_failed`, `connected`, `connect_failed`: each returns the dial that
    it was about, or None if nobody waits for the answer any more. Mutators: `start`, `set_deadline`,
    `try_next`, `abandon`. Output: `outputs`. Deadlines are watched in the given queue.
    """

    __slots__ = (
        "_attempts",
        "_id_prefix",
        "_resolving",
        "_serial",
        "_stagger",
        "_timers",
        "outputs",
    )

    def __init__(self, timers: TimerQueue, *, stagger: float, id_prefix: str) -> None:
        self._timers = timers
        self._stagger = stagger
        self._id_prefix = id_prefix
        self._serial = 0
        self._resolving: dict[str, Dial] = {}
        self._attempts: dict[str, Dial] = {}
        self.outputs: deque[Resolve | Connect | AbandonConnect] = deque()

    def __len__(self) -> int:
        """Count the answers that are awaited."""
        return len(self._resolving) + len(self._attempts)

    def start(self, dial: Dial, now: float) -> None:
        """Resolve the name, or connect at once where there is none to resolve."""
        url = dial.url
        if url.path is not None:
            dial.untried = [url.path]
        elif url.is_address:
            dial.untried = [(url.host, url.port)]
        else:
            dial.resolve_id = self._next_id()
            self._resolving[dial.resolve_id] = dial
            self.outputs.append(Resolve(dial.resolve_id, url.host, url.port))
        self.try_next(dial, now)

    def set_deadline(self, dial: Dial, at: float) -> None:
        """Let the dial end at `at`."""
        dial.connect_deadline = at
        dial.rearm()
        self._timers.watch(dial)

    def try_next(self, dial: Dial, now: float) -> None:
        """Try the next address, if one is left."""
        if dial.untried:
            address = dial.untried.pop()
            dial.stagger_at = now + self._stagger if dial.untried else INFINITY
            attempt_id = self._next_id()
            dial.attempts[attempt_id] = address
            self._attempts[attempt_id] = dial
            self.outputs.append(Connect(attempt_id, address, dial.url.host, dial.url.tls))
            dial.rearm()
            self._timers.watch(dial)

    def resolved(
        self, resolve_id: str, addresses: list[tuple[str, int]], now: float
    ) -> Dial | None:
        """Take a name's addresses and try the first."""
        dial = self._resolving.pop(resolve_id, None)
        if dial is not None:
            dial.resolve_id = ""
            dial.untried = interleave(addresses)[::-1]
            self.try_next(dial, now)
        return dial

    def resolve_failed(self, resolve_id: str, error: BaseException) -> Dial | None:
        """Take note that there is no address to try."""
        dial = self._resolving.pop(resolve_id, None)
        if dial is not None:
            dial.resolve_id = ""
            dial.errors.append((f"resolving {dial.url.host}", error))
        return dial

    def connected(self, attempt_id: str) -> Dial | None:
        """End the race: the others are abandoned."""
        dial = self._attempts.pop(attempt_id, None)
        if dial is not None:
            del dial.attempts[attempt_id]
            self.abandon(dial)
        return dial

    def connect_failed(self, attempt_id: str, error: BaseException, now: float) -> Dial | None:
        """Take note of one address's error and try the next at once (RFC 8305 section 5)."""
        dial = self._attempts.pop(attempt_id, None)
        if dial is not None:
            dial.errors.append((_show(dial.attempts.pop(attempt_id)), error))
            self.try_next(dial, now)
        return dial

    def abandon(self, dial: Dial) -> None:
        """Forget everything that is under way for it."""
        self._resolving.pop(dial.resolve_id, None)
        for attempt_id in dial.attempts:
            del self._attempts[attempt_id]
            self.outputs.append(AbandonConnect(attempt_id))
        dial.attempts.clear()
        self._timers.forget(dial)

    def _next_id(self) -> str:
        self._serial += 1
        return f"{self._id_prefix}d{self._serial}"


def _show(address: Address) -> str:
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _describe(error: BaseException) -> str:
    return text_of(error) or type(error).__name__
