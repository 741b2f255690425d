"""Every server case, flight by flight in one piece, with the short cuts and without."""

import pytest

from pipebus.http.dispatch import Dispatch
from pipebus.http.wire import WireCodec
from tests.core.corpus.case import ServerCase
from tests.core.corpus.server_rig import ServerRig
from tests.core.corpus.test_server import CASES, PROBE
from tests.core.dispatch.both_ways import LongWay, ShortWay, plain_event


def play(
    case: ServerCase, wire: WireCodec, dispatch: type[Dispatch], watched: str
) -> tuple[list[object], int]:
    """Return all that came of it, and how many requests were taken in one go."""
    rig = ServerRig(wire, dispatch=dispatch, watched=watched)
    seen: list[object] = []

    def look() -> None:
        session = rig.session
        seen.append((bytes(rig.sent), rig.closed, rig.lingers, rig.got))
        seen.append((session.deadline, session.deadline_reason, session.wants_read))
        seen.extend(map(plain_event, rig.events()))

    for flight in case.sends:
        if flight:
            rig.send([flight])
            look()
    if case.then == "eof":
        rig.eof()
    elif case.then == "wait":
        rig.wait()
    else:
        rig.send([PROBE])
    look()
    rig.leave()
    look()
    rig.assert_empty()
    return seen, rig.dispatch.taken[0] if isinstance(rig.dispatch, ShortWay) else 0


# With nobody to hold them in a queue, bodies go the short way, too.
@pytest.mark.untraced
@pytest.mark.parametrize("watched", ["net.http.>", "net.http.response"])
def test_every_case_comes_out_the_same(wire: WireCodec, watched: str) -> None:
    short = 0
    for case in CASES:
        seen, taken = play(case, wire, ShortWay, watched)
        assert seen == play(case, wire, LongWay, watched)[0], case.id
        short += taken
    assert short > 50  # a case is about what is not as usual; the probe after it is
