"""Deadlock detection: whether a publisher would wait for itself.

The graph has two kinds of node. A publisher, a subscription or an exchange goes on when *all* it
waits for does; a group goes on when *any* request that holds a slot does. What goes on is found
from the leaves (a publisher that waits for nothing is running code), and whatever is never reached
by that waits for itself. Only edges that the bus was told of are seen; the rest is left to timeouts.
"""

from collections.abc import Collection, Iterator

from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group
from pipebus.bus.subscription import Subscription

Node = Publisher | Subscription | Exchange | Group


def find_cycle(origin: Publisher, target: Subscription | Group) -> tuple[str, ...] | None:
    """Return the chain of names by which `origin`, waiting for `target`, would wait for itself.

    The first and the last are `origin`'s. None if it would not, or if others already wait for
    themselves and `origin` is no part of it.
    """
    return _Walk(origin, target).run()


class _Walk:
    """One depth-first search. It stops as soon as the target is seen to go on."""

    __slots__ = ("free", "origin", "parents", "target")

    def __init__(self, origin: Publisher, target: Subscription | Group) -> None:
        self.origin = origin
        self.target = target
        self.parents: dict[Node, list[Node]] = {target: []}
        """Every node met, and who waits for it."""
        self.free: set[Node] = set()
        """Nodes that will go on."""

    def run(self) -> tuple[str, ...] | None:
        stack: list[tuple[Node, Iterator[Node]]] = []
        self._enter(self.target, stack)
        while stack:
            node, waits_for = stack[-1]
            child = None if node in self.free else next(waits_for, None)
            if child is None:
                stack.pop()
            elif child in self.parents:
                self.parents[child].append(node)
                if child in self.free and self._goes_on(node):
                    self._release(node)
            else:
                self.parents[child] = [node]
                self._enter(child, stack)
        return None if self.target in self.free else self._chain()

    def _enter(self, node: Node, stack: list[tuple[Node, Iterator[Node]]]) -> None:
        if node is self.origin:
            return
        waits_for = _waits_for(node)
        if waits_for:
            stack.append((node, iter(waits_for)))
        else:
            self._release(node)

    def _release(self, node: Node) -> None:
        """Mark `node` free, and all that it was the last hindrance of."""
        work = [node]
        while work:
            node = work.pop()
            self.free.add(node)
            work += [
                parent
                for parent in self.parents[node]
                if parent not in self.free and self._goes_on(parent)
            ]

    def _goes_on(self, node: Node) -> bool:
        """Say whether `node`, of whose hindrances one has just gone, has none left."""
        return isinstance(node, Group) or all(n in self.free for n in _waits_for(node))

    def _chain(self) -> tuple[str, ...] | None:
        """Go back from the origin to the target, over nodes that are stuck."""
        after: dict[Node, Node] = {}
        reached: list[Node] = [self.origin]
        for node in reached:
            if node is self.target:
                break
            for parent in self.parents.get(node, ()):
                if parent not in self.free and parent not in after:
                    after[parent] = node
                    reached.append(parent)
        else:
            return None
        names = [self.origin.name]
        at: Node = self.target
        while at is not self.origin:
            names.append(_name(at))
            at = after[at]
        return (*names, self.origin.name)


def _waits_for(node: Node) -> Collection[Node]:
    """Return what must go on before `node` can; empty if nothing that is known."""
    if isinstance(node, Publisher):
        waits: list[Node] = [parked.subscription for parked in node.places]
        if node.waits_on is not None:
            waits.append(node.waits_on)
        return waits
    if isinstance(node, Subscription):
        return () if node.runner is None else (node.runner,)
    if isinstance(node, Exchange):
        waited = {"queued": node.group, "running": node.answering}.get(node.state)
        return () if waited is None else (waited,)
    # a slot held after its exchange ended belongs to a handler that is on its way out
    leaving = sum(responder.running for responder in node.responders) > len(node.active)
    return () if leaving else node.active


def _name(node: Node) -> str:
    if isinstance(node, Publisher | Group):
        return node.name
    return node.pattern if isinstance(node, Subscription) else node.request.type
