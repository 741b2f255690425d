"""What making a connection asks of the driver."""

import msgspec

from pipebus.http.message import Address


class Resolve(msgspec.Struct, frozen=True):
    """Resolve `host`; answer with `resolved(id, addresses)` or `resolve_failed(id, error)`."""

    id: str
    host: str
    port: int


class Connect(msgspec.Struct, frozen=True):
    """Connect to `address`, with a TLS handshake for `host` if `tls`.

    Answer with `connected(attempt_id)` once both stand, or with `connect_failed`.
    """

    attempt_id: str
    address: Address
    """(IP address, port), or the path of a UNIX socket."""
    host: str
    """For SNI and the certificate check."""
    tls: bool


class AbandonConnect(msgspec.Struct, frozen=True):
    """Give that attempt up, whatever its state; it needs no answer."""

    attempt_id: str
