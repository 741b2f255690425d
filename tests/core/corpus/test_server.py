"""Every server case, cut in four ways: all must come out as the case says."""

import re
from typing import Final

import pytest

from pipebus.http.events import HttpResponded
from pipebus.http.wire import WireCodec
from pipebus.limits import Limits
from tests.core.corpus import (
    server_chunked,
    server_connection,
    server_fields,
    server_framing,
    server_request_line,
    server_target,
)
from tests.core.corpus.case import REQUEST, RESPONSE, ServerCase
from tests.core.corpus.cuts import CUTS, cut
from tests.core.corpus.server_rig import ServerRig
from tests.core.corpus.wire_parser import Answer, parse_answers

CASES: Final = (
    *server_request_line.CASES,
    *server_target.CASES,
    *server_fields.CASES,
    *server_framing.CASES,
    *server_chunked.CASES,
    *server_connection.CASES,
)
PROBE: Final = b"PROBE /probe HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nping"
_ENDS: Final = {"silent": ("close",), "close/linger": ("close", "linger-close")}
_SAID: Final = frozenset({"close", "linger-close", "close/linger"})
"""Ends that the server's last answer announces."""
_PROBE: Final = ("PROBE", "/probe", b"ping")


def by_id(case: ServerCase) -> str:
    return case.id


class Outcome:
    """What a run of a case came to."""

    def __init__(self, case: ServerCase, wire: WireCodec, how: str) -> None:
        rig = ServerRig(wire)
        for flight in case.sends:
            rig.send(cut(flight, how, case.id))
        if case.then == "eof":
            rig.eof()
        elif case.then == "wait":
            rig.wait()
        self.written = bytes(rig.sent)
        self.events = rig.events()
        self.got = rig.got
        self.closed = rig.closed
        self.lingered = rig.lingers
        self.probed: list[Answer] | None = None
        if rig.lingers:
            before = bytes(rig.sent)
            rig.send([PROBE])
            assert rig.sent == before
            assert rig.events() == []
            rig.eof()
            self.closed = rig.closed
        elif not rig.closed and case.end == "keep-alive":
            rig.send([PROBE])
            self.probed = parse_answers(bytes(rig.sent[len(self.written) :]))
            assert rig.got == (*self.got, _PROBE)
        rig.leave()
        rig.assert_empty()

    @property
    def end(self) -> str:
        """How it ended, in the corpus's words."""
        if self.lingered:
            return self.closed
        return self.closed or "keep-alive"


def answers_of(case: ServerCase, outcome: Outcome) -> list[Answer]:
    """Parse what was written; a 100 that depends on the cut is left out."""
    bodiless = case.bodiless
    answers = parse_answers(outcome.written, bodiless)
    if case.early_body:
        answers = [answer for answer in answers if answer.status != 100]
    return answers


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_case(case: ServerCase, wire: WireCodec) -> None:
    for how in CUTS:
        outcome = Outcome(case, wire, how)
        answers = answers_of(case, outcome)
        assert tuple(answer.status for answer in answers) == case.statuses, how
        assert outcome.end in _ENDS.get(case.end, (case.end,)), how
        assert tuple(event.type for event in outcome.events) == case.events, how
        if case.got is not None:
            assert outcome.got == case.got, how
        if outcome.probed is not None:
            assert [(answer.status, answer.body) for answer in outcome.probed] == [(200, b"ping")]
        final = [answer for answer in answers if answer.status >= 200]
        _check_events(outcome, final)
        if case.end in _SAID and case.then == "probe":
            assert final[-1].all("connection") == ["close"], how


def _check_events(outcome: Outcome, final: list[Answer]) -> None:
    """Each answer on the wire is told of once, in order, with its own status."""
    told = [event for event in outcome.events if event.type == RESPONSE]
    assert [event.data.status for event in told] == [answer.status for answer in final]
    asked = iter([event for event in outcome.events if event.type == REQUEST])
    for event in told:
        assert isinstance(event.data, HttpResponded)
        assert event.data.client == ("192.0.2.1", 50000)
        assert event.data.bytes_out > 0
        if event.data.outcome:
            request = next(asked)
            assert event.correlation_id == request.correlation_id == request.id
            assert event.data.outcome == "replied"
        else:
            assert event.data.status >= 400
    assert next(asked, None) is None


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_every_answer_is_sound(case: ServerCase, wire: WireCodec) -> None:
    """`parse_answers` refuses what is no grammar; here is what each answer owes beyond that."""
    outcome = Outcome(case, wire, "whole")
    for index, answer in enumerate(parse_answers(outcome.written, case.bodiless)):
        names = [name for name, _ in answer.fields]
        assert len(names) == len(set(names)), "no field is repeated"
        if answer.status < 200:
            assert answer == Answer(100, [], b"")
            continue
        (date,) = answer.all("date")
        assert re.fullmatch(r"Sun, 06 Nov 1994 08:\d\d:\d\d GMT", date)
        (length,) = answer.all("content-length")
        if index not in case.bodiless:
            assert int(length) == len(answer.body)
        assert answer.all("transfer-encoding") == []
        assert answer.all("connection") in ([], ["close"], ["keep-alive"])
        assert "upgrade" not in names
        if answer.status >= 400:
            assert answer.all("content-type") == ["application/problem+json"]
            assert index in case.bodiless or answer.body.startswith(b"{")


def test_head_length_equals_get_length(wire: WireCodec) -> None:
    rig = ServerRig(wire)
    fields = b" /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    rig.send([b"HEAD" + fields, b"GET" + fields])
    head, get = parse_answers(bytes(rig.sent), frozenset({0}))
    assert head.fields == get.fields
    assert (head.body, get.body) == (b"", b"hello")


def test_absolute_form_overrules_host(wire: WireCodec) -> None:
    rig = ServerRig(wire)
    rig.send([b"GET http://other:81/x?y HTTP/1.1\r\nA: b\r\nHost: h\r\nC: d\r\n\r\n"])
    (request,) = rig.requests
    assert request.headers.get_list("host") == ["other:81"]
    assert (request.headers.get("a"), request.headers.get("c")) == ("b", "d")
    assert (request.path, request.raw_query) == ("/x", "y")


def test_https_target_is_fine_over_tls(wire: WireCodec) -> None:
    rig = ServerRig(wire, tls=True)
    rig.send([b"GET https://h/x HTTP/1.1\r\nHost: h\r\n\r\n"])
    assert [answer.status for answer in parse_answers(bytes(rig.sent))] == [200]


def test_default_limits(wire: WireCodec) -> None:
    """The bounds that the corpus makes small are there by default, too."""
    head = b"GET /%b HTTP/1.1\r\nHost: h\r\n%b\r\n"
    for request, status in (
        (head % (b"a" * 16_000, b""), 200),
        (head % (b"a" * 17_000, b""), 414),
        (head % (b"", b"A: b\r\n" * 99), 200),
        (head % (b"", b"A: b\r\n" * 100), 431),
        (head % (b"", b"A: " + b"b" * 60_000 + b"\r\n"), 200),
        (head % (b"", b"A: " + b"b" * 70_000 + b"\r\n"), 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16777217\r\n\r\n", 413),
    ):
        rig = ServerRig(wire, limits=Limits())
        rig.send([request])
        assert [answer.status for answer in parse_answers(bytes(rig.sent))] == [status]
