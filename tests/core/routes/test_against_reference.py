"""The tree against a matcher that tries every pattern, on random tables and paths."""

import functools
import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.errors import RegistrationError
from pipebus.http.route_pattern import compare, parse_pattern
from pipebus.http.routes import Match, MethodNotAllowed, NotFound, Routes

METHODS = ["", "GET", "HEAD", "POST"]
LITERALS = ["a", "b"]


@st.composite
def patterns(draw: st.DrawFn, size: int = 3) -> str:
    method = draw(st.sampled_from(METHODS))
    parts = draw(st.lists(st.sampled_from([*LITERALS, "{}"]), max_size=size))
    tail = draw(st.sampled_from(["", "{$}", "{rest...}", None]))
    if tail is not None:
        parts.append(tail)
    elif not parts:
        parts.append("{}")
    named = [part.replace("{}", f"{{p{place}}}") for place, part in enumerate(parts)]
    return f"{method} /{'/'.join(named)}".lstrip()


paths = st.lists(st.sampled_from([*LITERALS, "c", ""]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def expression(pattern: str) -> re.Pattern[str]:
    """Make a regular expression of a pattern, independently of the parser."""
    path = pattern[pattern.index("/") :]
    path = path.removesuffix("{$}") if path.endswith("{$}") else re.sub(r"/$", "/{_...}", path)
    path = re.sub(r"\{\w+\.\.\.\}", r"(?:.*)", path)
    return re.compile(re.sub(r"\{\w+\}", r"[^/]+", path))


def takes(pattern: str, method: str, path: str) -> bool:
    wanted = pattern.partition(" ")[0] if " " in pattern else ""
    if wanted not in ("", method) and (wanted, method) != ("GET", "HEAD"):
        return False
    return expression(pattern).fullmatch(path) is not None


def rank(pattern: str, method: str) -> tuple[list[int], int]:
    """Sort the more specific first: a literal, a segment, a tail; then the method."""
    kinds = [
        2 if part == "" or part.endswith("...}") else 1 if part.startswith("{p") else 0
        for part in pattern[pattern.index("/") + 1 :].split("/")
    ]
    wanted = pattern.partition(" ")[0] if " " in pattern else ""
    return kinds, [method, "GET", ""].index(wanted)


@given(st.lists(patterns(), max_size=8), st.sampled_from(METHODS[1:]), paths)
def test_tree_agrees_with_the_reference(declared: list[str], method: str, path: str) -> None:
    routes: Routes[str] = Routes()
    kept = []
    for pattern in declared:
        try:
            routes.add(pattern, pattern)
        except RegistrationError:
            continue
        kept.append(pattern)
    matching = [pattern for pattern in kept if takes(pattern, method, path)]
    answer = routes.match(method, path)
    if matching:
        assert isinstance(answer, Match)
        assert answer.value == min(matching, key=lambda pattern: rank(pattern, method))
        return
    others = [pattern for pattern in kept if expression(pattern).fullmatch(path)]
    if others:
        allow = {pattern.partition(" ")[0] for pattern in others}
        allow |= {"HEAD"} if "GET" in allow else set()
        assert isinstance(answer, MethodNotAllowed)
        assert answer.allow == tuple(sorted(allow))
    else:
        assert isinstance(answer, NotFound)


EVERY_PATH = [
    "/" + "/".join(parts)
    for size in range(1, 5)
    for parts in itertools.product(["a", "b", "c", ""], repeat=size)
]


@functools.cache
def everything_taken(pattern: str) -> set[tuple[str, str]]:
    """Return all that a pattern takes in a small world."""
    paths_taken = [path for path in EVERY_PATH if expression(pattern).fullmatch(path)]
    methods = [
        m for m in [*METHODS[1:], "PUT"] if not paths_taken or takes(pattern, m, paths_taken[0])
    ]
    return set(itertools.product(methods, paths_taken))


@settings(max_examples=300)
@given(patterns(2), patterns(2))
def test_order_is_the_order_of_the_sets(one: str, other: str) -> None:
    """What `compare` says agrees with the requests that each takes, over a small world."""
    mine, theirs = everything_taken(one), everything_taken(other)
    order = compare(parse_pattern(one), parse_pattern(other))
    if order == "equal":
        assert mine == theirs
    elif order == "narrower":
        assert mine < theirs
    elif order == "wider":
        assert mine > theirs
    elif order == "disjoint":
        assert not mine & theirs
    else:
        assert mine & theirs
        assert mine - theirs
        assert theirs - mine


@given(st.text(max_size=30))
def test_no_path_crashes(path: str) -> None:
    routes: Routes[int] = Routes()
    routes.add("/{a}/{rest...}", 1)
    routes.add("GET /x", 2)
    routes.match("GET", "/" + path)
    routes.match("GET", path)


@given(st.text(max_size=30))
def test_no_pattern_crashes(pattern: str) -> None:
    try:
        parsed = parse_pattern(pattern)
    except RegistrationError:
        return
    assert parsed.text == pattern
