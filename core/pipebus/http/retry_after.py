"""`Retry-After` (RFC 9110 section 10.2.3): seconds, or a date in one of three forms."""

import re
from datetime import UTC, datetime
from typing import Final

from pipebus.http.wire import RawHeaders

_NAMES: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MONTHS: Final = {name: number for number, name in enumerate(_NAMES, start=1)}
_MONTH: Final = "(?P<month>" + "|".join(_NAMES) + ")"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# RFC 9110 section 5.6.7; the name of the day says nothing new.
_FORMS: Final = tuple(
    re.compile(form).fullmatch
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_seconds: Final = re.compile(rb"[0-9]{1,10}").fullmatch


def retry_after(headers: RawHeaders, wall: float) -> float | None:
    """Return in how many seconds to try again, `wall` being seconds since the epoch; None: unsaid.

    A date that has passed is 0. What is neither, and more than one field, is as if nothing was said.
    """
    values = [value for name, value in headers if name == b"retry-after"]
    if len(values) != 1:
        return None
    value = values[0]
    if _seconds(value):
        return float(value)
    at = http_date(value.decode("latin-1"), wall)
    return None if at is None else max(0.0, at - wall)


def http_date(text: str, wall: float) -> float | None:
    """Return seconds since the epoch of an HTTP-date, None for what is none.

    `wall` tells the century of a date with a year of two digits: one that looks like more than 50
    years ahead is in the past.
    """
    for form in _FORMS:
        match = form(text)
        if match is not None:
            break
    else:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        earliest = datetime.fromtimestamp(wall, tz=UTC).year - 49
        year = earliest + (year - earliest) % 100
    try:
        at = datetime(
            year, _MONTHS[match["month"]], int(match["day"]), int(match["hour"]),
            int(match["minute"]), min(int(match["second"]), 59), tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    return at.timestamp()
