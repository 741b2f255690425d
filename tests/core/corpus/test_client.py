"""Every client case, cut in four ways: all must come out as the case says."""

from typing import Final

import pytest

from pipebus.http.client import ClientRequest
from pipebus.http.wire import WireCodec
from tests.core.corpus import client_body, client_head
from tests.core.corpus.case import ClientCase
from tests.core.corpus.client_rig import ClientRig, response_of
from tests.core.corpus.cuts import CUTS, cut

CASES: Final = (*client_head.CASES, *client_body.CASES)
NEXT: Final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nnext"


def by_id(case: ClientCase) -> str:
    return case.id


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_case(case: ClientCase, wire: WireCodec) -> None:
    for how in CUTS:
        _run(case, wire, how)


def _run(case: ClientCase, wire: WireCodec, how: str) -> None:
    rig = ClientRig(wire)
    body = b"asked" if case.method == "POST" else b""
    call = rig.call(ClientRequest(case.method, "http://h/x", body=body))
    link = rig.link
    for flight in case.receives:
        rig.serve(cut(flight, how, case.id), link)
    if case.then == "eof":
        rig.eof(link)
    elif case.then == "lost":
        rig.lost(link)
    elif case.then == "wait":
        rig.wait()
    assert call.done, how
    if isinstance(case.outcome, str):
        assert type(call.error).__name__ == case.outcome, how
    else:
        response = response_of(call)
        assert (response.status, response.body) == (case.outcome, case.body), how
        seen = list(response.headers)
        assert [pair for pair in seen if pair in case.fields] == list(case.fields), how
    assert link.closed == ("" if case.end == "reuse" else case.end), how
    assert rig.topics() == case.events, how
    _ask_again(rig, reused=case.end == "reuse")


def _ask_again(rig: ClientRig, *, reused: bool) -> None:
    """Whatever was sent before, the next call gets its own response, and no second one is sent."""
    before = len(rig.links)
    call = rig.call(ClientRequest("GET", "http://h/again"))
    assert len(rig.links) == before + (not reused)
    assert not call.done
    rig.serve([NEXT], rig.link)
    response = response_of(call)
    assert (response.status, response.body) == (202, b"next")
    rig.engine.close(rig.now)
