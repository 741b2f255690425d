import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebus.bus.responders import Group
from pipebus.bus.router import Router
from pipebus.bus.subscription import Subscription
from pipebus.bus.topic import TopicTrie, check_pattern, check_topic, specificity
from pipebus.errors import RegistrationError

BAD_ANYWHERE = [
    "", ".", "a.", ".a", "a..b", "a b", "a.\t", "a\n", "a.\x00", "\x7f", "a.b*", "*a", "a>", ">a",
    ">.a", "a.>.b", "a.b\n", "\u2028", "**", ">>",
]  # fmt: skip


@pytest.mark.parametrize("topic", [*BAD_ANYWHERE, "*", ">", "a.*", "a.>"])
def test_bad_topics_are_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="bad topic " + re.escape(repr(topic))):
        check_topic(topic)


@pytest.mark.parametrize("topic", ["a", "a.b", "net.http.request", "ü.1", "a-b_c.$x/y:z", "0"])
def test_good_topics_are_patterns_too(topic: str) -> None:
    check_topic(topic)
    check_pattern(topic)


@pytest.mark.parametrize("pattern", BAD_ANYWHERE)
def test_bad_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(RegistrationError, match="bad pattern " + re.escape(repr(pattern))):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["*", ">", "a.*", "*.b", "a.*.c", "a.>", "*.>", "*.*"])
def test_wildcards_are_patterns(pattern: str) -> None:
    check_pattern(pattern)


def match(pattern: str, topic: str) -> bool:
    """Match the slow and obvious way: the oracle."""
    expression = ".".join(
        {"*": r"[^.]+", ">": r".+"}.get(t, re.escape(t)) for t in pattern.split(".")
    )
    return re.fullmatch(expression, topic) is not None


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a", "a", True),
        ("a", "a.b", False),
        ("a.b", "a", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        (">", "a", True),
        (">", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("*.>", "a", False),
        ("*.*.>", "a.b.c", True),
    ],
)
def test_matching(pattern: str, topic: str, expected: bool) -> None:
    trie: TopicTrie[str] = TopicTrie()
    trie.add(pattern, pattern)
    assert (trie.match(topic) == [pattern]) is expected
    assert match(pattern, topic) is expected


tokens = st.sampled_from(["a", "b", "c"])
topics = st.lists(tokens, min_size=1, max_size=4).map(".".join)
patterns = st.builds(
    lambda head, last: ".".join([*head, last]),
    st.lists(tokens | st.just("*"), max_size=3),
    tokens | st.sampled_from(["*", ">"]),
)


@given(st.lists(patterns, max_size=12), st.lists(st.integers(0, 11), max_size=12), topics)
def test_trie_agrees_with_the_oracle_also_after_removals(
    added: list[str], removed: list[int], topic: str
) -> None:
    trie: TopicTrie[int] = TopicTrie()
    live = dict(enumerate(added))
    for number, pattern in live.items():
        trie.add(pattern, number)
    for number in removed:
        if number in live:
            trie.remove(live.pop(number), number)
    expected = [number for number, pattern in live.items() if match(pattern, topic)]
    assert sorted(trie.match(topic)) == expected


def test_removing_the_last_pattern_prunes_the_trie() -> None:
    trie: TopicTrie[int] = TopicTrie()
    trie.add("a.b", 0)
    for number, pattern in enumerate(["a.b.c.d", "a.b.c.>", "a.*.x"], start=1):
        trie.add(pattern, number)
        trie.remove(pattern, number)
    root = trie._root
    assert list(root.children) == ["a"]
    assert list(root.children["a"].children) == ["b"]
    assert root.children["a"].children["b"].children == {}


def test_matching_does_not_visit_what_cannot_match() -> None:
    trie: TopicTrie[int] = TopicTrie()
    for number in range(2_000):
        trie.add(f"other.{number}.*.>", number)
    trie.add("a.b", 1)
    visited = 0

    class Counting(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            nonlocal visited
            visited += 1
            return super().get(key, default)

    trie._root.children = Counting(trie._root.children)  # type: ignore[assignment] # a spy
    assert trie.match("a.b") == [1]
    assert visited == 2


def sub(serial: int, pattern: str) -> Subscription:
    return Subscription(
        serial, pattern, kind="tap", maxsize=1, overflow="drop_oldest", where=None, owner=None
    )


@pytest.mark.parametrize(
    "best_first",
    [
        ["a.b.c", "a.b.*", "a.b.>", "a.*.c", "a.*.*", "a.*.>", "a.>", "*.b.c", "*.*.*", "*.>", ">"],
    ],
)
def test_the_most_specific_group_wins(best_first: list[str]) -> None:
    assert sorted(best_first, key=specificity) == best_first
    while best_first:
        router = Router(10)
        groups = {pattern: Group(pattern, pattern, 0) for pattern in best_first}
        for group in reversed(groups.values()):
            router.add_group(group)
        assert router.find("a.b.c").group is groups[best_first[0]]
        best_first = best_first[1:]


def test_two_groups_of_one_pattern_are_refused() -> None:
    router = Router(10)
    router.add_group(Group("a.*", "", 0))
    with pytest.raises(RegistrationError, match=r"'a\.\*' has responders already"):
        router.add_group(Group("a.*", "", 0))


def test_subscriptions_come_in_the_order_they_were_made() -> None:
    router = Router(10)
    subs = [sub(1, ">"), sub(2, "a.*"), sub(3, "a.b"), sub(4, "*.b"), sub(5, "a.>")]
    for one in reversed(subs):
        router.add(one)
    assert router.find("a.b").subscriptions == subs


def test_memo_is_bounded_and_forgets_on_every_change() -> None:
    router = Router(3)
    one = sub(1, "a.*")
    router.add(one)
    for number in range(10):
        route = router.find(f"a.{number}")
        assert router.routes[f"a.{number}"] is route
        assert len(router.routes) <= 3
    router.remove(one)
    assert router.routes == {}
    assert router.find("a.1").subscriptions == []
    router.add_group(Group("a.1", "", 0))
    assert router.routes == {}
