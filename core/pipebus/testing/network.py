"""A simulated network: pipes between engines, and everything that can go wrong on one."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pipebus.engine.actions import Link
from pipebus.engine.engine import Engine
from pipebus.http.client import Connect, Resolve
from pipebus.http.message import Address
from pipebus.http.server_events import Close
from pipebus.testing.faults import Faults
from pipebus.testing.world import World

if TYPE_CHECKING:  # a node drives an engine over a network, and a network connects nodes
    from pipebus.testing.node import Node

WINDOW: Final = 65_536
"""Bytes that a pipe holds, see `Network`."""

_FIRST_PORT: Final = 40_000


class End:
    """One end of a pipe: the token of a link, or a test's own (`Network.dial`)."""

    def __init__(self, pipe: "Pipe", node: "Node | None") -> None:
        self.pipe = pipe
        self.node = node
        """Whose engine holds this end; None for a test's."""
        self.link: Link | None = None
        self.received: bytearray = bytearray()
        """What arrived at a test's end."""
        self.reading = True
        """Whether a test's end takes what arrives; see `Network.pause`."""
        self.eof = False
        """The other side's FIN has been read."""
        self.lost = False
        """It is closed, or the connection was reset."""
        self.sent_eof = False
        self.inbox: deque[bytes | None] = deque()
        """Arrived and not read; None is the FIN."""
        self.waiting = 0
        """Bytes on their way to this end or in its inbox."""
        self.arrives: float = 0.0
        """When the last piece under way arrives: pieces keep their order."""

    @property
    def peer(self) -> "End":
        """The other end."""
        return self.pipe.ends[1] if self is self.pipe.ends[0] else self.pipe.ends[0]

    @property
    def engine(self) -> Engine:
        """The engine that holds this end."""
        assert self.node is not None, "a test's end has no engine"
        return self.node.engine

    @property
    def wants_read(self) -> bool:
        """Whether whoever holds this end reads now."""
        return self.reading if self.link is None else self.link.wants_read


class Pipe:
    """A connection between two ends."""

    def __init__(self, near: "Node | None", far: "Node | None") -> None:
        self.ends: tuple[End, End] = (End(self, near), End(self, far))

    @property
    def closed(self) -> bool:
        """Whether it is over for both sides."""
        return all(end.lost or (end.eof and end.sent_eof) for end in self.ends)


class Network:
    """Names to nodes, attempts to pipes, bytes from end to end.

    `window` is how many bytes a pipe holds each way while its reader does not read; more are not
    taken from an engine that writes (a test's `send` knows no such bound).
    """

    def __init__(self, world: World, faults: Faults | None = None, *, window: int = WINDOW) -> None:
        self.world = world
        self.faults: Faults = faults or Faults()
        self._window = window
        self._silent: set[Address] = set()
        self._listeners: dict[Address, Node] = {}
        self._names: dict[str, list[str]] = {}
        self._attempts: set[str] = set()
        self.pipes: list[Pipe] = []
        """Every connection that there was, oldest first."""

    def listen(self, address: Address, node: "Node") -> None:
        """Have `node` accept connections to `address`."""
        self._listeners[address] = node

    def close_listeners(self, node: "Node") -> None:
        """Refuse connections to a node from now on."""
        for address in [a for a, holder in self._listeners.items() if holder is node]:
            del self._listeners[address]

    def silence(self, address: Address) -> None:
        """Leave every attempt to connect to `address` unanswered, as a firewall may."""
        self._silent.add(address)

    def name(self, host: str, *addresses: str) -> None:
        """Have `host` resolve to IP addresses; any other name resolves to itself."""
        self._names[host] = list(addresses)

    @property
    def open_pipes(self) -> int:
        """How many connections are not over for both sides."""
        return sum(1 for pipe in self.pipes if not pipe.closed)

    def cut(self, node: "Node") -> None:
        """Reset every connection of a node, as the end of its process does."""
        for pipe in self.pipes:
            if any(end.node is node and not end.lost for end in pipe.ends):
                self._reset(pipe)

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
            if attempt not in self._attempts:  # abandoned
                return
            if wanted.address in self._silent:
                return
            self._attempts.remove(attempt)
            far = self._listeners.get(wanted.address)
            if far is None or self.faults.strikes("refuse"):
                error = ConnectionRefusedError(f"connection to {wanted.address} refused")
                node.engine.connect_failed(attempt, error, self.world.now)
                node.pump()
                return
            self._join(node, far, attempt, tls=wanted.tls)

        self._attempts.add(attempt)
        self.world.at(self._later(), answer)

    def abandon(self, attempt_id: str) -> None:
        """Forget an attempt."""
        self._attempts.discard(attempt_id)

    def _join(self, near: "Node", far: "Node", attempt: str, *, tls: bool) -> None:
        pipe = Pipe(near, far)
        client = near.engine.connected(attempt, pipe.ends[0], self.world.now)
        assert client is not None, "an attempt is abandoned here before its engine forgets it"
        pipe.ends[0].link = client
        self._accept(pipe, far, tls=tls)
        near.pump()
        self.flush(client)

    def _accept(self, pipe: Pipe, far: "Node", *, tls: bool) -> None:
        self.pipes.append(pipe)
        end = pipe.ends[1]
        end.link = far.engine.accepted(
            client=("127.0.0.1", _FIRST_PORT + len(self.pipes)),
            tls=tls,
            token=end,
            now=self.world.now,
        )
        far.pump()

    def dial(self, address: Address, *, tls: bool = False) -> End:
        """Connect a test itself: write by `send`, read `End.received`.

        Raises `ConnectionRefusedError` if nobody listens at `address`.
        """
        far = self._listeners.get(address)
        if far is None:
            msg = f"connection to {address} refused"
            raise ConnectionRefusedError(msg)
        pipe = Pipe(None, far)
        self._accept(pipe, far, tls=tls)
        return pipe.ends[0]

    # --- moving bytes --------------------------------------------------------------------------

    def send(self, end: End, data: bytes) -> None:
        """Send bytes from a test's end; ignored once it is closed."""
        if data and not end.lost and not end.sent_eof:
            self._carry(end, data)

    def send_eof(self, end: End) -> None:
        """Shut the sending side of a test's end."""
        if not end.lost:
            self._fin(end)

    def close(self, end: End) -> None:
        """Close a test's end: a FIN, and whatever still comes for it is answered by a reset."""
        if not end.lost:
            self._leave(end)

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
        assert isinstance(end, End), "its token was given to it here"
        if end.lost:
            return
        node = end.node
        assert node is not None, "only an engine has links"
        while data := link.data_to_send():
            if end.sent_eof:  # by a fault: the way out is gone, and this write says so
                self._reset(end.pipe)
                break
            room = self._window - end.peer.waiting
            if room <= 0:
                break
            piece = bytes(data[:room])
            if not self._carry(end, piece):
                break
            node.engine.data_sent(link, len(piece), self.world.now)
        else:
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
            self._leave(end)

    def _carry(self, end: End, data: bytes) -> bool:
        """Put bytes on their way to the other end; False if that cost the connection."""
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
                return False
            peer.waiting += len(piece)
            self._schedule(peer, piece)
        if faults.strikes("half_close"):
            self._fin(end)
        return True

    def _fin(self, end: End) -> None:
        if not end.sent_eof:
            end.sent_eof = True
            self._schedule(end.peer, None)

    def _schedule(self, to: End, piece: bytes | None) -> None:
        def arrive() -> None:
            if to.lost:
                if piece is not None:  # who writes to a closed socket is answered by a reset
                    self._reset(to.pipe)
                return
            to.inbox.append(piece)
            self._deliver(to)
            if to.node is not None:
                to.node.pump()

        self._in_order(to, arrive)

    def _in_order(self, to: End, action: Callable[[], None]) -> None:
        """Have `action` happen after all that is under way to an end."""
        to.arrives = max(to.arrives, self._later())
        self.world.at(to.arrives, action)

    def _later(self) -> float:
        faults, now = self.faults, self.world.now
        if faults.strikes("stall"):
            return now + faults.seconds(100 * faults.longest)
        return now + faults.seconds(faults.longest) if faults.strikes("delay") else now

    def _deliver(self, end: End) -> None:
        """Give an end what has arrived, as far as it reads."""
        while end.inbox and not end.lost and end.wants_read:
            piece = end.inbox.popleft()
            if piece is None:
                self._read_eof(end)
            else:
                self._read(end, piece)
                self._unblock(end.peer)

    def _read(self, end: End, piece: bytes) -> None:
        end.waiting -= len(piece)
        if end.link is None:
            end.received += piece
        else:
            end.engine.receive_data(end.link, piece, self.world.now)

    def _read_eof(self, end: End) -> None:
        end.eof = True
        if end.link is None:
            self._fin(end)  # a test's end closes as soon as the other side has
        else:
            end.engine.receive_eof(end.link, self.world.now)

    def _unblock(self, end: End) -> None:
        """Let a writer go on whose pipe was full."""
        link = end.link
        if link is not None and link.data_to_send():
            self.world.at(self.world.now, lambda: self.flush(link))

    def _leave(self, end: End) -> None:
        """Close one end for good: its engine hears the last word; the other may still read.

        Closing with bytes unread is a reset (RFC 9112 section 9.6), after what is under way.
        """
        unread = any(end.inbox)
        self._lose(end)
        if unread:
            self._in_order(end.peer, lambda: self._reset(end.pipe))
        else:
            self._fin(end)

    def _reset(self, pipe: Pipe) -> None:
        for end in pipe.ends:
            end.inbox.clear()
            self._lose(end)

    def _lose(self, end: End) -> None:
        if end.lost:
            return
        end.lost = True
        link, node = end.link, end.node
        if link is not None:
            assert node is not None, "only an engine has links"
            node.engine.connection_lost(link, self.world.now)
            self.world.at(self.world.now, node.pump)
