"""Whose a request is, behind proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

Each proxy adds at the right whom it was talking to. What stands further left was there before, so
anybody may have written it: the list is read from the right, and only for as long as what was read
names a proxy that is trusted.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from pipebus.http.message import Address
from pipebus.http.wire import RawHeaders

UNIX: Final = "unix"
"""Stands for every peer of a UNIX socket, as a trusted network and as a key."""

_MEMO: Final = 4_096
"""Addresses, and field lines of each kind, that are not taken apart again."""
_SHORT: Final = 100
"""Bytes of a field line that may be one of them."""

_MOST: Final = 100
"""Proxies in a row, and commas in an element. A field has room for thousands, each of which costs as
much as the rest of a small request."""

_LONGEST: Final = 53
"""Letters of an IPv6 address that ends in an IPv4 one, with its brackets and a port."""

# RFC 7239 section 4; a quoted string as in RFC 9110 section 5.6.4.
_PAIR: Final = (
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++="
    r'(?:[!#$%&\'*+\-.^_`|~0-9A-Za-z]++|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+")'
)
_is_element: Final = re.compile(
    rf"[ \t]*+{_PAIR}(?:[ \t]*+;[ \t]*+(?:{_PAIR})?+)*+[ \t]*+"
).fullmatch
_pairs: Final = re.compile(
    r'([^=;" \t]++)=(?:"((?:[^"\\]|\\.)*+)"|([^;" \t]++))', re.DOTALL
).findall
_quotes: Final = re.compile(r'\\.|(")', re.DOTALL).findall
_unescape: Final = re.compile(r"\\(.)", re.DOTALL).sub

# An IPv6 address may stand without brackets where no port follows.
_node: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15}))(?::(?P<port>[0-9]{1,5}))?"
    r"|(?P<bare>[0-9A-Fa-f:.]{2,45})"
).fullmatch


def client_key(address: Address) -> str:
    """Return whom an address counts for: IPv4 as it is, IPv6 its /64, a UNIX socket `unix`.

    Whoever has one address of an IPv6 network has 2**64 of them (RFC 6177). An IPv4 address that is
    written as an IPv6 one counts as IPv4.
    """
    if isinstance(address, str):
        return UNIX
    host = address[0]
    return _key_of_ipv6(host) if ":" in host else host


@lru_cache(maxsize=_MEMO)
def _key_of_ipv6(host: str) -> str:
    try:
        found = IPv6Address(host)
    except ValueError:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


class TrustedProxies:
    """The networks whose word is taken for whom a request comes from.

    `networks` such as `10.0.0.0/8`, `2001:db8::/32`, a single address, or `unix` for all peers of a
    UNIX socket; `ValueError` names one that is none. IPv4 written as IPv6 is IPv4 throughout.
    """

    __slots__ = ("_forwarded", "_four", "_known", "_six", "_trusts_unix", "_x_forwarded_for")

    def __init__(self, networks: Sequence[str]) -> None:
        self._trusts_unix = UNIX in networks
        self._four: list[IPv4Network] = []
        self._six: list[IPv6Network] = []
        for text in networks:
            if text == UNIX:
                continue
            try:
                network = ip_network(text)
            except ValueError as error:
                msg = f"a trusted proxy is an address, a network or {UNIX!r}, not {text!r}: {error}"
                raise ValueError(msg) from None
            if isinstance(network, IPv4Network):
                self._four.append(network)
            else:
                self._six.append(network)
        self._known: dict[str, tuple[str, int, bool] | None] = {}
        self._forwarded: dict[bytes, tuple[str, int] | None] = {}
        self._x_forwarded_for: dict[bytes, tuple[str, int] | None] = {}

    @property
    def remembered(self) -> int:
        """How many addresses and fields need not be taken apart again."""
        return len(self._known) + len(self._forwarded) + len(self._x_forwarded_for)

    def trusts(self, address: Address) -> bool:
        """Tell whether the address is one of theirs."""
        if isinstance(address, str):
            return self._trusts_unix
        found = self._look_at(address[0])
        return found is not None and found[2]

    def client_address(self, peer: Address, headers: RawHeaders) -> Address:
        """Return the first address, from the right, that is not trusted; the last one if all are.

        The port is 0 where none is told. It is the peer's where the peer is not trusted, where
        nobody tells more, where the next to be read is no address (`unknown`, an obfuscated `_name`
        or what is not RFC 7239), and where `Forwarded` and `X-Forwarded-For` tell of two hosts: most
        proxies write one and pass on the other, whoever wrote that.
        """
        if not self.trusts(peer):
            return peer
        forwarded: list[bytes] = []
        x_forwarded_for: list[bytes] = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                x_forwarded_for.append(value)
            elif name == b"forwarded":
                forwarded.append(value)
        if not forwarded:
            if not x_forwarded_for:
                return peer
            return self._read(x_forwarded_for, self._x_forwarded_for, _addresses) or peer
        client = self._read(forwarded, self._forwarded, _elements)
        if x_forwarded_for and client is not None:
            other = self._read(x_forwarded_for, self._x_forwarded_for, _addresses)
            if other is None or other[0] != client[0]:
                return peer
        return client or peer

    def _read(
        self,
        lines: list[bytes],
        known: dict[bytes, tuple[str, int] | None],
        nodes_of: Callable[[list[bytes]], Iterator[str]],
    ) -> tuple[str, int] | None:
        """Return whom the field lines name, None for the peer; one client asks many a time."""
        line = lines[0]
        if len(lines) > 1 or len(line) > _SHORT:
            return self._walk(nodes_of(lines))
        if line in known:
            return known[line]
        if len(known) >= _MEMO:
            known.clear()
        known[line] = found = self._walk(nodes_of(lines))
        return found

    def _walk(self, nodes: Iterator[str]) -> tuple[str, int] | None:
        """Go along the nodes, the last to be added first, and no further than is needed."""
        client: tuple[str, int] | None = None
        for passed, node in enumerate(nodes):
            found = self._look_at(node)
            if found is None or passed == _MOST:
                return None
            host, port, trusted = found
            client = (host, port)
            if not trusted:
                break
        return client

    def _look_at(self, node: str) -> tuple[str, int, bool] | None:
        """Return host, port, and whether it is trusted; None for what is no address."""
        known = self._known
        if node in known:
            return known[node]
        if len(node) > _LONGEST:
            return None
        if len(known) >= _MEMO:
            known.clear()
        known[node] = found = self._take_apart(node)
        return found

    def _take_apart(self, node: str) -> tuple[str, int, bool] | None:
        match = _node(node)
        if match is None:
            return None
        port = int(match["port"] or 0)
        try:
            address = ip_address(match["six"] or match["four"] or match["bare"])
        except ValueError:
            return None
        if port > 65_535 or (match["six"] is not None and isinstance(address, IPv4Address)):
            return None
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if isinstance(address, IPv4Address):
            trusted = any(address in network for network in self._four)
        else:
            trusted = any(address in network for network in self._six)
        return str(address), port, trusted


def _addresses(lines: list[bytes]) -> Iterator[str]:
    """Yield what the field lines list, from the right; empty ones are none (RFC 9110, 5.6.1.2)."""
    for line in reversed(lines):
        for part in reversed(line.decode("latin-1").split(",")):
            node = part.strip(" \t")
            if node:
                yield node


def _elements(lines: list[bytes]) -> Iterator[str]:
    """Yield the node of each `for`, from the right; `unknown` for an element without a right one.

    A comma in a quoted string is none. Quotes are paired from the right, and no further than the
    line goes: one that somebody left open further left cannot swallow what a proxy has added.
    """
    for line in reversed(lines):
        pieces: list[str] = []
        is_open = False
        for part in reversed(line.decode("latin-1").split(",")):
            pieces.append(part)
            if _quotes(part).count('"') % 2:
                is_open = not is_open
            if not is_open:
                element = ",".join(reversed(pieces))
                pieces = []
                if element.strip(" \t"):
                    yield _node_of(element)
            elif len(pieces) == _MOST:
                break
        if pieces:
            yield "unknown"


def _node_of(element: str) -> str:
    nodes = []
    if _is_element(element) is not None:
        for name, quoted, token in _pairs(element):
            if name.lower() == "for":
                nodes.append(token or _unescape(r"\1", quoted))
    return nodes[0] if len(nodes) == 1 else "unknown"
