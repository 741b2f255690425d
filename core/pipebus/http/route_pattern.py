"""A route's pattern: parsing it, and comparing two for which is the more specific."""

import re
from typing import Final, Literal, NoReturn
from urllib.parse import unquote_to_bytes

from pipebus.errors import RegistrationError

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")
"""A token (RFC 9110 section 9.1) without lower case: methods are case-sensitive, so `get` would be
a method that nobody sends."""
_ESCAPED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_DOTS: Final = frozenset({".", ".."})

Order = Literal["disjoint", "equal", "narrower", "wider", "overlap"]


class RoutePattern:
    """A parsed pattern. A path matches segment by segment, each decoded."""

    __slots__ = ("method", "names", "rest", "segments", "template", "text")

    def __init__(
        self,
        text: str,
        method: str,
        template: str,
        segments: tuple[str | None, ...],
        names: tuple[str, ...],
        rest: str | None,
    ) -> None:
        self.text: str = text
        """As it was declared."""
        self.method: str = method
        """Empty for any."""
        self.template: str = template
        """Without the method."""
        self.segments: tuple[str | None, ...] = segments
        """A literal, or None for one segment that is not empty; `{$}` is an empty literal."""
        self.names: tuple[str, ...] = names
        """Of the None segments, in order."""
        self.rest: str | None = rest
        """The tail's name, empty where a trailing slash opens an unnamed one, None without."""


def parse_pattern(text: str) -> RoutePattern:
    """Parse `[METHOD ]/path`, or raise `RegistrationError` saying what is wrong with it."""
    method, space, template = text.partition(" ")
    if not space:
        method, template = "", text
    elif not _METHOD.fullmatch(method):
        _refuse(text, f"{method!r} is no method (upper case, one space after it)")
    if template == "*":
        if method != "OPTIONS":
            _refuse(text, "`*` goes with OPTIONS only")
        return RoutePattern(text, method, template, (), (), None)
    if not template.startswith("/"):
        _refuse(text, "the path must begin with a slash (host patterns are not supported)")
    if bad := re.search(r"[\x00-\x20\x7f?#]", template):
        _refuse(text, f"{bad.group()!r} cannot be in a path")
    return _parse_path(text, method, template)


def with_prefix(prefix: str, text: str) -> str:
    """Return a pattern with `prefix`, such as `/v1/{tenant}`, before its path."""
    if not prefix:
        return text
    if not prefix.startswith("/") or prefix.endswith("/"):
        msg = f"a prefix begins with a slash and does not end with one, unlike {prefix!r}"
        raise RegistrationError(msg)
    method, space, path = text.rpartition(" ")
    if path == "*":
        _refuse(text, "`*` is no path, so it cannot be put under a prefix")
    return method + space + prefix + path


def _parse_path(text: str, method: str, template: str) -> RoutePattern:
    parts = template[1:].split("/")
    last = len(parts) - 1
    segments: list[str | None] = []
    names: list[str] = []
    rest: str | None = None
    for index, part in enumerate(parts):
        if not part:
            if index != last:
                _refuse(text, "an empty segment can never match")
            rest = ""
        elif "{" not in part and "}" not in part:
            segments.append(_literal(text, part))
        elif part == "{$}":
            if index != last:
                _refuse(text, "`{$}` can only be at the end")
            segments.append("")
        else:
            name = _name(text, part, names)
            names.append(name)
            if part.endswith("...}"):
                if index != last:
                    _refuse(text, f"`{part}` can only be at the end")
                rest = name
            else:
                segments.append(None)
    if rest:
        names.pop()
    return RoutePattern(text, method, template, tuple(segments), tuple(names), rest)


def _literal(text: str, part: str) -> str:
    try:
        literal = decode_segment(part)
    except ValueError as error:
        _refuse(text, str(error), error)
    return literal


def _name(text: str, part: str, taken: list[str]) -> str:
    name = part[1:-1].removesuffix("...")
    if part != "{" + part[1:-1] + "}" or not name.isidentifier():
        _refuse(text, f"{part!r} is neither a literal nor {{name}}, {{name...}} or {{$}}")
    if name in taken:
        _refuse(text, f"the name {name!r} is used twice")
    return name


def _refuse(text: str, why: str, cause: Exception | None = None) -> NoReturn:
    msg = f"route pattern {text!r}: {why}"
    raise RegistrationError(msg) from cause


def decode_segment(raw: str) -> str:
    """Decode one segment of a path; raise `ValueError` for one that no route may see.

    Refused are broken escapes and bytes that are no UTF-8 (another parser on the way may read them
    otherwise than this one), NUL, and dot segments, also behind an escaped slash.
    """
    text = raw
    if "%" in raw:
        if not _ESCAPED.fullmatch(raw):
            msg = "a percent sign without two hexadecimal digits in the path"
            raise ValueError(msg)
        try:
            text = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError as error:
            msg = "the path is not UTF-8"
            raise ValueError(msg) from error
        if "\0" in text:
            msg = "a NUL in the path"
            raise ValueError(msg)
    if text in _DOTS or ("/" in text and not _DOTS.isdisjoint(text.split("/"))):
        msg = "a dot segment in the path"
        raise ValueError(msg)
    return text


def compare(one: RoutePattern, other: RoutePattern) -> Order:
    """Say how the requests that `one` matches lie to those that `other` matches."""
    wider, narrower = _compare_methods(one.method, other.method)
    if (wider and narrower) or (one.template == "*") != (other.template == "*"):
        return "disjoint"
    for left, right in zip(one.segments, other.segments, strict=False):
        if left == right:
            continue
        if left is None and right:
            wider = True
        elif right is None and left:
            narrower = True
        else:
            return "disjoint"
    tails = _compare_tails(one, other)
    if tails is None:
        return "disjoint"
    wider |= tails == "wider"
    narrower |= tails == "narrower"
    if wider:
        return "overlap" if narrower else "wider"
    return "narrower" if narrower else "equal"


def _compare_tails(one: RoutePattern, other: RoutePattern) -> Order | None:
    """Compare what follows the segments that both have; None if nothing can match both."""
    longer = len(other.segments) - len(one.segments)
    if longer > 0:
        return None if one.rest is None else "wider"
    if longer < 0:
        return None if other.rest is None else "narrower"
    if (one.rest is None) != (other.rest is None):
        return None  # a tail needs a segment more
    return "equal"


def _compare_methods(one: str, other: str) -> tuple[bool, bool]:
    if one == other:
        return False, False
    if not one or (one == "GET" and other == "HEAD"):
        return True, False
    if not other or (other == "GET" and one == "HEAD"):
        return False, True
    return True, True
