"""Random scripts, played in one go and the long way: the same bytes, events, times and counts."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pipebus.resilience.rate_limit import RateLimit
from tests.core.bus.long_bus import LongBus
from tests.core.dispatch.both_ways import LongWay, ShortWay, at_hand, compare, happened
from tests.core.dispatch.play import Script
from tests.core.dispatch.whole_play import MORE_KINDS, REPLIES, WholePlay

USUAL: Final = ["get", "get", "post", "empty", "kept", "query", "busy", "nobody", "for one",
                      "for another"]  # fmt: skip


NOT_REQUESTS: Final = ("net.http.response", "net.http.error", "net.connection.>", "pipebus.>")
"""With these watched nobody listens to requests, and bodies may go the short way, too."""


peers = st.integers(0, 2)
handlers = st.integers(0, 3)
kinds = st.sampled_from(sorted(MORE_KINDS))
usual = st.sampled_from(USUAL)
replies = st.sampled_from(sorted(REPLIES))
good_replies = st.sampled_from(["plain", "nothing", "error"])


def act(
    name: str, index: st.SearchStrategy[int], argument: st.SearchStrategy[object] | None = None
) -> st.SearchStrategy[tuple[str, int, object]]:
    return st.tuples(st.just(name), index, st.none() if argument is None else argument)


often = st.one_of(
    act("ask", peers, usual),
    act("ask", peers, usual),
    act("answer", handlers, good_replies),
    act("answer", handlers, replies),
)
between = st.one_of(
    act("wait", peers, st.sampled_from([0.4, 1.0, 3.0, 11.0])),
    act("read", peers, st.booleans()),
    act("gulp", peers, st.sampled_from([0, 1, 50, 1000])),
    act("observe", peers),
)
seldom = st.one_of(
    act("ask", peers, kinds),
    act("begin", peers, kinds),
    act("deliver", peers, st.integers(1, 100)),
    act("pipeline", peers, st.tuples(usual, kinds)),
    act("fails", handlers, st.integers(0, 2)),
    act("stream", handlers, st.sampled_from([None, 3])),
    act("chunk", handlers, st.integers(1, 40)),
    act("end", handlers),
    act("cut", handlers),
    act("take", handlers),
    act("shut", peers),
    act("ahead", peers),
    act("reset", peers),
    act("cancel", handlers),
    act("inline", peers, st.one_of(st.none(), replies)),
    act("listen", peers, st.sampled_from(["net.http.request", "net.http.response"])),
)
# Not `one_of`, which would give each of the many seldom ones the weight of an often one.
acts = st.sampled_from([often, often, often, between, seldom]).flatmap(lambda which: which)
scripts = st.lists(acts, min_size=15, max_size=60)
rooms = st.fixed_dictionaries(
    {},
    optional={
        "max_in_flight": st.just(1),
        "max_buffered": st.just(8),
        "max_connections": st.just(2),
        "max_fields": st.just(13),
        "read_ahead": st.just(1000),
        "publish_timeout": st.sampled_from([3.0, 30.0]),
        "write_high_water": st.just(100_000),
        "watched": st.sampled_from([NOT_REQUESTS, ("net.http.request",)]),
        "listens": st.sampled_from(["net.http.response", "net.connection.>", "nothing"]),
        "rate_limit": st.sampled_from([RateLimit(0.5, 1), RateLimit(1.0, 5)]),
        "trusted_proxies": st.just(["192.0.2.0/24"]),
        "max_in_flight_per_client": st.just(1),
        "max_connections_per_client": st.just(2),
        "observed": st.just(True),
    },
)


class Pair:
    """One script, both ways at once: every step is compared."""

    def __init__(self, **settings: object) -> None:
        self.short = WholePlay(ShortWay, **settings)
        self.long = WholePlay(LongWay, bus=LongBus, **settings)

    def run(self, script: Script) -> None:
        for step in script:
            self.short.run([step])
            self.long.run([step])
            compare(at_hand(self.short.world), at_hand(self.long.world), step)
        for one in (self.short, self.long):
            one.leave()
        compare(happened(self.short.world), happened(self.long.world), "all")


@settings(max_examples=150)
@given(script=scripts, room=rooms)
def test_both_ways_are_the_same(script: Script, room: dict[str, object]) -> None:
    Pair(**room).run(script)


@settings(max_examples=50)
@given(script=scripts, at=st.integers(0, 30), room=rooms)
def test_both_ways_are_the_same_while_it_drains(
    script: Script, at: int, room: dict[str, object]
) -> None:
    Pair(**room).run([*script[:at], ("drain", 0, None), *script[at:]])
