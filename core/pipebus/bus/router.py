"""Routing: which subscriptions and which group a topic reaches, remembered per topic."""

from pipebus.bus.responders import Group
from pipebus.bus.subscription import Subscription
from pipebus.bus.topic import TopicTrie, check_topic, specificity
from pipebus.errors import RegistrationError


class Route:
    """Where the events and requests of one topic go."""

    __slots__ = ("blocking", "group", "subscriptions")

    def __init__(self, subscriptions: list[Subscription], group: Group | None) -> None:
        self.subscriptions: list[Subscription] = subscriptions
        """In the order in which they were made."""
        self.blocking: list[Subscription] = [
            sub for sub in subscriptions if sub.overflow == "block"
        ]
        self.group: Group | None = group


class Router:
    """Finds the route of a topic. A change forgets what is remembered.

    `routes` remembers at most `memo` topics; when it is full it starts afresh, which costs a busy
    topic one look-up in the trie per `memo` new ones.
    """

    __slots__ = ("_groups", "_memo", "_patterns", "_subscriptions", "routes")

    def __init__(self, memo: int) -> None:
        self._memo = memo
        self._subscriptions: TopicTrie[Subscription] = TopicTrie()
        self._groups: TopicTrie[Group] = TopicTrie()
        self._patterns: set[str] = set()
        self.routes: dict[str, Route] = {}
        """Look here first; on a miss call `find`."""

    def add(self, sub: Subscription) -> None:
        """Let `sub` have the events of its pattern from now on."""
        self._subscriptions.add(sub.pattern, sub)
        self.routes.clear()

    def remove(self, sub: Subscription) -> None:
        """Undo `add`."""
        self._subscriptions.remove(sub.pattern, sub)
        self.routes.clear()

    def add_group(self, group: Group) -> None:
        """Let `group` have the requests of its pattern; raise `RegistrationError` if it is taken."""
        if group.pattern in self._patterns:
            msg = f"{group.pattern!r} has responders already: add to its group instead"
            raise RegistrationError(msg)
        self._patterns.add(group.pattern)
        self._groups.add(group.pattern, group)
        self.routes.clear()

    def find(self, topic: str) -> Route:
        """Work out the route of `topic` and remember it; raise `ValueError` for a bad topic."""
        check_topic(topic)
        subs = sorted(self._subscriptions.match(topic), key=_serial)
        groups = self._groups.match(topic)
        route = Route(subs, min(groups, key=_specificity) if groups else None)
        if len(self.routes) >= self._memo:
            self.routes.clear()
        self.routes[topic] = route
        return route


def _serial(sub: Subscription) -> int:
    return sub.serial


def _specificity(group: Group) -> tuple[int, ...]:
    return specificity(group.pattern)
