"""The states of one request and its response, as data.

The file knows no role: a server receives the request's events and sends the response's, a client
the other way round. What is missing from the table is a protocol error. `docs/states.md` shows it
as a diagram, generated from here.
"""

from typing import Final

from pipebus.errors import LocalProtocolError, RemoteProtocolError

# States: where a request and its response stand together.
IDLE: Final = "idle"
"""No complete request head yet."""
REQUEST: Final = "request"
"""The request's head has passed, its body has not; no final response yet."""
AWAITING: Final = "awaiting"
"""The request has passed; its response is owed."""
REFUSED: Final = "refused"
"""The request was broken off by a fault; a response is owed, the last one."""
DUPLEX: Final = "duplex"
"""The response has begun before the request's end."""
RESPONSE: Final = "response"
"""The request has passed; the response is under way."""
REFUSING: Final = "refusing"
"""The request was broken off by a fault; the response is under way."""
DONE: Final = "done"
"""Both have passed: the next request may follow."""
ENDING: Final = "ending"
"""The response has passed and the request never will: only the close is left."""
CLOSED: Final = "closed"
"""Nothing more is said on this connection."""

# Moves: what happens to a request or its response.
REQUEST_HEAD: Final = "request head"
REQUEST_END: Final = "request end"
REQUEST_FAULT: Final = "request fault"
"""The request cannot be understood, is refused half-way or did not come in time."""
INFORMATIONAL: Final = "informational"
"""A 1xx response."""
RESPONSE_HEAD: Final = "response head"
RESPONSE_END: Final = "response end"
NEXT: Final = "next"
"""The connection persists."""
CLOSE: Final = "close"
"""The connection closes, is lost or is given up."""

TRANSITIONS: Final[dict[str, dict[str, str]]] = {
    IDLE: {REQUEST_HEAD: REQUEST, REQUEST_FAULT: REFUSED, CLOSE: CLOSED},
    REQUEST: {
        REQUEST_END: AWAITING,
        REQUEST_FAULT: REFUSED,
        INFORMATIONAL: REQUEST,
        RESPONSE_HEAD: DUPLEX,
        CLOSE: CLOSED,
    },
    AWAITING: {INFORMATIONAL: AWAITING, RESPONSE_HEAD: RESPONSE, CLOSE: CLOSED},
    REFUSED: {RESPONSE_HEAD: REFUSING, CLOSE: CLOSED},
    DUPLEX: {
        REQUEST_END: RESPONSE,
        REQUEST_FAULT: REFUSING,
        RESPONSE_END: ENDING,
        CLOSE: CLOSED,
    },
    RESPONSE: {RESPONSE_END: DONE, CLOSE: CLOSED},
    REFUSING: {RESPONSE_END: ENDING, CLOSE: CLOSED},
    DONE: {NEXT: IDLE, CLOSE: CLOSED},
    ENDING: {CLOSE: CLOSED},
    CLOSED: {},
}


def after(state: str, *moves: str) -> str:
    """Return the state that moves lead to, one after another; `KeyError` if one is not possible."""
    for move in moves:
        state = TRANSITIONS[state][move]
    return state


class Cycle:
    """Where a request and its response stand: `state`."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: str = IDLE

    def sent(self, move: str) -> None:
        """Take note of our own doing; `LocalProtocolError` where it is not possible now."""
        state = TRANSITIONS[self.state].get(move)
        if state is None:
            raise LocalProtocolError(f"no {move} while {self.state}")
        self.state = state

    def received(self, move: str) -> None:
        """Take note of the peer's doing; `RemoteProtocolError` where it is not possible now."""
        state = TRANSITIONS[self.state].get(move)
        if state is None:
            raise RemoteProtocolError(f"no {move} while {self.state}")
        self.state = state
