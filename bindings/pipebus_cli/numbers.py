"""Numbers on the command line: 64M, 1.5, none."""

import re
from typing import Any, Final, get_args, get_origin

from cyclopts import convert
from cyclopts.token import Token

from pipebus.limits import KIB

_UNITS: Final = {"": 1, "k": KIB, "m": KIB**2, "g": KIB**3}
_WHOLE: Final = re.compile(r"([+-]?[0-9]+)(?:([kmg])(?:i?b)?)?", re.IGNORECASE)
_DURATION: Final = re.compile(r"([+-]?[0-9]*\.?[0-9]+)(ms|s|m|h)?", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def whole_number(text: str) -> int:
    """Read `65536`, `64k`, `64M`, `64MB`, `1GiB`: k, M and G are powers of 1,024."""
    found = _WHOLE.fullmatch(text)
    if found is None:
        msg = f"{text!r} is no whole number (64k, 16M and 1G are powers of 1,024)"
        raise ValueError(msg)
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def duration(text: str) -> float:
    """Read seconds: `30`, `1.5`, `30s`, `250ms`, `2m`, `21.5h`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        msg = f"{text!r} is no duration (30, 1.5s, 250ms, 2m, 1h)"
        raise ValueError(msg)
    return float(found[1]) * _SECONDS[(found[2] or "s").lower()]


def read_value(kind: Any, tokens: tuple[Token, ...]) -> Any:
    """Convert an option: numbers with their units, `none` where a limit can be lifted."""
    kinds = get_args(kind) or (kind,)
    text = tokens[0].value
    if type(None) in kinds and text.lower() == "none":
        return None
    if float in kinds:
        return duration(text)
    if int in kinds and get_origin(kind) is not tuple:
        return whole_number(text)
    return convert(kind, tokens)


def show(value: object) -> str:
    """Write a value as it can be typed: 16777216 is `16M`, None is `none`, 30.0 is `30`."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and value and value % KIB == 0:
        unit = next(unit for unit in "GMk" if value % _UNITS[unit.lower()] == 0)
        return f"{value // _UNITS[unit.lower()]}{unit}"
    return str(value)
