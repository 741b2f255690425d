"""Counts what passes over a bus, losslessly."""

from collections import Counter
from typing import Any

from pipebus.bus.event import Event
from pipebus.engine.engine import Engine
from pipebus.pipeline.declare import Pipeline
from pipebus_cli.demo.figures import BusFigures


class TopicCount:
    """A `block` subscriber of `net.>`: it is told of every event or holds up its publisher."""

    def __init__(self, pipeline: Pipeline[Any]) -> None:
        self.topics: Counter[str] = Counter()
        pipeline.subscribe("net.>")(self.note)

    def note(self, event: Event) -> None:
        """Count one."""
        self.topics[event.type] += 1

    def figures(self, engine: Engine) -> BusFigures:
        """Return them beside the bus's own counts."""
        counts = engine.bus.counts
        return BusFigures(
            published=counts.published,
            delivered=counts.delivered,
            dropped=sum(counts.dropped.values()),
            opened=counts.opened,
            outcomes={name: count for name, count in counts.outcomes.items() if count},
            topics=dict(self.topics),
        )
