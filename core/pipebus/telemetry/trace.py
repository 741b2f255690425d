"""Distributed tracing: whose work is part of what (W3C Trace Context, W3C Baggage).

What came with a request is passed on, always. Spans are another's: a `Tracer` that a binding
supplies makes them, and only for what is sampled, which is decided here before.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

import msgspec

SpanKind = Literal["server", "client", "consumer"]
Attributes = Mapping[str, str | int | float | bool]

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""Section 3.2. Of a later version what this one has is passed on, as this one (section 4.3)."""
_LARGEST_STATE: Final = 4_096
"""The longest `tracestate` passed on: section 3.3.1.5 asks for 512 at least."""
_LARGEST_BAGGAGE: Final = 8_192
"""The longest baggage passed on (W3C Baggage, section 3.3.2)."""
_TEXT: Final = re.compile(r"[\t\x20-\x7e]*")
_SAMPLED: Final = 1
_FIELDS: Final = frozenset({b"traceparent", b"baggage"})
"""Without one of these there is no context."""
_NOTHING: Final = frozenset({"0" * 32, "0" * 16})


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """What a piece of work is part of."""

    traceparent: str = ""
    """`version-trace id-parent id-flags`; empty where only baggage came."""
    tracestate: str = ""
    baggage: str = ""

    @property
    def trace_id(self) -> str:
        """The id of the whole, 32 hexadecimal digits; empty where there is none."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """The id of the part that this is in, 16 hexadecimal digits; empty where there is none."""
        return self.traceparent[36:52]

    @property
    def sampled(self) -> bool:
        """Whether whoever began it records it."""
        return bool(self.traceparent) and bool(int(self.traceparent[53:55], 16) & _SAMPLED)

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields that pass it on."""
        pairs = (
            (b"traceparent", self.traceparent),
            (b"tracestate", self.tracestate),
            (b"baggage", self.baggage),
        )
        return [(name, value.encode("latin-1")) for name, value in pairs if value]


def context_of(fields: list[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the context that came in header fields, or None.

    A `traceparent` that is malformed, or comes twice, is none, and its `tracestate` goes with it
    (section 3.2.2). Of several fields of the other two one is made.
    """
    for name, _ in fields:
        if name in _FIELDS:
            return _context_of(fields)
    return None


def _context_of(fields: list[tuple[bytes, bytes]]) -> TraceContext | None:
    parents: list[str] = []
    states: list[str] = []
    baggage: list[str] = []
    for name, value in fields:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
        elif name == b"baggage":
            baggage.append(value.decode("latin-1"))
    parent = parents[0] if len(parents) == 1 else ""
    return received(parent, ",".join(states), ",".join(baggage))


def received(traceparent: str, tracestate: str, baggage: str) -> TraceContext | None:
    """Return the context that these make, as far as they are well-formed, or None.

    What is returned may be written into a header field.
    """
    parent = _well_formed(traceparent)
    state = tracestate if parent and _fits(tracestate, _LARGEST_STATE) else ""
    carried = baggage if _fits(baggage, _LARGEST_BAGGAGE) else ""
    return TraceContext(parent, state, carried) if parent or carried else None


def _fits(value: str, largest: int) -> bool:
    return len(value) <= largest and _TEXT.fullmatch(value) is not None


def _well_formed(parent: str) -> str:
    found = _TRACEPARENT.match(parent)
    if found is None or found[1] in _NOTHING or found[2] in _NOTHING:
        return ""
    rest = parent[found.end() :]
    if rest and (parent.startswith("00") or not rest.startswith("-")):
        return ""
    return f"00{found.group()[2:]}"


class Span(Protocol):
    """A part of a trace that is recorded; supplied by a binding."""

    @property
    def context(self) -> TraceContext:
        """What work within it is part of; its baggage is the parent's."""
        ...

    def stage(self, name: str, start: float, end: float) -> None:
        """Note a stage within it, in seconds on the monotonic clock."""
        ...

    def end(self, now: float, attributes: Attributes, error: str) -> None:
        """End it; `error` is its `error.type`, empty for none."""
        ...


class Tracer(Protocol):
    """Makes spans; supplied by a binding. Nothing of it raises."""

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> Span:  # fmt: skip
        """Begin a span at `now` on the monotonic clock."""
        ...


class Tracing:
    """Decides what is sampled, and has spans made of that.

    As its parent, where that has decided (the flag of `traceparent`); else `ratio` of them.
    """

    __slots__ = ("_random", "_ratio", "_tracer")

    def __init__(self, tracer: Tracer, ratio: float, random: Callable[[], float]) -> None:
        self._tracer = tracer
        self._ratio = ratio
        self._random = random

    def start(
        self, kind: SpanKind, name: str, parent: TraceContext | None, now: float,
        attributes: Attributes,
    ) -> Span | None:  # fmt: skip
        """Begin a span, or return None for what is not sampled."""
        if parent is not None and parent.traceparent:
            if not parent.sampled:
                return None
        elif self._random() >= self._ratio:
            return None
        return self._tracer.start(kind, name, parent, now, attributes)

    def unrecorded(self, parent: TraceContext | None) -> TraceContext:
        """Return what work is part of that `start` made no span of.

        It has to be told to all that follows, for a decision is one for the whole trace: where
        nobody has begun one, it is begun here, and says that it is not recorded.
        """
        if parent is not None and parent.traceparent:
            return parent
        begun = f"00-{self._draw():016x}{self._draw():016x}-{self._draw():016x}-00"
        return TraceContext(begun, baggage="" if parent is None else parent.baggage)

    def _draw(self) -> int:
        """Return a number of 1 to 2**64 - 1: an id may not be all zeros (section 3.2.2)."""
        return int(self._random() * (1 << 64)) | 1
