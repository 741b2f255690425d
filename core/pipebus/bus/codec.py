"""Codecs: an event as bytes, only where it leaves the process."""

import math
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from pipebus.bus.event import NO_METADATA, Event
from pipebus.bus.topic import check_topic
from pipebus.errors import CodecError, text_of
from pipebus.limits import Limits
from pipebus.telemetry.trace import received


class Codec(Protocol):
    """Turns events to bytes and back. Both directions raise `CodecError` and nothing else."""

    name: str
    content_type: str

    def encode(self, event: Event, now: float) -> bytes:
        """Encode `event`; its deadline crosses as the seconds that remain at `now`."""
        ...

    def decode(self, data: bytes, now: float) -> Event:
        """Decode one event; remaining seconds count from `now`.

        `data` arrives as the builtin types of the format: a struct comes back as a dict.
        """
        ...


class _Wire(msgspec.Struct, omit_defaults=True):
    """An event on the wire: the monotonic clock means nothing there, so seconds remain."""

    id: str
    source: str
    type: str
    time: float
    data: Any = None
    subject: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    baggage: str = ""
    remaining: float | None = None
    metadata: dict[str, str] | None = None


class _Encoder(Protocol):
    def encode(self, obj: object, /) -> bytes: ...


class _Decoder(Protocol):
    def decode(self, buf: bytes, /) -> _Wire: ...


class _MsgspecCodec:
    """What the two formats share."""

    name: str
    content_type: str

    def __init__(self, encoder: _Encoder, decoder: _Decoder, limits: Limits) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._max_decode = limits.max_decode

    def encode(self, event: Event, now: float) -> bytes:
        """Encode `event`; its deadline crosses as the seconds that remain at `now`.

        Raises `CodecError` for data that the format cannot hold: an object of an unknown type, a
        cycle, a number or text out of range.
        """
        wire = _Wire(
            event.id,
            event.source,
            event.type,
            event.time,
            event.data,
            event.subject,
            event.correlation_id,
            event.causation_id,
            event.traceparent,
            event.tracestate,
            event.baggage,
            None if event.deadline is None else max(0.0, event.deadline - now),
            dict(event.metadata) or None,
        )
        try:
            return self._encoder.encode(wire)
        except Exception as error:  # taking a user's object apart may raise anything
            msg = f"cannot encode {event.type!r} as {self.name}: {text_of(error)}"
            raise CodecError(msg) from error

    def decode(self, data: bytes, now: float) -> Event:
        """Decode one event; remaining seconds count from `now`.

        Raises `CodecError` for more than `Limits.max_decode` bytes, for what is malformed, too
        deep or of a wrong type, and for a topic that nobody can publish.
        """
        if len(data) > self._max_decode:
            msg = f"{len(data)} bytes of {self.name} are over the limit of {self._max_decode}"
            raise CodecError(msg)
        try:
            wire = self._decoder.decode(data)
            check_topic(wire.type)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            msg = f"not an event in {self.name}: {error}"
            raise CodecError(msg) from error
        remaining = wire.remaining
        if not math.isfinite(wire.time) or not 0 <= (remaining or 0.0) < math.inf:
            msg = f"not an event in {self.name}: its time or remaining seconds are out of range"
            raise CodecError(msg)
        return Event(
            wire.id,
            wire.source,
            wire.type,
            wire.time,
            wire.data,
            wire.subject,
            wire.correlation_id,
            wire.causation_id,
            received(wire.traceparent, wire.tracestate, wire.baggage),
            None if remaining is None else now + remaining,
            MappingProxyType(wire.metadata) if wire.metadata else NO_METADATA,
        )


class JsonCodec(_MsgspecCodec):
    """Events as JSON: readable anywhere; bytes become base64, keys text."""

    name = "json"
    content_type = "application/json"

    def __init__(self, limits: Limits) -> None:
        # a set must not come out in the order of its hashes
        encoder = msgspec.json.Encoder(order="deterministic")
        super().__init__(encoder, msgspec.json.Decoder(_Wire), limits)


class MsgpackCodec(_MsgspecCodec):
    """Events as MessagePack: compact, and bytes stay bytes."""

    name = "msgpack"
    content_type = "application/msgpack"

    def __init__(self, limits: Limits) -> None:
        encoder = msgspec.msgpack.Encoder(order="deterministic")
        super().__init__(encoder, msgspec.msgpack.Decoder(_Wire), limits)
