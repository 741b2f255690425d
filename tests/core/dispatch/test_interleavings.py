"""Random interleavings in virtual time: whatever happens, each request has its one right end."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.dispatch.play import KINDS, Play, Script

GOOD: Final = ["get", "post", "upload", "chunked", "busy"]

peers = st.integers(0, 2)
handlers = st.integers(0, 3)
actions = st.one_of(
    st.tuples(st.just("ask"), peers, st.sampled_from(sorted(KINDS))),
    st.tuples(st.just("ask"), peers, st.sampled_from(GOOD)),
    st.tuples(st.just("ask"), peers, st.sampled_from(GOOD)),
    st.tuples(st.just("begin"), peers, st.sampled_from(GOOD)),
    st.tuples(st.just("deliver"), peers, st.integers(1, 200)),
    st.tuples(st.just("reply"), handlers, st.none()),
    st.tuples(st.just("fail"), handlers, st.none()),
    st.tuples(st.just("nonsense"), handlers, st.none()),
    st.tuples(st.just("stream"), handlers, st.sampled_from([None, 3])),
    st.tuples(st.just("chunk"), handlers, st.integers(1, 40)),
    st.tuples(st.just("end"), handlers, st.none()),
    st.tuples(st.just("cut"), handlers, st.none()),
    st.tuples(st.just("take"), handlers, st.none()),
    st.tuples(st.just("wait"), peers, st.sampled_from([0.4, 1.0, 3.0, 11.0])),
    st.tuples(st.just("shut"), peers, st.none()),
    st.tuples(st.just("reset"), peers, st.none()),
    st.tuples(st.just("read"), peers, st.booleans()),
    st.tuples(st.just("observe"), peers, st.none()),
    st.tuples(st.just("cancel"), handlers, st.none()),
)

scripts = st.lists(actions, min_size=20, max_size=80)


@settings(max_examples=150)
@given(script=scripts)
def test_each_request_has_one_end_and_nothing_is_left(script: Script) -> None:
    play = Play(pieces=0)
    play.run(script)
    play.close()


@settings(max_examples=100)
@given(script=scripts, at=st.integers(0, 30))
def test_the_same_with_a_drain_under_way(script: Script, at: int) -> None:
    play = Play(pieces=0)
    play.run([*script[:at], ("drain", 0, None), *script[at:]])
    play.world.wait(30.0)
    assert play.world.drain.drained
    play.close()


@settings(max_examples=100)
@given(script=scripts)
def test_the_same_with_little_room_for_bodies(script: Script) -> None:
    play = Play(pieces=0, max_buffered=8, buffered_wait=2.0)
    play.run(script)
    play.close()


@settings(max_examples=100)
@given(script=scripts)
def test_a_byte_at_a_time_is_the_same_as_one_piece(script: Script) -> None:
    # A slow reader stops the peer somewhere in the body: how much of it came is not compared.
    plays = [Play(pieces=pieces, read_ahead=1000) for pieces in (0, 1)]
    for play in plays:
        play.run(script)
    assert plays[0].seen() == plays[1].seen()
    for play in plays:
        play.close()
