"""The table of states: its shape, its errors, and the page that shows it."""

import importlib.util
from pathlib import Path

import pytest

from pipebus.errors import LocalProtocolError, RemoteProtocolError
from pipebus.http import cycle
from pipebus.http.cycle import TRANSITIONS, Cycle

DOCS = Path(__file__).parents[3] / "docs"

HAPPY = [
    (cycle.REQUEST_HEAD, cycle.REQUEST),
    (cycle.INFORMATIONAL, cycle.REQUEST),
    (cycle.REQUEST_END, cycle.AWAITING),
    (cycle.INFORMATIONAL, cycle.AWAITING),
    (cycle.RESPONSE_HEAD, cycle.RESPONSE),
    (cycle.RESPONSE_END, cycle.DONE),
    (cycle.NEXT, cycle.IDLE),
]
EARLY = [
    (cycle.REQUEST_HEAD, cycle.REQUEST),
    (cycle.RESPONSE_HEAD, cycle.DUPLEX),
    (cycle.RESPONSE_END, cycle.ENDING),
    (cycle.CLOSE, cycle.CLOSED),
]
DUPLEX = [
    (cycle.REQUEST_HEAD, cycle.REQUEST),
    (cycle.RESPONSE_HEAD, cycle.DUPLEX),
    (cycle.REQUEST_END, cycle.RESPONSE),
    (cycle.RESPONSE_END, cycle.DONE),
]
REFUSED = [
    (cycle.REQUEST_FAULT, cycle.REFUSED),
    (cycle.RESPONSE_HEAD, cycle.REFUSING),
    (cycle.RESPONSE_END, cycle.ENDING),
]
REFUSED_MIDWAY = [
    (cycle.REQUEST_HEAD, cycle.REQUEST),
    (cycle.REQUEST_FAULT, cycle.REFUSED),
]
REFUSED_LATE = [
    (cycle.REQUEST_HEAD, cycle.REQUEST),
    (cycle.RESPONSE_HEAD, cycle.DUPLEX),
    (cycle.REQUEST_FAULT, cycle.REFUSING),
]


@pytest.mark.parametrize("path", [HAPPY, EARLY, DUPLEX, REFUSED, REFUSED_MIDWAY, REFUSED_LATE])
@pytest.mark.parametrize("role", ["sent", "received"])
def test_paths(path: list[tuple[str, str]], role: str) -> None:
    it = Cycle()
    for move, state in path:
        getattr(it, role)(move)
        assert it.state == state


MOVES = [
    cycle.REQUEST_HEAD,
    cycle.REQUEST_END,
    cycle.REQUEST_FAULT,
    cycle.INFORMATIONAL,
    cycle.RESPONSE_HEAD,
    cycle.RESPONSE_END,
    cycle.NEXT,
    cycle.CLOSE,
]


@pytest.mark.parametrize("state", TRANSITIONS)
@pytest.mark.parametrize("move", MOVES)
def test_what_is_missing_is_the_callers_or_the_peers_fault(state: str, move: str) -> None:
    it = Cycle()
    it.state = state
    after = TRANSITIONS[state].get(move)
    if after is None:
        with pytest.raises(LocalProtocolError, match=f"no {move} while {state}"):
            it.sent(move)
        with pytest.raises(RemoteProtocolError, match=f"no {move} while {state}"):
            it.received(move)
        assert it.state == state
    else:
        it.sent(move)
        assert it.state == after


def test_every_state_is_reached_and_every_one_can_close() -> None:
    reached = {cycle.IDLE} | {after for moves in TRANSITIONS.values() for after in moves.values()}
    assert reached == set(TRANSITIONS)
    for state, moves in TRANSITIONS.items():
        assert state == cycle.CLOSED or moves[cycle.CLOSE] == cycle.CLOSED
        assert set(moves) <= set(MOVES)


def test_at_most_one_response_head_between_two_nexts() -> None:
    after_head = {cycle.DUPLEX, cycle.RESPONSE, cycle.REFUSING}
    seen = set(after_head)
    while True:
        more = {
            after
            for state in seen
            for move, after in TRANSITIONS[state].items()
            if move != cycle.NEXT
        } - seen
        if not more:
            break
        seen |= more
    assert all(cycle.RESPONSE_HEAD not in TRANSITIONS[state] for state in seen)


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_states", DOCS / "generate_states.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    page = (DOCS / "states.md").read_text("utf-8")
    assert generator.render(page) == page, "run `make docs`"
    for state in TRANSITIONS:
        assert f"| `{state}` |" in page


def test_where_several_moves_lead() -> None:
    for path in (HAPPY, EARLY, DUPLEX, REFUSED):
        assert cycle.after(cycle.IDLE, *(move for move, _ in path)) is path[-1][1]
    assert cycle.after(cycle.AWAITING) is cycle.AWAITING
    with pytest.raises(KeyError):
        cycle.after(cycle.IDLE, cycle.RESPONSE_HEAD)
