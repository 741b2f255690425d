"""Codecs: an event as bytes, only where it leaves the process."""

from typing import Protocol

from pipebus.bus.event import Event


class Codec(Protocol):
    """Turns events to bytes and back. Both directions raise `CodecError` and nothing else."""

    name: str
    content_type: str

    def encode(self, event: Event, now: float) -> bytes:
        """Encode `event`; its deadline crosses as the seconds that remain at `now`."""
        ...

    def decode(self, data: bytes, now: float) -> Event:
        """Decode one event; remaining seconds count from `now`."""
        ...
