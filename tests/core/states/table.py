"""The table "state x owner gone": what becomes of everything whose owner vanishes.

Each cell says what a whole engine does (`scenes.py` plays it), and which tests look at the same
cell one machine at a time; or why it cannot happen. In all of them nothing is left behind.

- connection: an HTTP connection. Its owner is the peer; the handler of its request can die, too.
- exchange: an open request. Its owner is who asked: a peer (reset, eof) or the program itself.
- publisher: a handler whose event waits for room in a lossless queue. Its owner is who it works for.
- call: an outgoing HTTP call of a handler. Its owner is that handler, and who that one works for.
- subscription: of a subscriber, or the program's own (cancelled). `reset` and `eof` are those of the
  connection that published the event.
"""

from typing import Final, NamedTuple

STATES: Final[dict[str, tuple[str, ...]]] = {
    "connection": (
        "no head", "head partly", "body partly", "request queued", "running", "streaming",
        "response buffered", "lingering",
    ),
    "exchange": ("queued", "running", "streaming"),
    "publisher": ("parked",),
    "call": ("waiting", "connecting", "sending", "reading"),
    "subscription": ("queued", "running"),
}  # fmt: skip
GONE: Final = ("cancelled", "timed out", "reset", "eof", "drain and grace", "handler dies")
"""`handler dies`: its task is cancelled from outside; where one waits for a slot, the holder's."""

DISPATCH: Final = "tests/core/dispatch/test_owner_gone.py::test_cell[{}]"
BUS: Final = "tests/core/bus/test_owner_gone.py::test_{}[{}]"
CLIENT: Final = "tests/core/http_client/test_owner_gone.py::test_cell[{}]"

NOBODY_CANCELS: Final = "a peer that calls its request off resets the connection or closes it"
NO_HANDLER_YET: Final = "no handler runs before a request is read"
HANDLER_HAS_ENDED: Final = "its handler has ended, or there never was one"
EVENTS_DO_NOT_EXPIRE: Final = "an event in a queue has no deadline"
SUBSCRIBERS_HAVE_ALL_TIME: Final = "a subscriber answers nobody, so nothing bounds its time"


class Answer(NamedTuple):
    """What is to be seen."""

    outcome: str
    """Of the exchange; of the one that the handler answers; empty where there is none."""
    seen: str
    """By the peer: statuses, then how its connection stands. By the program: the error it got."""
    published: str
    """How it ended, or which deliveries were dropped."""
    also: tuple[str, ...] = ()
    """Tests of the same cell, one machine alone."""


class Never(NamedTuple):
    """A cell that cannot happen."""

    why: str
    also: tuple[str, ...] = ()


Cell = tuple[str, str, str]

# One line for each cell.
# fmt: off
TABLE: Final[dict[Cell, Answer | Never]] = {
    ("connection", "no head", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "no head", "timed out"): Answer("", "closed", "", (DISPATCH.format("no_head-timeout"),)),
    ("connection", "no head", "reset"): Answer("", "reset", "", (DISPATCH.format("no_head-reset"),)),
    ("connection", "no head", "eof"): Answer("", "closed", "", (DISPATCH.format("no_head-eof"),)),
    ("connection", "no head", "drain and grace"): Answer("", "closed", "", (DISPATCH.format("no_head-drain_and_grace"),)),
    ("connection", "no head", "handler dies"): Never(NO_HANDLER_YET, (DISPATCH.format("no_head-handler_cancelled"),)),

    ("connection", "head partly", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "head partly", "timed out"): Answer("", "408 closed", "net.http.response", (DISPATCH.format("head_partly-timeout"),)),
    ("connection", "head partly", "reset"): Answer("", "reset", "", (DISPATCH.format("head_partly-reset"),)),
    ("connection", "head partly", "eof"): Answer("", "closed", "", (DISPATCH.format("head_partly-eof"),)),
    ("connection", "head partly", "drain and grace"): Answer("", "closed", "", (DISPATCH.format("head_partly-drain_and_grace"),)),
    ("connection", "head partly", "handler dies"): Never(NO_HANDLER_YET, (DISPATCH.format("head_partly-handler_cancelled"),)),

    ("connection", "body partly", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "body partly", "timed out"): Answer("", "408 closed", "net.http.response", (DISPATCH.format("body_partly-timeout"),)),
    ("connection", "body partly", "reset"): Answer("", "reset", "", (DISPATCH.format("body_partly-reset"),)),
    ("connection", "body partly", "eof"): Answer("", "closed", "", (DISPATCH.format("body_partly-eof"),)),
    ("connection", "body partly", "drain and grace"): Answer("", "503 closed", "net.http.response", (DISPATCH.format("body_partly-drain_and_grace"),)),
    ("connection", "body partly", "handler dies"): Never(NO_HANDLER_YET, (DISPATCH.format("body_partly-handler_cancelled"),)),

    ("connection", "request queued", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "request queued", "timed out"): Answer("timed_out", "504 closed", "net.http.response", (DISPATCH.format("queued-timeout"),)),
    ("connection", "request queued", "reset"): Answer("cancelled", "reset", "net.http.error disconnect", (DISPATCH.format("queued-reset"),)),
    ("connection", "request queued", "eof"): Answer("cancelled", "closed", "net.http.error disconnect", (DISPATCH.format("queued-eof"),)),
    ("connection", "request queued", "drain and grace"): Answer("cancelled", "503 closed", "net.http.response", (DISPATCH.format("queued-drain_and_grace"),)),
    ("connection", "request queued", "handler dies"): Answer("replied", "200 closed", "net.http.response", (DISPATCH.format("queued-handler_cancelled"),)),

    ("connection", "running", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "running", "timed out"): Answer("timed_out", "504 closed", "net.http.response", (DISPATCH.format("running-timeout"),)),
    ("connection", "running", "reset"): Answer("cancelled", "reset", "net.http.error disconnect", (DISPATCH.format("running-reset"),)),
    ("connection", "running", "eof"): Answer("cancelled", "closed", "net.http.error disconnect", (DISPATCH.format("running-eof"),)),
    ("connection", "running", "drain and grace"): Answer("cancelled", "503 closed", "net.http.response", (DISPATCH.format("running-drain_and_grace"),)),
    ("connection", "running", "handler dies"): Answer("failed", "500 closed", "net.http.response", (DISPATCH.format("running-handler_cancelled"),)),

    ("connection", "streaming", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "streaming", "timed out"): Answer("failed", "200 closed", "net.http.error stream_idle", (DISPATCH.format("streaming-timeout"),)),
    ("connection", "streaming", "reset"): Answer("cancelled", "200 reset", "net.http.error disconnect", (DISPATCH.format("streaming-reset"),)),
    ("connection", "streaming", "eof"): Answer("cancelled", "200 closed", "net.http.error disconnect", (DISPATCH.format("streaming-eof"),)),
    ("connection", "streaming", "drain and grace"): Answer("cancelled", "200 closed", "net.http.error shutdown", (DISPATCH.format("streaming-drain_and_grace"),)),
    ("connection", "streaming", "handler dies"): Answer("failed", "200 closed", "net.http.error handler", (DISPATCH.format("streaming-handler_cancelled"),)),

    ("connection", "response buffered", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "response buffered", "timed out"): Answer("replied", "reset", "net.http.error write_timeout", (DISPATCH.format("buffered-timeout"),)),
    ("connection", "response buffered", "reset"): Answer("replied", "reset", "net.http.error disconnect", (DISPATCH.format("buffered-reset"),)),
    ("connection", "response buffered", "eof"): Answer("replied", "200 closed", "net.http.response", (DISPATCH.format("buffered-eof"),)),
    ("connection", "response buffered", "drain and grace"): Answer("replied", "reset", "net.http.error shutdown", (DISPATCH.format("buffered-drain_and_grace"),)),
    ("connection", "response buffered", "handler dies"): Never(HANDLER_HAS_ENDED, (DISPATCH.format("buffered-handler_cancelled"),)),

    ("connection", "lingering", "cancelled"): Never(NOBODY_CANCELS),
    ("connection", "lingering", "timed out"): Answer("", "400 closed", "net.http.response", (DISPATCH.format("lingering-timeout"),)),
    ("connection", "lingering", "reset"): Answer("", "reset", "net.http.response", (DISPATCH.format("lingering-reset"),)),
    ("connection", "lingering", "eof"): Answer("", "400 closed", "net.http.response", (DISPATCH.format("lingering-eof"),)),
    ("connection", "lingering", "drain and grace"): Answer("", "400 closed", "net.http.response", (DISPATCH.format("lingering-drain_and_grace"),)),
    ("connection", "lingering", "handler dies"): Never(HANDLER_HAS_ENDED, (DISPATCH.format("lingering-handler_cancelled"),)),

    ("exchange", "queued", "cancelled"): Answer("cancelled", "nobody looks", "", (BUS.format("exchange", "queued-cancelled"),)),
    ("exchange", "queued", "timed out"): Answer("timed_out", "RequestTimeout", "", (BUS.format("exchange", "queued-timed out"),)),
    ("exchange", "queued", "reset"): Answer("cancelled", "reset", "net.http.error disconnect", (BUS.format("exchange", "queued-disconnected"),)),
    ("exchange", "queued", "eof"): Answer("cancelled", "closed", "net.http.error disconnect", (BUS.format("exchange", "queued-disconnected"),)),
    ("exchange", "queued", "drain and grace"): Answer("cancelled", "RequestCancelled", "", (BUS.format("exchange", "queued-shutdown"),)),
    ("exchange", "queued", "handler dies"): Answer("replied", "a reply", "", (BUS.format("exchange", "queued-handler ended"),)),

    ("exchange", "running", "cancelled"): Answer("cancelled", "nobody looks", "", (BUS.format("exchange", "running-cancelled"),)),
    ("exchange", "running", "timed out"): Answer("timed_out", "RequestTimeout", "", (BUS.format("exchange", "running-timed out"),)),
    ("exchange", "running", "reset"): Answer("cancelled", "reset", "net.http.error disconnect", (BUS.format("exchange", "running-disconnected"),)),
    ("exchange", "running", "eof"): Answer("cancelled", "closed", "net.http.error disconnect", (BUS.format("exchange", "running-disconnected"),)),
    ("exchange", "running", "drain and grace"): Answer("cancelled", "RequestCancelled", "", (BUS.format("exchange", "running-shutdown"),)),
    ("exchange", "running", "handler dies"): Answer("failed", "ResponderFailed", "", (BUS.format("exchange", "running-handler ended"),)),

    ("exchange", "streaming", "cancelled"): Answer("cancelled", "nobody looks", "net.http.client.error", (BUS.format("exchange", "streaming-cancelled"),)),
    ("exchange", "streaming", "timed out"): Answer("failed", "200 closed", "net.http.error stream_idle", (BUS.format("exchange", "streaming-timed out"),)),
    ("exchange", "streaming", "reset"): Answer("cancelled", "200 reset", "net.http.error disconnect", (BUS.format("exchange", "streaming-disconnected"),)),
    ("exchange", "streaming", "eof"): Answer("cancelled", "200 closed", "net.http.error disconnect", (BUS.format("exchange", "streaming-disconnected"),)),
    ("exchange", "streaming", "drain and grace"): Answer("cancelled", "200 closed", "net.http.error shutdown", (BUS.format("exchange", "streaming-shutdown"),)),
    ("exchange", "streaming", "handler dies"): Answer("failed", "200 closed", "net.http.error handler", (BUS.format("exchange", "streaming-handler ended"),)),

    ("publisher", "parked", "cancelled"): Answer("cancelled", "nobody looks", "dropped cancelled", (BUS.format("publisher", "parked-cancelled"),)),
    ("publisher", "parked", "timed out"): Answer("failed", "ResponderFailed", "dropped publish_timeout", (BUS.format("publisher", "parked-timed out"),)),
    ("publisher", "parked", "reset"): Answer("cancelled", "reset", "dropped cancelled", (BUS.format("publisher", "parked-disconnected"),)),
    ("publisher", "parked", "eof"): Answer("cancelled", "closed", "dropped cancelled", (BUS.format("publisher", "parked-disconnected"),)),
    ("publisher", "parked", "drain and grace"): Answer("cancelled", "503 closed", "dropped shutdown", (BUS.format("publisher", "parked-shutdown"),)),
    ("publisher", "parked", "handler dies"): Answer("failed", "ResponderFailed", "dropped cancelled"),

    ("call", "waiting", "cancelled"): Answer("cancelled", "nobody looks", "net.http.client.error cancelled", (CLIENT.format("waiting-cancel"),)),
    ("call", "waiting", "timed out"): Answer("failed", "ResponderFailed", "net.http.client.error failed PoolTimeout", (CLIENT.format("waiting-pool timeout"),)),
    ("call", "waiting", "reset"): Answer("cancelled", "reset", "net.http.client.error cancelled", (CLIENT.format("waiting-cancel"),)),
    ("call", "waiting", "eof"): Answer("cancelled", "closed", "net.http.client.error cancelled", (CLIENT.format("waiting-cancel"),)),
    ("call", "waiting", "drain and grace"): Answer("cancelled", "503 closed", "net.http.client.error cancelled", (CLIENT.format("waiting-close"),)),
    ("call", "waiting", "handler dies"): Answer("failed", "ResponderFailed", "net.http.client.error cancelled", (CLIENT.format("waiting-cancel"),)),

    ("call", "connecting", "cancelled"): Answer("cancelled", "nobody looks", "net.http.client.error cancelled", (CLIENT.format("resolving-cancel"), CLIENT.format("connecting-cancel"))),
    ("call", "connecting", "timed out"): Answer("failed", "ResponderFailed", "net.http.client.error failed ConnectTimeout", (CLIENT.format("connecting-connect timeout"),)),
    ("call", "connecting", "reset"): Answer("cancelled", "reset", "net.http.client.error cancelled", (CLIENT.format("resolving-cancel"), CLIENT.format("connecting-cancel"))),
    ("call", "connecting", "eof"): Answer("cancelled", "closed", "net.http.client.error cancelled", (CLIENT.format("resolving-cancel"), CLIENT.format("connecting-cancel"))),
    ("call", "connecting", "drain and grace"): Answer("cancelled", "503 closed", "net.http.client.error cancelled", (CLIENT.format("resolving-close"), CLIENT.format("connecting-close"))),
    ("call", "connecting", "handler dies"): Answer("failed", "ResponderFailed", "net.http.client.error cancelled", (CLIENT.format("resolving-cancel"), CLIENT.format("connecting-cancel"))),

    ("call", "sending", "cancelled"): Answer("cancelled", "nobody looks", "net.http.client.error cancelled", (CLIENT.format("sending-cancel"),)),
    ("call", "sending", "timed out"): Answer("failed", "ResponderFailed", "net.http.client.error failed WriteTimeout", (CLIENT.format("sending-write timeout"),)),
    ("call", "sending", "reset"): Answer("cancelled", "reset", "net.http.client.error cancelled", (CLIENT.format("sending-cancel"),)),
    ("call", "sending", "eof"): Answer("cancelled", "closed", "net.http.client.error cancelled", (CLIENT.format("sending-cancel"),)),
    ("call", "sending", "drain and grace"): Answer("cancelled", "503 closed", "net.http.client.error cancelled", (CLIENT.format("sending-close"),)),
    ("call", "sending", "handler dies"): Answer("failed", "ResponderFailed", "net.http.client.error cancelled", (CLIENT.format("sending-cancel"),)),

    ("call", "reading", "cancelled"): Answer("cancelled", "nobody looks", "net.http.client.error cancelled", (CLIENT.format("reading head-cancel"), CLIENT.format("reading body-cancel"))),
    ("call", "reading", "timed out"): Answer("failed", "ResponderFailed", "net.http.client.error failed ReadTimeout", (CLIENT.format("reading head-read timeout"), CLIENT.format("reading body-read timeout"))),
    ("call", "reading", "reset"): Answer("cancelled", "reset", "net.http.client.error cancelled", (CLIENT.format("reading head-cancel"), CLIENT.format("reading body-cancel"))),
    ("call", "reading", "eof"): Answer("cancelled", "closed", "net.http.client.error cancelled", (CLIENT.format("reading head-cancel"), CLIENT.format("reading body-cancel"))),
    ("call", "reading", "drain and grace"): Answer("cancelled", "503 closed", "net.http.client.error cancelled", (CLIENT.format("reading head-close"), CLIENT.format("reading body-close"))),
    ("call", "reading", "handler dies"): Answer("failed", "ResponderFailed", "net.http.client.error cancelled", (CLIENT.format("reading head-cancel"), CLIENT.format("reading body-cancel"))),

    ("subscription", "queued", "cancelled"): Answer("", "handled []", "dropped closed", (BUS.format("subscription", "queued-cancelled"),)),
    ("subscription", "queued", "timed out"): Never(EVENTS_DO_NOT_EXPIRE, (BUS.format("subscription", "queued-timed out"),)),
    ("subscription", "queued", "reset"): Answer("", "handled ['/wait', '/wait']", "", (BUS.format("subscription", "queued-disconnected"),)),
    ("subscription", "queued", "eof"): Answer("", "handled ['/wait', '/wait']", "", (BUS.format("subscription", "queued-disconnected"),)),
    ("subscription", "queued", "drain and grace"): Answer("", "handled []", "dropped shutdown", (BUS.format("subscription", "queued-shutdown"),)),
    ("subscription", "queued", "handler dies"): Answer("", "handled [1]", ""),

    ("subscription", "running", "cancelled"): Answer("", "handled [0]", "", (BUS.format("subscription", "running-cancelled"),)),
    ("subscription", "running", "timed out"): Never(SUBSCRIBERS_HAVE_ALL_TIME, (BUS.format("subscription", "running-timed out"),)),
    ("subscription", "running", "reset"): Answer("", "handled ['/wait', '/wait']", "", (BUS.format("subscription", "running-disconnected"),)),
    ("subscription", "running", "eof"): Answer("", "handled ['/wait', '/wait']", "", (BUS.format("subscription", "running-disconnected"),)),
    ("subscription", "running", "drain and grace"): Answer("", "handled []", "", (BUS.format("subscription", "running-shutdown"),)),
    ("subscription", "running", "handler dies"): Answer("", "handled []", "", (BUS.format("subscription", "running-handler ended"),)),
}
# fmt: on
