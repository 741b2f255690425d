"""Who gets which connection: slots, idle connections and the queue of calls. Pure bookkeeping."""

from collections import OrderedDict

from pipebus.http.client_call import ClientCall
from pipebus.http.client_connection import ClientConnection
from pipebus.http.dial import Dial
from pipebus.limits import ClientLimits


class Origin:
    """What the pool knows about one scheme, host and port; forgotten with its last slot and call."""

    __slots__ = ("idle", "queue", "slots", "spares")

    def __init__(self) -> None:
        self.idle: list[ClientConnection] = []
        """The one used last is last, and used first."""
        self.queue: OrderedDict[ClientCall, None] = OrderedDict()
        """Calls without a connection, oldest first, those with a dial of their own included."""
        self.spares: list[Dial] = []
        """Dials whose call was served by another connection."""
        self.slots: int = 0


class Pool:
    """Slots and queues. A slot is an open connection or a dial; it is taken and freed here.

    Two invariants keep it fair: an origin whose queue has calls has no idle connection, and while
    a call is `blocked` (it waits for a slot) nothing that could make room is left alone.
    """

    __slots__ = ("_limits", "blocked", "idle", "origins", "slots")

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self.origins: dict[str, Origin] = {}
        self.blocked: OrderedDict[ClientCall, None] = OrderedDict()
        """Calls that wait for a slot, oldest first."""
        self.slots: int = 0
        self.idle: int = 0

    # --- calls -------------------------------------------------------------------------------

    def enter(self, call: ClientCall, *, first: bool = False) -> None:
        """Queue a call; `first` for one that has waited before."""
        queue = self._origin(call.origin).queue
        queue[call] = self.blocked[call] = None
        if first:
            queue.move_to_end(call, last=False)
            self.blocked.move_to_end(call, last=False)

    def leave(self, call: ClientCall) -> None:
        """Take a call out of the queue: it has a connection or is over."""
        del self.origins[call.origin].queue[call]
        self.blocked.pop(call, None)
        self._tidy(call.origin)

    def unblock(self, call: ClientCall) -> None:
        """Say that a call now has a dial."""
        del self.blocked[call]

    def first_blocked(self, key: str) -> ClientCall | None:
        """Return the oldest call of an origin that has no dial."""
        for call in self.origins[key].queue:
            if call in self.blocked:
                return call
        return None

    # --- slots -------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """How many slots there are."""
        return self._limits.max_connections

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return self.slots < self._limits.max_connections

    def take_slot(self, key: str) -> None:
        """Count one more dial."""
        self._origin(key).slots += 1
        self.slots += 1

    def free_slot(self, key: str) -> None:
        """Count one connection or dial less."""
        self.origins[key].slots -= 1
        self.slots -= 1
        self._tidy(key)

    # --- idle connections and spare dials ----------------------------------------------------

    def checkout(self, key: str) -> ClientConnection | None:
        """Take the idle connection that was used last."""
        origin = self.origins.get(key)
        if origin is None or not origin.idle:
            return None
        self.idle -= 1
        return origin.idle.pop()

    def next_for(self, key: str) -> ClientCall | None:
        """Return the call that a connection of this origin is to serve now.

        None if there is none, or if a call of another origin has waited longer for the slot.
        """
        queue = self.origins[key].queue
        if not queue:
            return None
        call = next(iter(queue))
        if self.blocked:
            oldest = next(iter(self.blocked))
            if oldest.origin != key and oldest.serial < call.serial:
                return None
        return call

    def put_idle(self, conn: ClientConnection) -> ClientConnection | None:
        """Keep a connection; returns the one to be closed if there are too many now."""
        idle = self.origins[conn.origin_key].idle
        idle.append(conn)
        self.idle += 1
        return idle[0] if len(idle) > self._limits.max_idle_per_origin else None

    def remove_idle(self, conn: ClientConnection) -> None:
        """Take a connection out that may be idle."""
        idle = self.origins[conn.origin_key].idle
        if conn in idle:
            idle.remove(conn)
            self.idle -= 1

    def least_recent(self) -> ClientConnection | None:
        """Return the connection that has been idle for longest, over all origins."""
        oldest = [origin.idle[0] for origin in self.origins.values() if origin.idle]
        return min(oldest, key=_idle_since) if oldest else None

    def spare(self) -> Dial | None:
        """Return a dial nobody waits for, over all origins."""
        for origin in self.origins.values():
            if origin.spares:
                return origin.spares[0]
        return None

    def spare_of(self, key: str) -> Dial | None:
        """Return a dial of this origin that nobody waits for: the one begun first."""
        spares = self.origins[key].spares
        return spares[0] if spares else None

    def add_spare(self, dial: Dial) -> None:
        """Keep a dial that lost its call."""
        self.origins[dial.url.origin].spares.append(dial)

    def remove_spare(self, dial: Dial) -> None:
        """Take a dial out that may be a spare."""
        spares = self.origins[dial.url.origin].spares
        if dial in spares:
            spares.remove(dial)

    def _origin(self, key: str) -> Origin:
        origin = self.origins.get(key)
        if origin is None:
            origin = self.origins[key] = Origin()
        return origin

    def _tidy(self, key: str) -> None:
        origin = self.origins[key]
        if not origin.slots and not origin.queue:
            del self.origins[key]


def _idle_since(conn: ClientConnection) -> float:
    return conn.idle_since
