"""Topics and patterns, in NATS's grammar, and the trie that finds the patterns of a topic.

A topic is tokens joined by dots. In a pattern the token `*` stands for exactly one token and a last
token `>` for one or more.
"""

import re
from typing import Final, Generic, TypeVar

from pipebus.errors import RegistrationError

T = TypeVar("T")

ONE: Final = "*"
REST: Final = ">"

_TOPIC: Final = re.compile(r"[^\s.*>]+(?:\.[^\s.*>]+)*")
_PATTERN: Final = re.compile(r"(?:(?:[^\s.*>]+|\*)\.)*(?:[^\s.*>]+|\*|>)")
_RANK: Final = {ONE: 1, REST: 2}
_RULE: Final = "tokens joined by dots, without blanks, control characters"


def check_topic(topic: str) -> None:
    """Raise `ValueError` unless `topic` is one that can be published."""
    if not _TOPIC.fullmatch(topic) or not topic.isprintable():
        msg = f"bad topic {topic!r}: need {_RULE}, * or >"
        raise ValueError(msg)


def check_pattern(pattern: str) -> None:
    """Raise `RegistrationError` unless `pattern` is one that can be subscribed to."""
    if not _PATTERN.fullmatch(pattern) or not pattern.isprintable():
        msg = f"bad pattern {pattern!r}: need {_RULE}; * only as a whole token, > only as the last"
        raise RegistrationError(msg)


def specificity(pattern: str) -> tuple[int, ...]:
    """Return a key by which patterns of one topic sort, the most specific first.

    The first token that differs decides: a literal before `*` before `>`.
    """
    return tuple(_RANK.get(token, 0) for token in pattern.split("."))


class _Node(Generic[T]):
    __slots__ = ("children", "exact", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.exact: list[T] = []
        """Values of the pattern that ends here."""
        self.rest: list[T] = []
        """Values of the pattern that ends here with `>`."""


class TopicTrie(Generic[T]):
    """Values by pattern. Finding those of a topic does not visit patterns that do not match.

    Patterns must have passed `check_pattern`, topics `check_topic`.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        """Put `value` under `pattern`, after those already there."""
        tokens = pattern.split(".")
        rest = tokens[-1] == REST
        node = self._root
        for token in tokens[:-1] if rest else tokens:
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node()
            node = child
        (node.rest if rest else node.exact).append(value)

    def remove(self, pattern: str, value: T) -> None:
        """Take `value` from under `pattern`, where it must be, and prune what is empty."""
        tokens = pattern.split(".")
        rest = tokens[-1] == REST
        path = [self._root]
        for token in tokens[:-1] if rest else tokens:
            path.append(path[-1].children[token])
        node = path.pop()
        (node.rest if rest else node.exact).remove(value)
        for token, parent in zip(reversed(tokens[: len(path)]), reversed(path), strict=True):
            if node.children or node.exact or node.rest:
                break
            del parent.children[token]
            node = parent

    def match(self, topic: str) -> list[T]:
        """Return the values of every pattern that `topic` matches, in no stated order."""
        found: list[T] = []
        nodes = [self._root]
        for token in topic.split("."):
            deeper: list[_Node[T]] = []
            for node in nodes:
                found.extend(node.rest)
                for key in (token, ONE):
                    child = node.children.get(key)
                    if child is not None:
                        deeper.append(child)
            if not deeper:
                return found
            nodes = deeper
        for node in nodes:
            found.extend(node.exact)
        return found
