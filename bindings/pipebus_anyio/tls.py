"""TLS: what users configure, and a TLS stream over any transport."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from typing import Final

import anyio

from pipebus_anyio.tls_layer import TlsLayer
from pipebus_anyio.transport import LOST, RECEIVE_SIZE, Transport

_ALPN: Final = ("http/1.1",)
StrPath = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """A server's TLS. TLS 1.2 or newer, ALPN `http/1.1`; files are PEM."""

    certfile: StrPath
    """The certificate, with its chain."""
    keyfile: StrPath | None = None
    """The private key; None: it is in `certfile`."""
    password: str | None = None
    """Of the private key."""
    client_ca: StrPath | None = None
    """Clients must show a certificate signed by one of these; None: none is asked for."""

    def context(self) -> ssl.SSLContext:
        """Build the context; raises `OSError` (`ssl.SSLError`) for files that will not do."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(_ALPN)
        context.load_cert_chain(self.certfile, self.keyfile, self.password)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def server_context(tls: ssl.SSLContext | TLSConfig | None) -> ssl.SSLContext | None:
    """Return the context to serve with; one that the user built is taken as it is."""
    return tls.context() if isinstance(tls, TLSConfig) else tls


def client_contexts(verify: bool | StrPath | ssl.SSLContext) -> Callable[[], ssl.SSLContext]:
    """Return a function that gives a client's context, built at its first use (it reads files).

    `verify`: True, against the system's authorities; a path, against that PEM file; False, not at
    all; or a context, taken as it is.
    """
    built: list[ssl.SSLContext] = [verify] if isinstance(verify, ssl.SSLContext) else []

    def context() -> ssl.SSLContext:
        if not built:
            cafile = None if isinstance(verify, bool | ssl.SSLContext) else verify
            new = ssl.create_default_context(cafile=cafile)
            new.set_alpn_protocols(_ALPN)
            if verify is False:
                new.check_hostname = False
                new.verify_mode = ssl.CERT_NONE
            built.append(new)
        return built[0]

    return context


class TlsTransport:
    """A `Transport` over another one.

    Reading and writing tasks may both have to send (a key update is answered while reading), so a
    lock keeps records whole.
    """

    __slots__ = ("_layer", "_lock", "_transport")

    def __init__(
        self, transport: Transport, context: ssl.SSLContext, *, server_hostname: str | None = None
    ) -> None:
        self._transport = transport
        self._lock = anyio.Lock(fast_acquire=True)
        self._layer = TlsLayer(context, server_hostname)

    @classmethod
    async def wrap(
        cls, transport: Transport, context: ssl.SSLContext, *, server_hostname: str | None = None
    ) -> "TlsTransport":
        """Do the handshake over `transport` and own it; on failure it is closed."""
        try:
            stream = cls(transport, context, server_hostname=server_hostname)
            await stream._handshake()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await transport.aclose()
            raise
        return stream

    @property
    def alpn(self) -> str | None:
        """The protocol that both sides agreed on, or None."""
        return self._layer.alpn

    async def _handshake(self) -> None:
        layer = self._layer
        while True:
            try:
                done = layer.handshake()
            except ssl.SSLError:
                await self._flush()  # the alert says what was wrong
                raise
            await self._flush()
            if done:
                return
            await self._feed()

    async def _feed(self) -> None:
        try:
            self._layer.feed(await self._transport.receive())
        except anyio.EndOfStream:
            self._layer.feed_eof()

    async def _flush(self) -> None:
        if self._layer.pending:
            async with self._lock:
                data = self._layer.take()
                if data:
                    try:
                        await self._transport.send(data)
                    except BaseException:
                        self._layer.usable = False  # a record may be cut: nothing can follow
                        raise

    async def receive(self, max_bytes: int = RECEIVE_SIZE) -> bytes:
        """Wait for decrypted bytes, one record's at most."""
        while (data := self._layer.read(max_bytes)) is None:
            await self._flush()
            await self._feed()
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, data: bytes | memoryview) -> None:
        """Encrypt and send all of `data`."""
        self._layer.write(data)
        await self._flush()

    async def send_eof(self) -> None:
        """Send `close_notify`, then end the transport's sending side."""
        self._layer.say_goodbye()
        await self._flush()
        await self._transport.send_eof()

    def reset_on_close(self) -> None:
        """Make `aclose` reset the connection."""
        self._layer.usable = False
        self._transport.reset_on_close()

    async def aclose(self) -> None:
        """Send `close_notify` and close the transport."""
        try:
            self._layer.say_goodbye()
            if not self._lock.locked():
                with suppress(*LOST):
                    await self._flush()
        finally:
            await self._transport.aclose()
