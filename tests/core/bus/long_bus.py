"""The bus without its short cuts: what they must come out as."""

from collections.abc import Mapping

from pipebus.bus.bus import Bus
from pipebus.bus.event import Event
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.bus.responders import Group
from pipebus.limits import INFINITY
from pipebus.telemetry.trace import TraceContext


class LongBus(Bus):
    """Opens and ends every exchange by the steps that all others are made of."""

    __slots__ = ()

    def open(
        self,
        topic: str,
        data: object,
        now: float,
        *,
        deadline: float,
        publisher: Publisher,
        group: Group | None = None,
        cause: Event | None = None,
        owner: object = None,
        timed: bool = True,
        subject: str = "",
        metadata: Mapping[str, str] | None = None,
        trace: TraceContext | None = None,
        correlation_id: str = "",
    ) -> Exchange:
        route = self._router.find(topic)
        event = self._event(
            topic, data, now, publisher, cause, subject, metadata, trace, correlation_id,
            deadline if deadline < INFINITY else None,
        )  # fmt: skip
        for sub in route.blocking:
            if len(sub.queue) >= sub.maxsize:
                self._check_wait(sub, event, publisher)
        exchange = Exchange(event, deadline, self, group or route.group, publisher, owner, timed)
        self._admit(exchange, now, nested=cause is not None)
        self.counts.published += 1
        self._deliver(route, event, publisher)
        return exchange

    def reply(self, exchange: Exchange, result: object, now: float) -> bool:
        if not self._move(exchange, "reply", now):
            return self._discard(exchange, now)
        exchange.response_started = True
        exchange.reply = result
        return True
