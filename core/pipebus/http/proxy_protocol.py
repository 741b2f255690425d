"""The PROXY protocol, versions 1 and 2: a proxy tells, before all else, for whom it connects.

Sections are those of haproxy's "The PROXY protocol, versions 1 & 2".
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from pipebus.errors import RemoteProtocolError
from pipebus.http.message import Address

MAX_V1: Final = 107
"""Bytes of a line with its CRLF (section 2.1)."""
MAX_V2: Final = 4_096
"""Bytes that version 2 may announce; it could be 65,535, and nothing that is of use needs them."""

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = len(_V2) + 4

# Section 2.2: family and protocol in one byte; all over streams, as nothing else comes here.
_UNSPEC: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_UNIX: Final = 0x31
_LENGTHS: Final = {_UNSPEC: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}


class ProxyProtocolError(RemoteProtocolError):
    """A connection did not begin with a header of the PROXY protocol: close it (section 2)."""


class ProxyHeader:
    """Reads one header. Input: `receive`, until it returns bytes. Output: `address`."""

    __slots__ = ("_held", "address")

    def __init__(self) -> None:
        self._held = b""
        self.address: Address | None = None
        """Whom the proxy connects for; None if for itself (LOCAL) or it cannot tell (UNKNOWN)."""

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes. None: more are needed; else those that follow the header.

        Raises `ProxyProtocolError` for what is no header, or too long a one.
        """
        self._held = held = self._held + data
        if held.startswith(_V1):
            return self._receive_v1(held)
        if held.startswith(_V2):
            return self._receive_v2(held)
        if _V1.startswith(held) or _V2.startswith(held):
            return None
        raise ProxyProtocolError("there is no header")

    def _receive_v1(self, held: bytes) -> bytes | None:
        end = held.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(held) >= MAX_V1:
                raise ProxyProtocolError(f"a line has at most {MAX_V1} bytes")
            return None
        self._held = b""
        words = held[len(_V1) : end].split(b" ")
        if words[0] != b"UNKNOWN":  # what else it says is to be ignored
            self.address = _address_v1(words)
        return held[end + 2 :]

    def _receive_v2(self, held: bytes) -> bytes | None:
        if len(held) < _FIXED:
            return None
        version, command = divmod(held[12], 16)
        if version != 2 or command > 1:
            raise ProxyProtocolError(f"version and command are {held[12]:#04x}")
        length = int.from_bytes(held[14:16], "big")
        if length > MAX_V2:
            raise ProxyProtocolError(f"{length} bytes are announced, at most {MAX_V2} are taken")
        end = _FIXED + length
        if len(held) < end:
            return None
        self._held = b""
        if command:  # else LOCAL: the proxy for itself, a health check; the rest is to be ignored
            self.address = _address_v2(held[13], held[_FIXED:end])
        return held[end:]


def _address_v1(words: list[bytes]) -> Address:
    if len(words) != 5:
        raise ProxyProtocolError("the line has a protocol, two addresses and two ports")
    family, source, destination, source_port, destination_port = words
    _ip_v1(family, destination)
    _port_v1(destination_port)
    return _ip_v1(family, source), _port_v1(source_port)


def _ip_v1(family: bytes, word: bytes) -> str:
    text = word.decode("latin-1")
    try:
        if family == b"TCP4":
            return str(IPv4Address(text))
        if family == b"TCP6" and "%" not in text:
            return str(IPv6Address(text))
    except ValueError:
        pass
    raise ProxyProtocolError(f"{text!r} is no address of {family.decode('latin-1')!r}")


def _port_v1(word: bytes) -> int:
    # Without leading zeros, as are the ports that are written.
    if word.isdigit() and len(word) <= 5 and (word == b"0" or word[:1] != b"0"):
        port = int(word)
        if port <= 65_535:
            return port
    raise ProxyProtocolError(f"{word.decode('latin-1')!r} is no port")


def _address_v2(kind: int, block: bytes) -> Address | None:
    least = _LENGTHS.get(kind)
    if least is None:
        raise ProxyProtocolError(f"family and protocol are {kind:#04x}")
    if len(block) < least:
        raise ProxyProtocolError(f"addresses take {least} bytes, {len(block)} came")
    # Source address, destination address, source port, destination port; what follows are TLVs.
    if kind == _TCP4:
        return str(IPv4Address(block[:4])), int.from_bytes(block[8:10], "big")
    if kind == _TCP6:
        return str(IPv6Address(block[:16])), int.from_bytes(block[32:34], "big")
    if kind == _UNIX:
        return block[:108].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return None
