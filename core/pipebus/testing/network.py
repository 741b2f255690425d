"""A simulated network: pipes between engines, and everything that can go wrong on one."""

import random  # noqa: TID251 (seeded: a network that can be had again)
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from pipebus.engine.actions import Link
from pipebus.http.client import Connect, Resolve
from pipebus.http.message import Address
from pipebus.http.server_events import Close
from pipebus.testing.world import World

if TYPE_CHECKING:  # a node drives an engine over a network, and a network connects nodes
    from pipebus.testing.node import Node

WINDOW: Final = 65_536
"""Bytes that a pipe holds when its reader does not read; more are not taken from the writer."""


class Faults:
    """How unkind the network is. Seeded: the same seed, the same network.

    Each is a probability from 0 (the default) to 1. Per piece of data: `split` (it arrives in
    pieces), `delay` (it arrives up to `longest` seconds late), `stall` (nothing moves that way for
    up to 100 x `longest`). Per piece as well, on one connection in all: `reset` (both sides lose
    it) and `half_close` (the sender's FIN follows this piece). Per attempt: `refuse`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        split: float = 0.0,
        delay: float = 0.0,
        stall: float = 0.0,
        reset: float = 0.0,
        half_close: float = 0.0,
        refuse: float = 0.0,
        longest: float = 0.05,
    ) -> None:
        self._random = random.Random(seed)
        self.longest = longest
        self.hits: Counter[str] = Counter()
        """How often each fault happened."""
        self._chances = {
            "split": split,
            "delay": delay,
            "stall": stall,
            "reset": reset,
            "half_close": half_close,
            "refuse": refuse,
        }

    def strikes(self, fault: str) -> bool:
        """Draw whether a fault happens now."""
        chance = self._chances[fault]
        struck = chance > 0.0 and self._random.random() < chance
        if struck:
            self.hits[fault] += 1
        return struck

    def seconds(self, longest: float) -> float:
        """Draw a duration."""
        return self._random.random() * longest

    def cut(self, size: int) -> int:
        """Draw where to cut a piece of `size` bytes (at least 2): short pieces are likely."""
        return min(1 + int(self._random.random() ** 3 * size), size - 1)


class End:
    """One end of a pipe: the token of a link. `receive` gives it to an engine or to a test."""

    def __init__(self, pipe: "Pipe", node: "Node | None") -> None:
        self.pipe = pipe
        self.node = node
        self.link: Link | None = None
        self.received = bytearray()
        """What arrived at an end that no engine holds: a test's."""
        self.reading = True
        """Whether a test's end takes what arrives; see `Network.pause`."""
        self.eof = False
        self.lost = False
        self.inbox: deque[bytes | None] = deque()
        """On its way to this end or waiting to be read; None is the FIN."""
        self.waiting = 0
        self.arrives = 0.0
        """When the last piece under way arrives: pieces keep their order."""
        self.sent_eof = False

    @property
    def peer(self) -> "End":
        """The other end."""
        return self.pipe.ends[1] if self is self.pipe.ends[0] else self.pipe.ends[0]


class Pipe:
    """A connection between two ends."""

    def __init__(self, near: "Node | None", far: "Node | None") -> None:
        self.ends = (End(self, near), End(self, far))
        self.closed = False


class Network:
    """Names to nodes, attempts to pipes, bytes from end to end."""

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self._listeners: dict[Address, Node] = {}
        self._names: dict[str, list[str]] = {}
        self._abandoned: set[str] = set()
        self.pipes: list[Pipe] = []

    def listen(self, address: Address, node: "Node") -> None:
        """Have `node` accept connections to `address`."""
        self._listeners[address] = node

    def close_listeners(self, node: "Node") -> None:
        """Refuse connections to a node from now on."""
        for address in [a for a, holder in self._listeners.items() if holder is node]:
            del self._listeners[address]

    def name(self, host: str, *addresses: str) -> None:
        """Have `host` resolve to IP addresses; any other name resolves to itself."""
        self._names[host] = list(addresses)

    @property
    def open_pipes(self) -> int:
        """How many connections neither side has closed."""
        return sum(1 for pipe in self.pipes if not pipe.closed)

    # --- connecting ----------------------------------------------------------------------------

    def resolve(self, node: "Node", wanted: Resolve) -> None:
        """Answer a `Resolve`."""
        addresses = self._names.get(wanted.host, [wanted.host])

        def answer() -> None:
            if addresses:
                found = [(address, wanted.port) for address in addresses]
                node.engine.resolved(wanted.id, found, self.world.now)
            else:
                error = OSError(f"no such host: {wanted.host}")
                node.engine.resolve_failed(wanted.id, error, self.world.now)
            node.pump()

        self.world.at(self._later(), answer)

    def connect(self, node: "Node", wanted: Connect) -> None:
        """Answer a `Connect`."""
        attempt = wanted.attempt_id

        def answer() -> None:
            if attempt in self._abandoned:
                return
            far = self._listeners.get(wanted.address)
            if far is None or self.faults.strikes("refuse"):
                error = ConnectionRefusedError(f"connection to {wanted.address} refused")
                node.engine.connect_failed(attempt, error, self.world.now)
                node.pump()
                return
            self._join(node, far, attempt, tls=wanted.tls)

        self.world.at(self._later(), answer)

    def abandon(self, attempt_id: str) -> None:
        """Forget an attempt."""
        self._abandoned.add(attempt_id)

    def _join(self, near: "Node", far: "Node", attempt: str, *, tls: bool) -> None:
        now = self.world.now
        pipe = Pipe(near, far)
        client = near.engine.connected(attempt, pipe.ends[0], now)
        if client is None:
            near.pump()
            return
        self.pipes.append(pipe)
        self._accept(pipe, far, tls=tls)
        pipe.ends[0].link = client
        near.pump()
        self.flush(client)

    def _accept(self, pipe: Pipe, far: "Node", *, tls: bool) -> None:
        port = 40_000 + len(self.pipes)
        end = pipe.ends[1]
        end.link = far.engine.accepted(
            client=("127.0.0.1", port), tls=tls, token=end, now=self.world.now
        )
        far.pump()

    def dial(self, address: Address, *, tls: bool = False) -> End:
        """Connect a test itself to a listener: write by `send`, read `End.received`."""
        far = self._listeners[address]
        pipe = Pipe(None, far)
        self.pipes.append(pipe)
        self._accept(pipe, far, tls=tls)
        return pipe.ends[0]

    # --- moving bytes --------------------------------------------------------------------------

    def send(self, end: End, data: bytes) -> None:
        """Send bytes from a test's end."""
        self._carry(end, data)

    def send_eof(self, end: End) -> None:
        """Shut the sending side of a test's end."""
        self._fin(end)

    def pause(self, end: End) -> None:
        """Stop reading at a test's end: the pipe fills, then the other side cannot send."""
        end.reading = False

    def resume(self, end: End) -> None:
        """Read on at a test's end."""
        end.reading = True
        self.world.at(self.world.now, lambda: self._deliver(end))

    def reset(self, end: End) -> None:
        """Cut the connection: both sides lose it, and what is under way."""
        self._reset(end.pipe)

    def flush(self, link: Link) -> None:
        """Do what a link asks for: send, read, close."""
        end = link.token
        if not isinstance(end, End) or end.link is not link or end.lost:
            return
        node = end.node
        assert node is not None
        while (data := link.data_to_send()) and not end.sent_eof:
            room = WINDOW - end.peer.waiting
            if room <= 0 or end.pipe.closed:
                break
            piece = bytes(data[:room])
            self._carry(end, piece)
            node.engine.data_sent(link, len(piece), self.world.now)
        if not link.data_to_send():
            self._close(end, link)
        self._deliver(end)
        node.pump()

    def _close(self, end: End, link: Link) -> None:
        how = link.wants_close
        if how is Close.RESET:
            self._reset(end.pipe)
        elif how is Close.LINGER:
            self._fin(end)
        elif how is Close.AFTER_FLUSH:
            self._fin(end)
            self._leave(end)

    def _carry(self, end: End, data: bytes) -> None:
        """Put bytes on their way to the other end."""
        faults = self.faults
        pieces = [data]
        while len(pieces[-1]) > 1 and faults.strikes("split"):
            last = pieces.pop()
            cut = faults.cut(len(last))
            pieces += [last[:cut], last[cut:]]
        peer = end.peer
        for piece in pieces:
            if faults.strikes("reset"):
                self._reset(end.pipe)
                return
            peer.waiting += len(piece)
            self._schedule(peer, piece)
        if faults.strikes("half_close"):
            self._fin(end)

    def _fin(self, end: End) -> None:
        if not end.sent_eof:
            end.sent_eof = True
            self._schedule(end.peer, None)

    def _schedule(self, to: End, piece: bytes | None) -> None:
        to.arrives = max(to.arrives, self._later())

        def arrive() -> None:
            to.inbox.append(piece)
            self._deliver(to)
            if to.node is not None:
                to.node.pump()

        self.world.at(to.arrives, arrive)

    def _later(self) -> float:
        faults, now = self.faults, self.world.now
        if faults.strikes("stall"):
            return now + faults.seconds(100 * faults.longest)
        return now + faults.seconds(faults.longest) if faults.strikes("delay") else now

    def _deliver(self, end: End) -> None:
        """Give an end what has arrived, as far as it reads."""
        link = end.link
        while end.inbox and not end.lost:
            if link is None:
                if end.node is not None:  # accepted, and its engine has not been told yet
                    return
                if not end.reading:
                    return
            elif not link.wants_read:
                return
            piece = end.inbox.popleft()
            now = self.world.now
            if piece is None:
                end.eof = True
                if link is not None and end.node is not None:
                    end.node.engine.receive_eof(link, now)
                self._both_done(end.pipe)
                continue
            end.waiting -= len(piece)
            if link is None:
                end.received += piece
            elif end.node is not None:
                end.node.engine.receive_data(link, piece, now)
            self._unblock(end.peer)

    def _unblock(self, end: End) -> None:
        """Let a writer go on whose pipe was full."""
        link = end.link
        if link is not None and link.data_to_send():
            self.world.at(self.world.now, lambda: self.flush(link))

    def _both_done(self, pipe: Pipe) -> None:
        """Close a test's end as well, once it has seen the other's FIN."""
        for end in pipe.ends:
            if end.node is None and end.eof and not end.sent_eof:
                self._fin(end)

    def _leave(self, end: End) -> None:
        """Close one end for good: its engine hears the last word; the other may still read."""
        self._lose(end)
        peer = end.peer
        if peer.lost or peer.node is None:
            end.pipe.closed = True

    def _reset(self, pipe: Pipe) -> None:
        pipe.closed = True
        for end in pipe.ends:
            end.inbox.clear()
            self._lose(end)

    def _lose(self, end: End) -> None:
        if end.lost:
            return
        end.lost = True
        node, link = end.node, end.link
        if node is not None and link is not None:
            node.engine.connection_lost(link, self.world.now)
            self.world.at(self.world.now, node.pump)
