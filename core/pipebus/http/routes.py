"""Which route answers a request: Go's ServeMux grammar, the more specific pattern wins.

A pattern is `[METHOD ]/path`. A path is made of segments: a literal, `{name}` (any one segment that
is not empty), at the end `{name...}` (the rest, slashes and all) or `{$}` (nothing more after the
slash). A path that ends with a slash matches the whole tree below it, as in Go; unlike Go's,
`/tree/` does not match `/tree`, and nothing is redirected. Without a method a pattern answers
every one; GET answers HEAD too, unless HEAD has a route of its own. `OPTIONS *` can be declared;
without, `*` is not found, and OPTIONS of a path is 405 with `Allow`, as any method not declared.

Segments are compared decoded, so `%2F` never splits one (in the value of `{name...}` it reads as a
slash all the same: `Request.raw_path` tells them apart). Paths are not cleaned: an empty segment is
a segment, and a dot segment, escaped or not, is refused with 400. A client resolves dot segments
before it sends (RFC 3986 section 5.2.4); what still has one tries to get out of a tree, and whoever
resolves it here may do so otherwise than the proxy in front. For the same reason broken escapes,
bytes that are no UTF-8, and NUL are refused rather than guessed at.
"""

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import msgspec

from pipebus.errors import RegistrationError
from pipebus.http.route_pattern import RoutePattern, compare, decode_segment, parse_pattern

T = TypeVar("T")

_NO_PARAMS: Final[Mapping[str, str]] = {}


class Match(msgspec.Struct, Generic[T]):
    """A route that answers: its value, the decoded path parameters, and its template."""

    value: T
    params: Mapping[str, str]
    template: str
    """The pattern without its method: a bounded label."""


class NotFound:
    """No template matches: 404."""

    __slots__ = ()


class MethodNotAllowed:
    """Templates match, but for other methods: 405."""

    __slots__ = ("allow",)

    def __init__(self, allow: tuple[str, ...]) -> None:
        self.allow: tuple[str, ...] = allow
        """The methods that would do, sorted: the `Allow` field (RFC 9110 section 10.2.1)."""


class BadPath:
    """A path that no route may see: 400. `detail` says why."""

    __slots__ = ("detail",)

    def __init__(self, detail: str) -> None:
        self.detail: str = detail


_NOT_FOUND: Final = NotFound()


class _Leaf(Generic[T]):
    """Where a pattern ends: what is needed to make its match."""

    __slots__ = ("fixed", "names", "rest", "rest_at", "template", "value")

    def __init__(self, pattern: RoutePattern, value: T) -> None:
        self.value: T = value
        self.template = pattern.template
        # Counted from 1: what a path is split into begins with an empty string.
        places = [index for index, literal in enumerate(pattern.segments, 1) if literal is None]
        self.names: list[tuple[str, int]] = list(zip(pattern.names, places, strict=True))
        self.rest = pattern.rest
        self.rest_at = len(pattern.segments) + 1
        self.fixed: Match[T] | None = None
        """The one match of a pattern without parameters."""
        if not self.names and not self.rest:
            self.fixed = Match(value, _NO_PARAMS, pattern.template)

    def match(self, segments: list[str]) -> Match[T]:
        if self.fixed is not None:
            return self.fixed
        params: dict[str, str] = {}
        for name, index in self.names:
            params[name] = segments[index]
        if self.rest:
            params[self.rest] = "/".join(segments[self.rest_at :])
        return Match(self.value, params, self.template)


class _Node(Generic[T]):
    """A place in a method's tree, after some segments."""

    __slots__ = ("leaf", "literals", "param", "tail")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.param: _Node[T] | None = None
        self.leaf: _Leaf[T] | None = None
        """Of the pattern that ends here."""
        self.tail: _Leaf[T] | None = None
        """Of the pattern that takes all that follows, one segment at least."""


class _Table(Generic[T]):
    """One method's patterns."""

    __slots__ = ("literals", "root")

    def __init__(self) -> None:
        self.literals: dict[str, Match[T]] = {}
        """By the path as it stands on the wire: most requests of most programs end here."""
        self.root: _Node[T] = _Node()


class Routes(Generic[T]):
    """A table of patterns. Mutator: `add`. Query: `match`, `len()`."""

    __slots__ = ("_any", "_patterns", "_plans", "_tables")

    def __init__(self) -> None:
        self._patterns: list[RoutePattern] = []
        self._tables: dict[str, _Table[T]] = {}
        self._plans: dict[str, tuple[_Table[T], ...]] = {}
        """For each declared method (and HEAD): the tables to look in, in order."""
        self._any: tuple[_Table[T], ...] = ()
        """The same for every other method."""

    def __len__(self) -> int:
        return len(self._patterns)

    def add(self, pattern: str, value: T) -> None:
        """Add a route; raise `RegistrationError` for a bad pattern or one that conflicts.

        Two patterns conflict if one request could match both and neither is the more specific.
        """
        parsed = parse_pattern(pattern)
        for other in self._patterns:
            order = compare(parsed, other)
            if order == "equal":
                msg = f"route {pattern!r} matches the same requests as {other.text!r}"
                raise RegistrationError(msg)
            if order == "overlap":
                msg = (
                    f"routes {pattern!r} and {other.text!r} conflict: some requests match both, "
                    "and neither is the more specific"
                )
                raise RegistrationError(msg)
        self._patterns.append(parsed)
        self._insert(parsed, value)
        self._plan()

    def _insert(self, pattern: RoutePattern, value: T) -> None:
        table = self._tables.setdefault(pattern.method, _Table())
        leaf = _Leaf(pattern, value)
        if leaf.fixed is not None and pattern.rest is None and pattern.template.isascii():
            path = pattern.template.removesuffix("{$}")
            if "%" not in path:
                table.literals[path] = leaf.fixed
        if pattern.template == "*":
            return
        node = table.root
        for literal in pattern.segments:
            if literal is not None:
                node = node.literals.setdefault(literal, _Node())
            else:
                if node.param is None:
                    node.param = _Node()
                node = node.param
        if pattern.rest is None:
            node.leaf = leaf
        else:
            node.tail = leaf

    def _plan(self) -> None:
        tables = self._tables
        for method in ("HEAD", *tables):
            looked_in = (method, "GET", "") if method == "HEAD" else (method, "")
            self._plans[method] = tuple(tables[name] for name in looked_in if name in tables)
        self._any = (tables[""],) if "" in tables else ()

    def match(self, method: str, raw_path: str) -> Match[T] | NotFound | MethodNotAllowed | BadPath:
        """Find the route of a request, by its path as it stood on the wire, without the query."""
        # A literal path is narrower than any other pattern that matches it; patterns whose methods
        # say otherwise conflict, so the first table that knows the path has the answer.
        plan = self._plans.get(method, self._any)
        for table in plan:
            found = table.literals.get(raw_path)
            if found is not None:
                return found
        if not raw_path.startswith("/"):
            return _NOT_FOUND
        segments = raw_path.split("/")  # the first is empty: before the leading slash
        if "%" in raw_path or "/." in raw_path:
            try:
                segments = [decode_segment(segment) for segment in segments]
            except ValueError as error:
                return BadPath(str(error))
        for table in plan:
            leaf = _find(table.root, segments, 1)
            if leaf is not None:
                return leaf.match(segments)
        return self._other_methods(segments)

    def _other_methods(self, segments: list[str]) -> NotFound | MethodNotAllowed:
        allow = {
            method
            for method, table in self._tables.items()
            if _find(table.root, segments, 1) is not None
        }
        if not allow:
            return _NOT_FOUND
        if "GET" in allow:
            allow.add("HEAD")
        return MethodNotAllowed(tuple(sorted(allow)))


def _find(node: _Node[T], segments: list[str], index: int) -> _Leaf[T] | None:
    """Find the most specific leaf below a node; visits each node once at most."""
    size = len(segments)
    tail: _Leaf[T] | None = None
    while index < size:
        if node.tail is not None:
            tail = node.tail
        segment = segments[index]
        index += 1
        child = node.literals.get(segment)
        param = node.param
        if param is None or not segment:
            if child is None:
                return tail
            node = child
            continue
        if child is not None:
            found = _find(child, segments, index)
            if found is not None:
                return found
        node = param
    return node.leaf if node.leaf is not None else tail
