"""Every cell of docs/owner-gone-bus.toml is a test, and no cell is missing."""

import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pipebus.bus.bus import Bus
from pipebus.bus.exchange import Exchange
from pipebus.bus.publisher import Publisher
from pipebus.timers import TimerQueue
from tests.core.bus.kit import check_balance, data_of, fire, make_bus, open_one, outputs, take_all

Cell = dict[str, Any]
DOCS = Path(__file__).parents[3] / "docs"
TABLE: dict[str, list[Cell]] = tomllib.loads((DOCS / "owner-gone-bus.toml").read_text())

OWNER_GONE = ("disconnected", "cancelled", "timed out", "shutdown")
EXPECTED = {
    *product(["exchange"], ["queued", "running", "streaming"], [*OWNER_GONE, "handler ended"]),
    *product(["publisher"], ["parked"], OWNER_GONE),
    *product(["subscription"], ["queued", "running"], OWNER_GONE),
    ("subscription", "running", "handler ended"),
}


def cells(resource: str) -> pytest.MarkDecorator:
    ids = [f"{cell['state']}-{cell['gone']}" for cell in TABLE[resource]]
    return pytest.mark.parametrize("cell", TABLE[resource], ids=ids)


def test_no_cell_is_missing_and_none_is_there_twice() -> None:
    found = [(kind, cell["state"], cell["gone"]) for kind in TABLE for cell in TABLE[kind]]
    assert sorted(found) == sorted(EXPECTED)


def tell(bus: Bus, timers: TimerQueue, what: str) -> None:
    if what == "shutdown":
        bus.shutdown(1.0)
    else:
        assert what == "time"
        fire(timers, 1e6)


@cells("exchange")
def test_exchange(cell: Cell) -> None:
    bus, timers = make_bus()
    group = bus.group("q")
    responder = bus.add_responder(group, concurrency=1, handler=None)
    other: Exchange | None = None
    if cell["state"] == "queued":
        other = open_one(bus, deadline=float("inf"))
    owner = object()
    exchange = open_one(bus, deadline=30.0, owner=owner)
    outputs(bus)
    if cell["state"] == "streaming":
        bus.start_reply(exchange, 0.0)
        bus.released(responder, 0.0)
    assert exchange.state == cell["state"]

    what, _, reason = cell["input"].partition(" ")
    if what == "cancel":
        assert bus.cancel(exchange, reason, 1.0)
    elif what == "fail":
        assert bus.fail(exchange, RuntimeError("gone"), 1.0)
        if reason:
            bus.released(responder, 1.0)
    elif what == "handler":
        assert other is not None
        bus.fail(other, RuntimeError("gone"), 1.0)
        bus.released(responder, 1.0)
    else:
        tell(bus, timers, what)

    assert (exchange.outcome or "") == cell["outcome"]
    assert exchange.cancel_reason == cell["reason"]
    mine = responder.running - (other is not None and cell["gone"] != "handler ended")
    assert mine == cell["slots"]
    told = [output for output in outputs(bus) if output is exchange]
    assert len(told) == (cell["outcome"] != "" or cell["gone"] == "handler ended")
    assert exchange.owner is owner
    assert not group.queue
    reply_counts_as = cell["reply"]
    assert bus.reply(exchange, None, 2.0) == (reply_counts_as == "accepted")
    if reply_counts_as != "accepted":
        assert bus.counts.replies_discarded[reply_counts_as] == 1
    assert exchange.id not in bus._open
    assert exchange not in group.active


@cells("publisher")
def test_publisher(cell: Cell) -> None:
    bus, timers = make_bus()
    sub = bus.subscribe("a", 0.0, maxsize=1)
    mine, other = Publisher("mine"), Publisher("other")
    for n in range(3):
        bus.publish("a", f"mine {n}", 0.0, publisher=mine)
    bus.publish("a", "other", 0.0, publisher=other)
    outputs(bus)

    what, _, reason = cell["input"].partition(" ")
    if what == "withdraw":
        bus.withdraw(mine, reason, 1.0)
    else:
        tell(bus, timers, what)

    assert mine.paused == cell["paused"]
    assert (mine in outputs(bus)) == (not cell["paused"])
    rest = data_of(take_all(bus, sub))
    if cell["dropped"] == "":
        assert (rest, sub.dropped) == (["mine 0", "mine 1", "mine 2", "other"], {})
        assert outputs(bus) == [mine, other]
    elif cell["dropped"] == "shutdown":
        assert (rest, sub.dropped) == ([], {"shutdown": 4})
    else:
        assert (rest, sub.dropped) == (["mine 0", "other"], {cell["dropped"]: 2})
    check_balance(sub)


@cells("subscription")
def test_subscription(cell: Cell) -> None:
    bus, timers = make_bus()
    sub = bus.subscribe("a", 0.0, maxsize=1)
    publisher = Publisher("p")
    for n in range(2):
        bus.publish("a", n, 0.0, publisher=publisher)
    outputs(bus)
    in_hand = bus.take(sub, 0.0) if cell["state"] == "running" else None
    sub.runner = Publisher("handler") if in_hand else None

    if cell["input"] == "close":
        bus.close(sub, 1.0)
    elif cell["input"] == "handler_error":
        assert in_hand is not None
        bus.handler_error(RuntimeError("no"), in_hand, "handler", 1.0)
    else:
        tell(bus, timers, cell["input"])

    assert len(take_all(bus, sub, 2.0)) == cell["next"]
    lost = 2 - cell["next"] - (in_hand is not None)
    assert sub.dropped == ({cell["dropped"]: lost} if cell["dropped"] else {})
    assert not publisher.paused
    check_balance(sub)
