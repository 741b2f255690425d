"""URLs of outgoing calls: refused rather than repaired."""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, unquote

import msgspec

_PORTS: Final = {"http": 80, "https": 443}
_UNIX: Final = "http+unix"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_REG_NAME: Final = re.compile(r"[a-z0-9._~-]{1,255}")
_IPV4: Final = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class Url(msgspec.Struct, frozen=True, gc=False):
    """An absolute URL, taken apart for the wire and for the pool."""

    origin: str
    """Scheme, host and port: calls with the same one may share connections."""
    host: str
    """What is resolved, and what a certificate is checked against; a UNIX socket: `localhost`."""
    port: int
    """0 for a UNIX socket."""
    path: str | None
    """Of the UNIX socket."""
    tls: bool
    is_address: bool
    """The host is an IP address: there is no name to resolve."""
    authority: bytes
    """The value of the Host field (RFC 9110 section 7.2)."""
    target: bytes
    """Origin-form: path and query (RFC 9112 section 3.2.1)."""


@lru_cache(maxsize=1024)
def parse_url(url: str) -> Url:
    """Take an http, https or http+unix URL apart; a fragment is dropped, other text kept as it is.

    Non-ASCII text in path and query is percent-encoded as UTF-8 (RFC 3987 section 3.1) and in a
    host becomes IDNA. `http+unix://%2Frun%2Fapp.sock/path` names a UNIX socket. Raises `ValueError`
    with one clear line for anything else: a space, a control character, a backslash, userinfo.
    """
    if _UNSAFE.search(url):
        msg = f"a URL has no space, control character or backslash: {url!r}"
        raise ValueError(msg)
    match = _URL.fullmatch(url)
    if match is None:
        msg = f"not an absolute URL: {url!r}"
        raise ValueError(msg)
    scheme, authority, rest = match[1].lower(), match[2], match[3]
    if "@" in authority:
        # RFC 9110 section 4.2.4: userinfo is an error; sent on, it would leak into logs.
        msg = "a URL with userinfo is refused; send an Authorization field"
        raise ValueError(msg)
    target = quote(rest, safe=_PRINTABLE).encode("ascii")
    if not target.startswith(b"/"):
        target = b"/" + target
    if scheme == _UNIX:
        return _unix(authority, target)
    if scheme not in _PORTS:
        msg = f"the scheme of a URL is http, https or http+unix, not {scheme!r}"
        raise ValueError(msg)
    return _tcp(scheme, authority, target)


def _unix(authority: str, target: bytes) -> Url:
    path = unquote(authority, errors="strict")
    if not path.startswith("/") or "\0" in path:
        msg = f"http+unix:// is followed by a percent-encoded absolute path, not {authority!r}"
        raise ValueError(msg)
    return Url(f"{_UNIX}://{path}", "localhost", 0, path, False, False, b"localhost", target)


def _tcp(scheme: str, authority: str, target: bytes) -> Url:
    host, port_text, literal = _split_authority(authority)
    port = _PORTS[scheme]
    if port_text:
        if not (port_text.isascii() and port_text.isdigit()) or not 0 < int(port_text[:6]) < 65536:
            msg = f"not a port: {port_text!r}"
            raise ValueError(msg)
        port = int(port_text)
    shown = f"[{host}]" if literal else host
    field = shown if port == _PORTS[scheme] else f"{shown}:{port}"
    return Url(
        f"{scheme}://{shown}:{port}",
        host,
        port,
        None,
        scheme == "https",
        literal or bool(_IPV4.fullmatch(host)),
        field.encode("ascii"),
        target,
    )


def _split_authority(authority: str) -> tuple[str, str, bool]:
    """Return host, port (or "") and whether the host is an IPv6 literal."""
    if authority.startswith("["):
        inner, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            msg = f"not an IPv6 literal: {authority!r}"
            raise ValueError(msg)
        try:
            address = IPv6Address(inner)
        except ValueError:
            address = None
        # A zone means something only on this machine and has no place in a Host field (RFC 6874).
        if address is None or address.scope_id is not None:
            msg = f"not an IPv6 address: {inner!r}"
            raise ValueError(msg)
        return str(address), after[1:], True
    name, _, port = authority.partition(":")
    return _host(name), port, False


def _host(name: str) -> str:
    try:
        host = name.lower() if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    # Also after IDNA: its compatibility mapping can make a "/" of another character.
    if not _REG_NAME.fullmatch(host):
        msg = f"not a host name: {name!r}"
        raise ValueError(msg)
    return host
