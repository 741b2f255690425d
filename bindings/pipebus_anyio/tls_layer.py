"""TLS without IO: ciphertext in and out on one side, plaintext on the other."""

import ssl
from contextlib import suppress
from typing import Final

_PIECE: Final = 65_536
"""The most plaintext that is asked for at once; a record holds 16 KiB of it."""


class TlsLayer:
    """One TLS connection over two buffers in memory.

    Closing sends `close_notify` and does not wait for the peer's. A peer that ends without one is
    not an end of file but an `ssl.SSLError`, for it may be an attacker's cut (RFC 9112 section
    9.8).
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "usable")

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        """Take the server's part, or with a `server_hostname` to check the client's.

        Raises `ValueError` (a `UnicodeError`, too) for a name that TLS does not take.
        """
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self.usable: bool = False
        """The handshake is done, and nothing has gone wrong or been said for the last time."""

    @property
    def alpn(self) -> str | None:
        """The protocol that both sides agreed on, or None."""
        return self._object.selected_alpn_protocol()

    @property
    def pending(self) -> bool:
        """Whether there is ciphertext to send."""
        return self._outgoing.pending > 0

    def handshake(self) -> bool:
        """Go on with the handshake; True: it is done. Raises `ssl.SSLError`, an alert to send."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.usable = True
        return True

    def feed(self, ciphertext: bytes) -> None:
        """Take what came from the peer."""
        self._incoming.write(ciphertext)

    def feed_eof(self) -> None:
        """Note that nothing more will come."""
        self._incoming.write_eof()

    def read(self, max_bytes: int = _PIECE) -> bytes | None:
        """Return the next piece of plaintext, `b""` at its end, None: send, then feed more.

        Raises `ssl.SSLError` for what is no TLS, and at an end without `close_notify`.
        """
        try:
            return self._object.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:  # the peer's close_notify after ours; before: b""
            return b""
        except ssl.SSLError:
            self.usable = False
            raise

    def write(self, plaintext: bytes | memoryview) -> None:
        """Encrypt all of `plaintext`."""
        view = memoryview(plaintext)
        while view:
            view = view[self._object.write(view) :]

    def take(self) -> bytes:
        """Return the ciphertext to send, and forget it."""
        return self._outgoing.read()

    def say_goodbye(self) -> None:
        """Make `close_notify`, if it can be said and was not yet."""
        if self.usable:
            self.usable = False
            with suppress(ssl.SSLError):  # SSLWantReadError: the peer's own is not here yet
                self._object.unwrap()
