"""Pieces of a page: tables, figures with their captions, text that does not break inside a figure."""

import re
from typing import Final

from pipebus_cli.report.markup import Html, tag
from pipebus_cli.report.tables import Table

_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|min|h|%|bytes|KiB|MiB|GiB|requests/s)\b|%)")
EMPHASIS: Final = {"better": "better", "worse": "worse", "holds": "holds", "FAILED": "failed"}


def kept(told: str) -> str:
    """Keep figures and their units on one line."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", told)


def advice(told: str) -> list[str]:
    """Return what to do, with what stands in backticks as code. It is ours, not the run's."""
    return [
        tag("code", part) if index % 2 else kept(part) for index, part in enumerate(told.split("`"))
    ]


def _section(title: str, key: str, *content: Html) -> Html:
    return tag("section", tag("h2", title, id=key), *content, aria_labelledby=key)


def table(one: Table, kind: str | None = None, swatches: dict[str, str] | None = None) -> Html:
    """Return a table that scrolls sideways where it does not fit."""
    words = {index % len(one.columns) for index in one.text_columns}

    def cell(index: int, text: str) -> Html:
        emphasis = EMPHASIS.get(text) if index else None
        named = " ".join(word for word in ("words" if index in words else None, emphasis) if word)
        if index == 0:
            swatch = (swatches or {}).get(text)
            return tag("th", text, scope="row", class_=f"swatch {swatch}" if swatch else None)
        return tag("td", text, class_=named or None)

    head = tag(
        "tr",
        *(
            tag("th", name, scope="col", class_="words" if index in words else None)
            for index, name in enumerate(one.columns)
        ),
    )
    rows = [tag("tr", *(cell(index, text) for index, text in enumerate(row))) for row in one.rows]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", one.caption),
            tag("thead", head),
            tag("tbody", *rows),
            class_=kind,
        ),
        class_="wide",
        tabindex="0",
        role="region",
        aria_label=one.caption,
    )


def section(title: str, key: str, *content: Html) -> Html:
    """Return a part of the page under a heading of its own."""
    return tag("section", tag("h2", title, id=key), *content, aria_labelledby=key)


def figure(
    title: str, told: str, drawn: Html, *below: Html, keys: list[tuple[str, str]] | None = None
) -> Html:
    """Return a chart with its title, a sentence, the meaning of its colours, and what is below."""
    legend = (
        tag("ul", *(tag("li", name, class_=f"key {kind}") for name, kind in keys), class_="keys")
        if keys
        else Html("")
    )
    caption = tag("figcaption", tag("h3", title), *((tag("p", told),) if told else ()))
    return tag("figure", caption, drawn, legend, *below, class_="sheet")


def folded(one: Table) -> Html:
    """Return a table that is opened by hand: a chart's figures."""
    return tag("details", tag("summary", "The figures as a table"), table(one))
