"""Where to listen: the grammar of `bind`, and listening sockets."""

import os
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL
from pathlib import Path
from typing import Any, Final

import anyio

from pipebus.http.message import Address
from pipebus_anyio.transport import peer_address

BindTo = str | tuple[str, int]
Bind = BindTo | Sequence[BindTo]
BACKLOG: Final = 2_048

_V6ONLY: Final = getattr(socket, "IPV6_V6ONLY", None)
_MISSING: Final = (EADDRNOTAVAIL, EAFNOSUPPORT)
"""This machine has no such address, or none of its kind."""
_MOST_FD: Final = 2**31 - 1
_SPREADS: Final = sys.platform == "linux"
"""Whether SO_REUSEPORT spreads connections over sockets; elsewhere one of them may get all."""
_PASSIVE: Final[dict[str, Any]] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
_Found = list[tuple[Any, ...]]
"""What `getaddrinfo` returns."""


@dataclass(frozen=True, slots=True)
class TcpBind:
    """A host (a name, an address, or empty for every interface) and a port (0: any free one)."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixBind:
    """The path of a UNIX socket."""

    path: str


@dataclass(frozen=True, slots=True)
class InheritedBind:
    """The number of an open file that this process was started with: a bound stream socket."""

    fd: int


AnyBind = TcpBind | UnixBind | InheritedBind


def parse_bind(bind: Bind) -> list[AnyBind]:
    """Parse one or several of `"host:port"`, `"[v6]:port"`, `(host, port)`, `"unix:/path"`, `"fd:3"`.

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


def _parse_text(text: str) -> AnyBind:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            msg = f"no path in {text!r}"
            raise ValueError(msg)
        return UnixBind(path)
    if text.startswith("fd:"):
        number = text.removeprefix("fd:")
        if not (number.isascii() and number.isdigit()) or int(number) > _MOST_FD:
            msg = f"no number of an open file in {text!r}"
            raise ValueError(msg)
        return InheritedBind(int(number))
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        msg = f"an IPv6 address needs brackets: [{host}]:{port}, not {text!r}"
        raise ValueError(msg)
    if not colon or not (port.isascii() and port.isdigit()):
        msg = f"expected host:port, unix:/path or fd:number, not {text!r}"
        raise ValueError(msg)
    return _parse_pair(host, int(port))


def _parse_pair(host: object, port: int) -> TcpBind:
    if not isinstance(host, str) or isinstance(port, bool) or not 0 <= port <= 65_535:
        msg = f"not a host and a port of 0 to 65535: {(host, port)!r}"
        raise ValueError(msg)
    return TcpBind(host, port)


class ListeningSocket:
    """A bound, listening, non-blocking socket.

    `close` also removes a UNIX socket's own file, unless it is `inherited`: whoever bound it may
    hold it still.
    """

    __slots__ = ("_inode", "address", "sock")

    def __init__(self, sock: socket.socket, *, inherited: bool = False) -> None:
        self.sock: socket.socket = sock
        self.address: Address = peer_address(sock.getsockname())
        self._inode: int | None = None
        if isinstance(self.address, str) and not inherited:
            self._inode = Path(self.address).stat().st_ino

    def close(self) -> None:
        """Stop listening here.

        Connections that nobody accepted are reset by the system once no process has it open.
        """
        self.sock.close()
        if self._inode is not None and isinstance(self.address, str):
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
    with ExitStack() as undo:
        for one in parse_bind(bind):
            found: _Found = []
            if isinstance(one, TcpBind):
                found = await anyio.getaddrinfo(one.host or None, one.port, **_PASSIVE)
            for (listener,) in _open(undo, one, found, 1, unix_mode):
                opened.append(listener)
        undo.pop_all()
    return opened


def open_listeners_for(workers: int, bind: Bind) -> list[list[ListeningSocket]]:
    """Bind and listen as `open_listeners` does; return the sockets of each worker process.

    On Linux each has a socket of its own at every TCP address, over which the system spreads
    connections (SO_REUSEPORT). Elsewhere, and where a socket is inherited or of the UNIX kind, all
    share one. Blocks while a name is looked up.
    """
    of_each: list[list[ListeningSocket]] = [[] for _ in range(workers)]
    with ExitStack() as undo:
        for one in parse_bind(bind):
            found: _Found = []
            if isinstance(one, TcpBind):
                found = list(socket.getaddrinfo(one.host or None, one.port, **_PASSIVE))
            for listeners in _open(undo, one, found, workers, None):
                for mine, listener in zip(of_each, listeners, strict=True):
                    mine.append(listener)
        undo.pop_all()
    return of_each


def _open(
    undo: ExitStack, bind: AnyBind, found: _Found, copies: int, unix_mode: int | None
) -> list[list[ListeningSocket]]:
    """Listen at each address of `bind`; `undo` closes what this opens."""
    if isinstance(bind, TcpBind):
        return _listen_tcp(undo, bind, found, copies)
    one = _listen_unix(bind, unix_mode) if isinstance(bind, UnixBind) else _take_over(bind)
    undo.callback(one.close)
    return [[one] * copies]


def _listen_tcp(
    undo: ExitStack, bind: TcpBind, found: _Found, copies: int
) -> list[list[ListeningSocket]]:
    opened: list[list[ListeningSocket]] = []
    missing: OSError | None = None
    port = bind.port
    for family, _, _, _, where in dict.fromkeys(found):
        try:
            listeners = _listening(undo, family, (where[0], port, *where[2:]), copies)
        except OSError as error:
            explained = _explained(error, f"{where[0]} port {port}")
            # Names have IPv6 addresses also where there is no IPv6, as in many containers.
            if error.errno not in _MISSING:
                raise explained from error
            missing = missing or explained
            continue
        opened.append(listeners)
        port = port or listeners[0].sock.getsockname()[1]
    if missing is not None and not opened:
        raise missing
    return opened


def _listening(
    undo: ExitStack, family: int, address: tuple[str | int, ...], copies: int
) -> list[ListeningSocket]:
    """Listen at one address by `copies` sockets, or by one that takes all places."""
    first = _bound(family, address)
    undo.callback(first.close)
    if copies == 1 or not _SPREADS:
        first.listen(BACKLOG)
        return [ListeningSocket(first)] * copies
    # A socket that shares its port binds also beside those of another program that do. One that
    # does not share is refused there, and it does not mind the others, since it never listens.
    listeners = []
    for _ in range(copies):
        sock = _bound(family, first.getsockname(), share=True)
        undo.callback(sock.close)
        sock.listen(BACKLOG)
        listeners.append(ListeningSocket(sock))
    first.close()
    return listeners


def _bound(family: int, address: tuple[str | int, ...], *, share: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":  # elsewhere it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and _V6ONLY is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, _V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _take_over(bind: InheritedBind) -> ListeningSocket:
    """Listen on a socket that was bound by whoever started this process.

    From now on it is this process's to close, and none of its children's. If it cannot be listened
    on, it stays as it was.
    """
    try:
        sock = socket.socket(fileno=bind.fd)
        try:
            _listen_where_bound(sock)
        except OSError:
            sock.detach()
            raise
    except OSError as error:
        raise _explained(error, f"fd:{bind.fd}") from error
    sock.setblocking(False)
    sock.set_inheritable(False)
    return ListeningSocket(sock, inherited=True)


def _listen_where_bound(sock: socket.socket) -> None:
    address = sock.getsockname()
    if isinstance(address, tuple) and not address[1]:
        # `listen` would take any port of every interface.
        raise OSError(EINVAL, "not bound to an address")
    sock.listen(BACKLOG)


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
