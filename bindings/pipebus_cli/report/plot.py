"""A chart as SVG that keeps its text readable at any width, without a script.

Places are percentages across and pixels down, so text never scales; lines are drawn in an inner
picture that is stretched, whose strokes are not. Marks of the y axis stand in the margin that the
class `inset` makes.
"""

from collections.abc import Callable, Sequence
from typing import Final

from pipebus_cli.report.axis import Axis
from pipebus_cli.report.markup import Html, join, tag

TOP: Final = 18
BOTTOM: Final = 24
ACROSS: Final = 1_000
Point = tuple[float, float]


class Plot:
    """A frame with two axes, into which things are drawn."""

    def __init__(
        self,
        x: Axis,
        y: Axis,
        height: int,
        *,
        x_label: Callable[[float], str] | None = None,
        y_label: Callable[[float], str],
    ) -> None:
        self.x = x
        self.y = y
        self.height = height
        self._inside = height - TOP - (BOTTOM if x_label is not None else 6)
        self._drawn: list[Html] = []
        self._over: list[Html] = []
        self._grid(x_label, y_label)

    def _across(self, value: float) -> str:
        return f"{100 * self.x.at(value):.2f}%"

    def _down(self, value: float) -> float:
        return TOP + self._inside * (1 - self.y.at(value))

    def _grid(
        self, x_label: Callable[[float], str] | None, y_label: Callable[[float], str]
    ) -> None:
        for mark in self.y.marks:
            down = self._down(mark)
            self._drawn.append(tag("line", class_="grid", x1="0", x2="100%", y1=down, y2=down))
            self._over.append(
                tag("text", y_label(mark), class_="mark", x="-8", y=down + 4, text_anchor="end")
            )
        if x_label is None:
            return
        for mark in self.x.marks:
            place = self.x.at(mark)
            anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
            across = self._across(mark)
            end = TOP + self._inside
            self._drawn.append(tag("line", class_="tick", x1=across, x2=across, y1=end, y2=end + 4))
            self._over.append(
                tag("text", x_label(mark), class_="mark", x=across, y=end + 18, text_anchor=anchor)
            )

    def _stretched(self, points: Sequence[Point]) -> str:
        return " ".join(
            f"{ACROSS * self.x.at(x):.1f},{self._inside * (1 - self.y.at(y)):.1f}"
            for x, y in points
        )

    def _inner(self, *children: Html) -> None:
        self._drawn.append(
            tag(
                "svg",
                *children,
                x="0",
                y=TOP,
                width="100%",
                height=self._inside,
                viewBox=f"0 0 {ACROSS} {self._inside}",
                preserveAspectRatio="none",
            )
        )

    def line(self, points: Sequence[Point], kind: str) -> None:
        """Draw a line; `kind` is its class."""
        self._inner(tag("polyline", class_=f"line {kind}", points=self._stretched(points)))

    def area(self, points: Sequence[Point], kind: str) -> None:
        """Fill what lies between a line and the x axis."""
        first, last = points[0][0], points[-1][0]
        closed = [(first, self.y.low), *points, (last, self.y.low)]
        self._inner(tag("polygon", class_=f"area {kind}", points=self._stretched(closed)))

    def between(self, lower: Sequence[Point], upper: Sequence[Point], kind: str) -> None:
        """Fill what lies between two lines."""
        self._inner(
            tag("polygon", class_=f"area {kind}", points=self._stretched([*lower, *upper[::-1]]))
        )

    def bar(self, left: float, right: float, value: float, told: str, kind: str = "s1") -> None:
        """Draw a bar from the x axis to `value`; `told` is shown when it is pointed at."""
        start, end = 100 * self.x.at(left), 100 * self.x.at(right)
        down = self._down(value)
        self._drawn.append(
            tag(
                "rect",
                tag("title", told),
                class_=f"bar {kind}",
                x=f"{start:.3f}%",
                width=f"{max(0.05, end - start):.3f}%",
                y=down,
                height=TOP + self._inside - down,
            )
        )

    def point(self, x: float, y: float, told: str, kind: str, label: str = "") -> None:
        """Draw a dot, with words above it where `label` is given."""
        across, down = self._across(x), self._down(y)
        self._over.append(
            tag("circle", tag("title", told), class_=f"dot {kind}", cx=across, cy=down, r="4")
        )
        if label:
            # A curve that rises leaves room to the right below, and to the left above.
            right = self.x.at(x) < 0.5
            self._over.append(
                tag(
                    "text",
                    label,
                    class_="label",
                    x=across,
                    dx="6" if right else "-4",
                    y=down + (17 if right else -9),
                    text_anchor="start" if right else "end",
                )
            )

    def rule(self, x: float, label: str, *, lift: int = 0) -> None:
        """Draw a line up from the x axis, with its name at the top."""
        across, place = self._across(x), self.x.at(x)
        self._over.append(
            tag("line", class_="rule", x1=across, x2=across, y1=TOP + lift, y2=TOP + self._inside)
        )
        anchor = "start" if place < 0.5 else "end"
        self._over.append(
            tag(
                "text",
                label,
                class_="label",
                x=across,
                dx="4" if anchor == "start" else "-4",
                y=TOP + 8 + lift,
                text_anchor=anchor,
            )
        )

    def svg(self, key: str, title: str, description: str) -> Html:
        """Return the picture; `key` makes its ids unique in the page."""
        drawn = join([*self._drawn, *self._over])
        return picture(key, title, description, self.height, drawn, "plot inset")


def picture(
    key: str, title: str, description: str, height: int, drawn: Html, kind: str = "plot"
) -> Html:
    """Return a picture as wide as its place, named for those who do not see it."""
    return tag(
        "svg",
        tag("title", title, id=f"{key}-title"),
        tag("desc", description, id=f"{key}-desc"),
        drawn,
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        width="100%",
        height=height,
        class_=kind,
    )
