"""What a client's calls are counted by: see `http_metrics`, whose ways these are."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pipebus.telemetry.histogram import Histogram
from pipebus.telemetry.http_metrics import DURATION_BOUNDS, METHODS, OTHER

ORIGINS: Final = 1_000
"""Origins that have series of their own. A crawler has millions."""
CLIENT_SERIES: Final = 10_000
"""Series over all origins."""

_BATCH: Final = 512
_LEAST_BATCH: Final = 16
_HELD: Final = 131_072
"""Durations that wait to be counted, over all series, while those have batches above the least."""


class Origin(NamedTuple):
    """Scheme, host and port, as labels."""

    scheme: str
    address: str
    """A host, a UNIX socket's path, or `_OTHER`."""
    port: str
    """Empty: it has none."""


class ClientLabels(NamedTuple):
    """What tells the series of a client apart; all of it is bounded."""

    method: str
    origin: Origin
    status: int
    """0: no response came."""
    error_type: str
    """The error's name, or the status from 400 on; else empty."""


class ClientSeries:
    """The calls with one set of labels."""

    __slots__ = ("duration", "labels", "pending")

    def __init__(self, labels: ClientLabels) -> None:
        self.labels: ClientLabels = labels
        self.pending: list[float] = []
        """Durations in seconds that are not counted yet."""
        self.duration: Histogram = Histogram(DURATION_BOUNDS)

    def fold(self) -> None:
        """Count what is pending."""
        self.duration.observe(self.pending)
        self.pending = []


class ClientMetrics:
    """All series of a client. Input: `ended`. Outputs: `all`, `origin`."""

    __slots__ = ("_batch", "_known", "_limit", "_max_origins", "_origins", "_table")

    def __init__(self, limit: int = CLIENT_SERIES, origins: int = ORIGINS) -> None:
        """`limit`: series; `origins`: those with labels of their own. What is beyond is `_OTHER`."""
        self._limit = limit
        self._max_origins = origins
        self._origins: dict[str, Origin] = {}
        self._table: dict[ClientLabels, ClientSeries] = {}
        self._known: dict[tuple[str, str, int, str], ClientSeries] = {}
        """By what `ended` is told, as far as that is bounded."""
        self._batch = _BATCH

    def ended(self, origin: str, method: str, status: int, error: str, seconds: float) -> None:
        """Count a call: `status` is 0 without a response, `error` empty without an error."""
        series = self._known.get((origin, method, status, error))
        if series is None:
            series = self._find(origin, method, status, error)
        series.pending.append(seconds)
        if len(series.pending) >= self._batch:
            series.fold()

    def all(self) -> Iterator[ClientSeries]:
        """Return every series, what was pending counted in, in the order in which they came."""
        for series in self._table.values():
            series.fold()
            yield series

    def origin(self, origin: str) -> Origin:
        """Return the labels of an origin such as `https://example.org:443`."""
        found = self._origins.get(origin)
        if found is None:
            scheme, _, rest = origin.partition("://")
            if len(self._origins) >= self._max_origins:
                return Origin(scheme, OTHER, "")
            address, _, port = ("", "", "") if rest.startswith("/") else rest.rpartition(":")
            host = address.strip("[]") or rest
            found = self._origins[origin] = Origin(scheme, host, port)
        return found

    def _find(self, origin: str, method: str, status: int, error: str) -> ClientSeries:
        told = self.origin(origin)
        listed = method in METHODS
        error_type = error or (str(status) if status >= 400 else "")
        labels = ClientLabels(method if listed else OTHER, told, status, error_type)
        series = self._table.get(labels)
        if series is None:
            if len(self._table) >= self._limit:
                labels = ClientLabels(OTHER, Origin(told.scheme, OTHER, ""), 0, "")
            series = self._table.get(labels)
            if series is None:
                series = self._table[labels] = ClientSeries(labels)
                self._batch = max(_LEAST_BATCH, min(_BATCH, _HELD // len(self._table)))
        if listed and labels.origin.address != OTHER:
            self._known[origin, method, status, error] = series
        return series
