"""The selector driver: one epoll for all sockets, swept synchronously, on either runtime."""

import logging
import select
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from pipebus.engine.engine import Engine
from pipebus.http.client import AbandonConnect, Connect, Resolve
from pipebus.http.message import Address
from pipebus.http.session import Session
from pipebus.limits import INFINITY
from pipebus_anyio.accepting import AcceptingSocket
from pipebus_anyio.attempt import Attempt
from pipebus_anyio.bind import Bind, open_listeners
from pipebus_anyio.introduction import NO_PROXY_HEADER, Introduction
from pipebus_anyio.network import resolve
from pipebus_anyio.runtime import Runtime
from pipebus_anyio.socket_connection import SocketConnection
from pipebus_anyio.tls_connection import TlsConnection
from pipebus_anyio.tls_layer import TlsLayer
from pipebus_anyio.transport import peer_address, send_at_once

if TYPE_CHECKING:
    from pipebus_anyio.host import Host

logger: logging.Logger = logging.getLogger("pipebus")

SOCKETS_PER_SWEEP: Final = 256
"""Sockets served before other tasks get their turn."""
AVAILABLE: Final = hasattr(select, "epoll")
"""Whether this system has what the driver needs."""


class Watched(Protocol):
    """Something with a file descriptor in the epoll."""

    fd: int
    sock: socket.socket

    def ready(self, events: int) -> None:
        """Act on what epoll says."""
        ...

    def fail(self, error: Exception) -> None:
        """Give up after a fault of ours."""
        ...


class Closeable(Protocol):
    """What has a file descriptor."""

    def close(self) -> None:
        """Close it."""
        ...


class SelectorDriver:
    """A `Driver` without a task per connection.

    The runtime watches the epoll's own file descriptor; when it is readable, every ready socket is
    served in one synchronous sweep. A handler that ends in its own task sends at once.
    """

    name = "selector"

    __slots__ = (
        "_backlog", "_client_tls", "_epoll", "_listeners", "_polled", "_proxy_protocol", "_runtime",
        "_server_tls", "_stale", "_stop_watching", "_sweeping", "_told_unproxied", "_unix_mode", "_watched", "attempts",
        "engine", "host", "spawn",
    )  # fmt: skip

    host: "Host"

    def __init__(
        self,
        engine: Engine,
        runtime: Runtime,
        *,
        server_tls: ssl.SSLContext | None,
        client_tls: Callable[[], ssl.SSLContext],
        unix_mode: int | None = None,
        proxy_protocol: bool = False,
    ) -> None:
        self.engine: Engine = engine
        self.spawn: Callable[..., object] = runtime.spawn
        self._runtime = runtime
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._unix_mode = unix_mode
        self._proxy_protocol = proxy_protocol
        self._told_unproxied = False
        self._polled = engine.gate.polled if engine.gate and engine.gate.watches_lag else None
        self._listeners: list[AcceptingSocket] = []
        self.attempts: dict[str, Attempt] = {}
        """Those under way; each takes itself out when it ends."""
        self._watched: dict[int, Watched] = {}
        self._stale: list[Closeable] = []
        self._sweeping = False
        self._backlog = False
        self._epoll = select.epoll()

    def start(self, host: "Host") -> None:
        """Say who pumps; before anything else."""
        self.host = host
        self._stop_watching = self._runtime.watch(self._epoll.fileno(), self._sweep)

    def close(self) -> None:
        """Close every socket that is left; after the runtime's exit."""
        self._stop_watching()
        for watched in self._watched.values():
            watched.sock.close()
        self._watched.clear()
        self._epoll.close()

    # --- the sweep -----------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Serve what is ready."""
        find = self._watched.get
        ready = self._epoll.poll(0, SOCKETS_PER_SWEEP)
        if self._polled is not None and not self._backlog:
            self._polled(self.host.now())
        # After a full sweep others are ready, who wait since that one: the lag goes on from there.
        self._backlog = len(ready) == SOCKETS_PER_SWEEP
        self._sweeping = True
        try:
            for fd, events in ready:
                watched = find(fd)
                if watched is not None:
                    try:
                        watched.ready(events)
                    except Exception as error:  # noqa: BLE001 (it ends one connection and is logged)
                        self._failed(watched, error)
        finally:
            self._sweeping = False
            if self._polled is not None and not self._backlog:
                self._polled(INFINITY)
            if self._stale:
                self._close_stale()

    def _failed(self, watched: Watched, error: Exception) -> None:
        """Let a fault of ours end what it happened to, and nothing else."""
        logger.error("unexpected exception in %r", watched, exc_info=error)
        try:
            watched.fail(error)
        except Exception:
            logger.exception("unexpected exception in the end of %r", watched)

    def watch(self, watched: Watched, interest: int) -> None:
        """Ask for a socket's events, or for others than before."""
        fd = watched.fd
        if fd in self._watched:
            self._epoll.modify(fd, interest)
        else:
            self._epoll.register(fd, interest)
        self._watched[fd] = watched

    def unwatch(self, watched: Watched) -> None:
        """Ask for no more events of a socket, not even its peer's end."""
        if self._watched.pop(watched.fd, None) is not None:
            self._epoll.unregister(watched.fd)

    def close_socket(self, watched: Watched, closing: Closeable | None = None) -> None:
        """Close a socket, or what it belongs to.

        At the end of a sweep, for until then its number stands for it: another socket that got it
        would be given its events.
        """
        self.unwatch(watched)
        self._stale.append(closing or watched.sock)
        if not self._sweeping:
            self._close_stale()

    def _close_stale(self) -> None:
        stale, self._stale = self._stale, []
        for closing in stale:
            closing.close()

    # --- accepting -----------------------------------------------------------------------------

    async def listen(self, bind: Bind) -> list[Address]:
        """Begin to accept at every address; return them, as they really are."""
        for listening in await open_listeners(bind, unix_mode=self._unix_mode):
            listener = AcceptingSocket(self, listening)
            self._listeners.append(listener)
            listener.begin()
        return [listener.address for listener in self._listeners]

    def stop_accepting(self) -> None:
        """Take what is established already, then close the listeners."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()

    def accepted(self, sock: socket.socket, peer: object) -> None:
        """Take a connection."""
        context = self._server_tls
        try:
            send_at_once(sock)
            layer = None if context is None else TlsLayer(context)
        except ssl.SSLError as error:  # a client's context, for one
            logger.error("cannot serve TLS: %s", error)  # noqa: TRY400 (the text says it all)
            sock.close()
            return
        except OSError:  # reset already
            sock.close()
            return
        connection: SocketConnection | Introduction
        if self._proxy_protocol:
            connection = Introduction(self, sock, partial(self._introduced, layer))
        else:
            connection = self._new_connection(sock, layer)
        try:
            link = self.engine.accepted(
                client=peer_address(peer), tls=context is not None, token=connection,
                now=self.host.now(), proxied=self._proxy_protocol,
            )  # fmt: skip
            connection.link = link
            if isinstance(connection, Introduction):
                connection.begin()
            else:
                self._open(connection)
        except Exception as error:  # noqa: BLE001 (it ends this one; others wait behind it)
            self._failed(connection, error)
        self.host.pump()

    def _new_connection(self, sock: socket.socket, layer: TlsLayer | None) -> SocketConnection:
        return SocketConnection(self, sock) if layer is None else TlsConnection(self, sock, layer)

    def _open(self, connection: SocketConnection) -> None:
        """Begin to serve an accepted connection whose link is set."""
        if isinstance(connection, TlsConnection):
            connection.handshake(partial(self._secured, connection))
        else:
            connection.open(connection.link)

    def _introduced(
        self, layer: TlsLayer | None, sock: socket.socket, link: Session, rest: bytes
    ) -> None:
        """Go on with a connection whose PROXY protocol header was read, and `rest` after it."""
        connection = self._new_connection(sock, layer)
        connection.link = link
        link.token = connection
        if rest and layer is not None:
            layer.feed(rest)
        self._open(connection)
        if rest and layer is None:
            self.engine.receive_data(link, rest, self.host.now())
        self.host.pump()

    def unproxied(self, peer: Address, error: Exception) -> None:
        """Say, once, that somebody connects who does not speak the PROXY protocol."""
        if not self._told_unproxied:
            self._told_unproxied = True
            logger.warning(NO_PROXY_HEADER, peer, error)

    @staticmethod
    def _secured(connection: SocketConnection, error: BaseException | None) -> None:
        if error is None:
            connection.open(connection.link)
        else:
            connection.end()

    # --- actions -------------------------------------------------------------------------------

    def flush(self, token: object) -> None:
        """Send what a link has, at once."""
        assert isinstance(token, SocketConnection | Introduction)
        try:
            token.flush()
        except Exception as error:  # noqa: BLE001 (as in a sweep; here it is another who pumps)
            self._failed(token, error)

    def resolve(self, action: Resolve) -> None:
        """Resolve in a task; it is not awaited by anyone, a late answer is dropped by the core."""
        self.spawn(self._resolve, action)

    async def _resolve(self, action: Resolve) -> None:
        try:
            addresses = await resolve(action.host, action.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: what IDNA does not encode
            self.engine.resolve_failed(action.id, error, self.host.now())
        else:
            self.engine.resolved(action.id, addresses, self.host.now())
        self.host.pump()

    def connect(self, action: Connect) -> None:
        """Start one connection attempt."""
        attempt = Attempt(self, action, self._client_tls)
        self.attempts[action.attempt_id] = attempt
        attempt.begin()

    def abandon_connect(self, action: AbandonConnect) -> None:
        """Give up an attempt; one that has just ended needs nothing."""
        attempt = self.attempts.pop(action.attempt_id, None)
        if attempt is not None:
            attempt.abandon()
