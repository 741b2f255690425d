"""Figures as text. Each carries its unit: the seed's report was wrong because its script did not."""

from typing import Final

_SHORT: Final = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))
_SIZES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def digits(value: float) -> str:
    """Write a number with three significant digits, whole from 100 on: 0.123, 1.23, 12.3, 1,234."""
    size = abs(value)
    if size >= 99.95 or value == 0.0:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it: `36.5 µs`, `1.20 ms`, `21.5 h`."""
    if seconds >= 7_200.0:
        return f"{digits(seconds / 3_600.0)} h"
    if seconds >= 120.0:
        return f"{digits(seconds / 60.0)} min"
    if seconds == 0.0:
        return "0 s"
    below, factor, unit = next(one for one in _SHORT if abs(seconds) < one[0])
    text = digits(seconds * factor)
    if text == "1,000" and below <= 1.0:  # 999.7 us
        return duration(below)
    return f"{text} {unit}"


def size(count: float) -> str:
    """Write a number of bytes; KiB and so on are powers of 1,024."""
    if abs(count) < 1_024:
        return f"{count:,.0f} bytes"
    value, unit = float(count), 0
    while abs(value) >= 1_023.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1_024.0, unit + 1
    return f"{digits(value)} {_SIZES[unit]}"


def rate(per_second: float) -> str:
    """Write requests per second."""
    return f"{digits(per_second)} requests/s"


def share(part: float, whole: float) -> str:
    """Write a percentage; what is not all is never rounded to 100 %, what is not nothing never to 0."""
    if whole <= 0.0:
        return "-"
    if part == whole:
        return "100 %"
    if part == 0.0:
        return "0 %"
    percent = 100.0 * part / whole
    if percent < 0.01:
        return "< 0.01 %"
    if percent >= 99.9:
        return f"{min(percent, 99.999):.3f} %"
    return f"{percent:.2f} %" if percent < 1.0 else f"{percent:.1f} %"


def change(ratio: float) -> str:
    """Write a ratio as a change: 1.25 is `+25.0 %`."""
    if ratio >= 3.0:
        return f"x {digits(ratio)}"
    return f"{100.0 * (ratio - 1.0):+.1f} %"


def count(number: int, one: str, many: str | None = None) -> str:
    """Write a number of things: `1 request`, `25,816 requests`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
