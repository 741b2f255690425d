"""Which route answers a request: Go's ServeMux grammar, the more specific pattern wins.

A pattern is `[METHOD ]/path`, a path of literal segments, `{name}` (one segment, not empty),
`{name...}` (the tail, at the end only) and `{$}` (nothing more, after a slash).
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Match(Generic[T]):
    """A route that answers: its value, the decoded path parameters, and its template."""

    __slots__ = ("params", "template", "value")

    def __init__(self, value: T, params: Mapping[str, str], template: str) -> None:
        self.value = value
        self.params = params
        self.template = template
        """The pattern without its method: a bounded label."""


class NotFound:
    """No template matches: 404."""

    __slots__ = ()


class MethodNotAllowed:
    """Templates match, but for other methods: 405."""

    __slots__ = ("allow",)

    def __init__(self, allow: tuple[str, ...]) -> None:
        self.allow = allow
        """The methods that would do, sorted: the `Allow` field (RFC 9110 section 10.2.1)."""


class BadPath:
    """A path that no route may see: 400. `detail` says why."""

    __slots__ = ("detail",)

    def __init__(self, detail: str) -> None:
        self.detail = detail


class Routes(Generic[T]):
    """A table of patterns. Mutator: `add`. Query: `match`, `len()`."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def add(self, pattern: str, value: T) -> None:
        """Add a route; raise `RegistrationError` for a bad pattern or one that conflicts."""
        raise NotImplementedError

    def match(self, method: str, raw_path: str) -> Match[T] | NotFound | MethodNotAllowed | BadPath:
        """Find the route of a request, by its path as it stood on the wire, without the query."""
        raise NotImplementedError
