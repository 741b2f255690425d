"""What a pipebus server says of itself at /metrics, read before and after a phase."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from pipebus_cli.errors import CliError, explain

_SAMPLE: Final = re.compile(r'^(\w+)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)$', re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_PATIENCE: Final = 30.0

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Return the samples of Prometheus text, by name and labels."""
    return {
        (name, frozenset(_LABEL.findall(labels))): float(value)
        for name, labels, value in _SAMPLE.findall(text)
    }


def scrape(url: str) -> Samples:
    """Return what the admin listener at `http://HOST:PORT` says; raises `CliError`."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port or 80, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        msg = f"no metrics from {url}: {explain(error)}"
        raise CliError(msg) from error
    finally:
        connection.close()
    if answer.status != 200:
        msg = f"no metrics from {url}: status {answer.status}"
        raise CliError(msg)
    return parse(text)


@dataclass(frozen=True)
class Change:
    """What counters have grown by, from one scrape to the other."""

    before: Samples
    after: Samples

    def total(self, name: str, **labels: str) -> float:
        """Return the growth of a counter, over all its series with these labels."""
        wanted = set(labels.items())
        return sum(
            value - self.before.get(key, 0.0)
            for key, value in self.after.items()
            if key[0] == name and wanted <= key[1]
        )

    def stage_means(self) -> dict[str, float]:
        """Return the mean seconds that a request spent in each stage; empty if there was none."""
        name = "pipebus_stage_duration_seconds"
        stages = [dict(key[1])["stage"] for key in self.after if key[0] == f"{name}_count"]
        return {
            stage: self.total(f"{name}_sum", stage=stage) / count
            for stage in stages
            if (count := self.total(f"{name}_count", stage=stage))
        }

    @property
    def answered(self) -> int:
        """HTTP requests that were answered."""
        return int(self.total("http_server_request_duration_seconds_count"))

    @property
    def events_lost(self) -> int:
        """Deliveries on the bus that were lost, those to nobody but a diagnostic aside."""
        lost = self.total("pipebus_events_dropped_total")
        return int(lost - self.total("pipebus_events_dropped_total", reason="diagnostic"))

    @property
    def exchanges_open(self) -> int:
        """Requests on the bus that have not ended, at the second scrape."""
        return int(self.after.get(("pipebus_exchanges_open", frozenset()), 0.0))
