"""HTML and SVG from nested calls. A plain string is always text: only `tag` makes markup."""

import re
from collections.abc import Iterable
from html import escape
from typing import Final

_HIDDEN: Final = re.compile(
    # Controls; marks that turn the direction of what follows, so that a name reads as another;
    # lone surrogates, which no encoding can write.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_VOID: Final = frozenset({"meta", "br", "hr"})


class Html(str):
    """Markup that is finished: it is not escaped again."""

    __slots__ = ()


def visible(text: str) -> str:
    """Replace what would not be seen, or would change how its neighbours are."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def text(value: str) -> Html:
    """Escape text for an element or a quoted attribute; markup passes."""
    return value if isinstance(value, Html) else Html(escape(visible(value)))


def join(parts: Iterable[str]) -> Html:
    """Put parts one after the other; plain strings are escaped."""
    return Html("".join(text(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """Return an element. `class_` is the attribute class, `stroke_width` stroke-width; None: without."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{join(children)}</{name}>")


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
