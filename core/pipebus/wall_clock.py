"""Wall time as an input: the monotonic clock drives everything, the calendar is only printed."""

from datetime import UTC, datetime
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


class WallClock:
    """Seconds since the epoch for a monotonic `now`, set about once a minute by the binding.

    Input: `set`. Outputs: `time`, `http_date`. Before the first `set` the epoch is `now == 0`.
    """

    __slots__ = ("_date", "_date_until", "offset")

    def __init__(self) -> None:
        self.offset: float = 0.0
        """Add it to a monotonic `now` for seconds since the epoch."""
        self._date = b""
        self._date_until = float("-inf")

    def set(self, wall: float, now: float) -> None:
        """Say that at monotonic `now` it is `wall` seconds since the epoch (UTC)."""
        self.offset = wall - now
        self._date_until = float("-inf")

    def time(self, now: float) -> float:
        """Return seconds since the epoch at monotonic `now`."""
        return self.offset + now

    def http_date(self, now: float) -> bytes:
        """Return an IMF-fixdate (RFC 9110 section 5.6.7), made once a second."""
        if now >= self._date_until or now < self._date_until - 1.0:
            whole = int(self.offset + now)
            at = datetime.fromtimestamp(whole, tz=UTC)
            self._date = (
                f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04}"
                f" {at.hour:02}:{at.minute:02}:{at.second:02} GMT"
            ).encode("ascii")
            self._date_until = whole + 1 - self.offset
        return self._date
