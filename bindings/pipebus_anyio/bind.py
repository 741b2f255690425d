"""Where to listen: the grammar of `bind`, and listening sockets."""

import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT
from pathlib import Path
from typing import Final

import anyio

from pipebus.http.message import Address
from pipebus_anyio.transport import peer_address

BindTo = str | tuple[str, int]
Bind = BindTo | Sequence[BindTo]
BACKLOG: Final = 2_048

_V6ONLY: Final = getattr(socket, "IPV6_V6ONLY", None)
_MISSING: Final = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""This machine has no such address, or none of its kind."""


@dataclass(frozen=True, slots=True)
class TcpBind:
    """A host (a name, an address, or empty for every interface) and a port (0: any free one)."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixBind:
    """The path of a UNIX socket."""

    path: str


def parse_bind(bind: Bind) -> list[TcpBind | UnixBind]:
    """Parse one or several of `"host:port"`, `"[v6]:port"`, `(host, port)`, `"unix:/path"`.

    An empty list is nowhere: a bus without a server. Raises `ValueError` naming what cannot be understood.
    """
    if isinstance(bind, str):
        return [_parse_text(bind)]
    if isinstance(bind, tuple) and len(bind) == 2 and isinstance(bind[1], int):
        return [_parse_pair(bind[0], bind[1])]
    several = [one for part in bind if isinstance(part, str | tuple) for one in parse_bind(part)]
    if len(several) != len(bind):
        msg = f"not a list of addresses to bind to: {bind!r}"
        raise ValueError(msg)
    return several


def _parse_text(text: str) -> TcpBind | UnixBind:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            msg = f"no path in {text!r}"
            raise ValueError(msg)
        return UnixBind(path)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        msg = f"an IPv6 address needs brackets: [{host}]:{port}, not {text!r}"
        raise ValueError(msg)
    if not colon or not (port.isascii() and port.isdigit()):
        msg = f"expected host:port or unix:/path, not {text!r}"
        raise ValueError(msg)
    return _parse_pair(host, int(port))


def _parse_pair(host: object, port: int) -> TcpBind:
    if not isinstance(host, str) or isinstance(port, bool) or not 0 <= port <= 65_535:
        msg = f"not a host and a port of 0 to 65535: {(host, port)!r}"
        raise ValueError(msg)
    return TcpBind(host, port)


class ListeningSocket:
    """A bound, listening, non-blocking socket. `close` also removes a UNIX socket's own file."""

    __slots__ = ("_inode", "address", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = sock
        self.address: Address = peer_address(sock.getsockname())
        self._inode = Path(self.address).stat().st_ino if isinstance(self.address, str) else None

    def close(self) -> None:
        """Stop listening; connections that nobody accepted are reset by the system."""
        self.sock.close()
        if isinstance(self.address, str):
            path = Path(self.address)
            try:
                if path.stat().st_ino == self._inode:  # not one that a successor put there
                    path.unlink()
            except FileNotFoundError:
                pass


async def open_listeners(bind: Bind, *, unix_mode: int | None = None) -> list[ListeningSocket]:
    """Bind and listen, everywhere or (with an `OSError` that says where) nowhere.

    A name is bound at each of its addresses that this machine has, with one port. `unix_mode` sets the permissions of
    UNIX sockets before they listen (default: by the umask).
    """
    opened: list[ListeningSocket] = []
    try:
        for one in parse_bind(bind):
            if isinstance(one, UnixBind):
                opened.append(_listen_unix(one, unix_mode))
            else:
                opened.extend(await _listen_tcp(one))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


async def _listen_tcp(bind: TcpBind) -> list[ListeningSocket]:
    found = await anyio.getaddrinfo(
        bind.host or None, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    opened: list[ListeningSocket] = []
    missing: OSError | None = None
    port = bind.port
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            try:
                sock = _listening(family, (where[0], port, *where[2:]))
            except OSError as error:
                explained = _explained(error, f"{where[0]} port {port}")
                # Names have IPv6 addresses also where there is no IPv6, as in many containers.
                if error.errno not in _MISSING:
                    raise explained from error
                missing = missing or explained
                continue
            opened.append(ListeningSocket(sock))
            port = port or sock.getsockname()[1]
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    if missing is not None and not opened:
        raise missing
    return opened


def _listening(family: int, address: tuple[str | int, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":  # elsewhere it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and _V6ONLY is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, _V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(bind: UnixBind, mode: int | None) -> ListeningSocket:
    _remove_stale(bind.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(bind.path)
        if mode is not None:
            Path(bind.path).chmod(mode)
        sock.listen(BACKLOG)
        return ListeningSocket(sock)
    except OSError as error:
        sock.close()
        raise _explained(error, bind.path) from error


def _remove_stale(path: str) -> None:
    """Remove a socket that a dead program left; one that answers, or another file, stays."""
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a full backlog answers EAGAIN: somebody is there
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink(missing_ok=True)
                return
            except BlockingIOError:
                pass
    raise OSError(EADDRINUSE, "in use" if is_socket else "exists and is no socket", path)


def _explained(error: OSError, where: str) -> OSError:
    reason = error.strerror or str(error)  # Python's own, of a path that is too long, has no number
    return OSError(error.errno, f"cannot listen on {where}: {reason}")
