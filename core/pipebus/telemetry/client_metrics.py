"""What a client's calls are counted by: see `http_metrics`, whose ways these are."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pipebus.telemetry.histogram import Histogram
from pipebus.telemetry.http_metrics import DURATION_BOUNDS, METHODS, OTHER, STAGE_BOUNDS

ORIGINS: Final = 1_000
"""Origins that have series of their own. A crawler has millions."""
CLIENT_SERIES: Final = 10_000
"""Series over all origins."""

_FIELDS: Final = 2
_BATCH: Final = 512
_LEAST_BATCH: Final = 16
_HELD: Final = 65_536
"""Calls that wait to be counted, over all series, while those have batches above the least."""


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
        """Two numbers a call, flat: seconds in all, and of those for a connection slot."""
        self.duration: Histogram = Histogram(DURATION_BOUNDS)


class ClientMetrics:
    """All series of a client. Input: `ended`. Outputs: `all`, then `waits`; `origin`."""

    __slots__ = ("_batch", "_known", "_limit", "_max_origins", "_origins", "_table", "waits")

    def __init__(self, limit: int = CLIENT_SERIES, origins: int = ORIGINS) -> None:
        """`limit`: series; `origins`: those with labels of their own. What is beyond is `_OTHER`."""
        self._limit = limit
        self._max_origins = origins
        self._origins: dict[str, Origin] = {}
        self._table: dict[ClientLabels, ClientSeries] = {}
        self._known: dict[tuple[str, str, int, str], ClientSeries] = {}
        """By what `ended` is told, as far as that is bounded."""
        self._batch = _BATCH * _FIELDS
        self.waits: Histogram = Histogram(STAGE_BOUNDS)
        """How long calls waited for a connection slot, over all series."""

    def ended(
        self, origin: str, method: str, status: int, error: str, seconds: float, waited: float
    ) -> None:
        """Count a call: `status` is 0 without a response, `error` empty without an error.

        It took `seconds`, of which it `waited` some for a connection slot.
        """
        series = self._known.get((origin, method, status, error))
        if series is None:
            series = self._find(origin, method, status, error)
        series.pending.extend((seconds, waited))
        if len(series.pending) >= self._batch:
            self._fold(series)

    def all(self) -> Iterator[ClientSeries]:
        """Return every series, what was pending counted in, in the order in which they came."""
        for series in self._table.values():
            self._fold(series)
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

    def _fold(self, series: ClientSeries) -> None:
        pending = series.pending
        if not pending:
            return
        self.waits.observe(pending[1::_FIELDS])
        series.duration.observe(pending[0::_FIELDS])
        pending.clear()

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
                batch = max(_LEAST_BATCH, min(_BATCH, _HELD // len(self._table)))
                self._batch = batch * _FIELDS
        if listed and labels.origin.address != OTHER:
            self._known[origin, method, status, error] = series
        return series
