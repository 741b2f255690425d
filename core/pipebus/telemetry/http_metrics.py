"""What a server's requests are counted by: a bounded table of series, filled in batches.

A request costs one look-up and one `list.extend`; buckets and sums are worked out for a batch of
them, column by column, in a few calls into C.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pipebus.telemetry.histogram import Histogram

OTHER: Final = "_OTHER"
"""What stands for all that has no label of its own (OpenTelemetry's word for such a method)."""

METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
"""RFC 9110 section 9.3 and RFC 5789: the methods that may be a label. Any text may come in."""

SERVER_SERIES: Final = 2_000
"""Series of a server. Programs answer a dozen statuses; one that answers hundreds must not make
every scrape megabytes large."""

DURATION_BOUNDS: Final[tuple[float, ...]] = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Seconds, as OpenTelemetry's conventions advise for `http.server.request.duration`."""
STAGE_BOUNDS: Final[tuple[float, ...]] = (
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Seconds, from a microsecond on: most stages of most requests are shorter than a millisecond."""
SIZE_BOUNDS: Final[tuple[float, ...]] = (
    0.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0,
    16_777_216.0, 67_108_864.0,
)  # fmt: skip
"""Bytes; the first bucket is for messages without a body."""

STAGES: Final = ("read", "queue", "handler", "write")

_FIELDS: Final = 7
"""Numbers that an ended request leaves: five durations and two sizes."""
_BATCH: Final = 256
"""Requests of one series between two folds: from there on, more hardly make one cheaper."""
_LEAST_BATCH: Final = 32
_HELD: Final = 32_768
"""Requests that wait to be folded, over all series, while those have batches above the least."""


class ServerLabels(NamedTuple):
    """What tells the series of a server apart; all of it is bounded."""

    method: str
    route: str
    """Its template; empty where none was found."""
    status: int
    """0: no response was begun."""
    scheme: str
    error_type: str
    """The status from 500 on, or why the answer was cut; else empty."""


class ServerSeries:
    """The requests with one set of labels. `pending` is filled by the dispatch, then folded."""

    __slots__ = ("duration", "labels", "pending", "request_size", "response_size")

    def __init__(self, labels: ServerLabels) -> None:
        self.labels: ServerLabels = labels
        self.pending: list[float] = []
        """Seven numbers a request, flat, so that no object is kept for one: the seconds of its four
        stages (as `stages.measure` returns them), the seconds in all, and the bytes of the
        request's and the response's body."""
        self.duration: Histogram = Histogram(DURATION_BOUNDS)
        self.request_size: Histogram = Histogram(SIZE_BOUNDS)
        self.response_size: Histogram = Histogram(SIZE_BOUNDS)


Key = tuple[str, int, bool, str]
"""Method as it came, status, whether over TLS, why the answer was cut."""
Known = dict[Key, ServerSeries]
"""Series that a route's requests were counted in before."""


class ServerMetrics:
    """All series of a server.

    Whoever ends a request looks its series up in the `Known` of its route, else by `find`, extends
    `pending`, and calls `fold` when that has reached `batch`. Output: `all`, folded.
    """

    __slots__ = ("_limit", "_other", "_table", "batch", "stages", "unrouted")

    def __init__(self, limit: int = SERVER_SERIES) -> None:
        """`limit`: series; further ones are counted as one, labelled `_OTHER`."""
        self._limit = limit
        self._table: dict[ServerLabels, ServerSeries] = {}
        self._other: dict[str, ServerSeries] = {}
        """By scheme."""
        self.batch: int = _BATCH * _FIELDS
        """Numbers in `pending` from which on a series is to be folded."""
        self.unrouted: Known = {}
        """Of requests without a route."""
        self.stages: dict[str, Histogram] = {name: Histogram(STAGE_BOUNDS) for name in STAGES}

    def find(self, known: Known, route: str, key: Key) -> ServerSeries:
        """Return the series of a `key` that is not in `known`; from now on it is, where it may."""
        method, status, tls, reason = key
        error_type = reason or (str(status) if status >= 500 else "")
        scheme = "https" if tls else "http"
        listed = method in METHODS
        labels = ServerLabels(method if listed else OTHER, route, status, scheme, error_type)
        series = self._table.get(labels)
        if series is None:
            if len(self._table) >= self._limit:
                return self._overflow(scheme)
            series = self._table[labels] = ServerSeries(labels)
            batch = max(_LEAST_BATCH, min(_BATCH, _HELD // len(self._table)))
            self.batch = batch * _FIELDS
        if listed:  # else anybody could make `known` grow
            known[key] = series
        return series

    def _overflow(self, scheme: str) -> ServerSeries:
        series = self._other.get(scheme)
        if series is None:
            series = ServerSeries(ServerLabels(OTHER, OTHER, 0, scheme, ""))
            self._other[scheme] = series
        return series

    def all(self) -> Iterator[ServerSeries]:
        """Return every series, what was pending counted in, in the order in which they came."""
        for table in (self._table, self._other):
            for series in table.values():
                self.fold(series)
                yield series

    def fold(self, series: ServerSeries) -> None:
        """Count what is pending, column by column."""
        pending = series.pending
        if not pending:
            return
        for place, histogram in enumerate(self.stages.values()):
            histogram.observe(pending[place::_FIELDS])
        series.duration.observe(pending[4::_FIELDS])
        series.request_size.observe(pending[5::_FIELDS])
        series.response_size.observe(pending[6::_FIELDS])
        pending.clear()
