"""The streams driver: two tasks per connection over a `Network`'s transports. The reference."""

import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipebus.engine.engine import Engine
from pipebus.http.client import AbandonConnect, Connect, Resolve
from pipebus.http.message import Address
from pipebus.http.proxy_protocol import ProxyHeader, ProxyProtocolError
from pipebus.http.session import Session
from pipebus_anyio.bind import Bind
from pipebus_anyio.connection import Connection
from pipebus_anyio.introduction import NO_PROXY_HEADER, PrefixedTransport
from pipebus_anyio.network import Listener, Network, Open
from pipebus_anyio.runtime import Runtime, Task
from pipebus_anyio.tls import TlsTransport
from pipebus_anyio.transport import EOF, LOST, Transport

if TYPE_CHECKING:
    from pipebus_anyio.host import Host


logger: logging.Logger = logging.getLogger("pipebus")


class StreamsDriver:
    """A `Driver`. A disconnect is seen only until the read-ahead is full: a stated limit."""

    name = "streams"

    __slots__ = (
        "_accepting", "_attempts", "_client_tls", "_engine", "_host", "_network", "_proxy_protocol",
        "_runtime", "_server_tls", "_told_unproxied",
    )  # fmt: skip

    _host: "Host"

    def __init__(
        self,
        engine: Engine,
        runtime: Runtime,
        network: Network,
        *,
        server_tls: ssl.SSLContext | None,
        client_tls: Callable[[], ssl.SSLContext],
        proxy_protocol: bool = False,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._network = network
        self._server_tls = server_tls
        self._proxy_protocol = proxy_protocol
        self._told_unproxied = False
        self._client_tls = client_tls
        self._accepting: list[tuple[Listener, Task]] = []
        self._attempts: dict[str, Task] = {}

    def start(self, host: "Host") -> None:
        """Say who pumps; before anything else."""
        self._host = host

    # --- accepting ---------------------------------------------------------------------------

    async def listen(self, bind: Bind) -> list[Address]:
        """Begin to accept at every address; return them, as they really are."""
        for listener in await self._network.listen(bind):
            task = self._runtime.spawn(listener.accept_forever, self._accepted)
            self._accepting.append((listener, task))
        return [listener.address for listener, _ in self._accepting]

    def stop_accepting(self) -> None:
        """Take what is established already, then close the listeners."""
        accepting, self._accepting = self._accepting, []
        for listener, task in accepting:
            self._runtime.cancel(task)
            listener.close(self._accepted)

    def close(self) -> None:
        """Do nothing: each connection's task closed what it had."""

    def _accepted(self, open_plain: Open, client: Address) -> None:
        host = self._host
        connection = Connection(host, self._engine, self._runtime)
        tls = self._server_tls
        connection.link = link = self._engine.accepted(
            client=client, tls=tls is not None, token=connection, now=host.now(),
            proxied=self._proxy_protocol,
        )  # fmt: skip
        if self._proxy_protocol:
            open_plain = self._open_introduced(open_plain, link)
        connection.accept(open_plain if tls is None else self._open_tls(open_plain, tls))
        host.pump()

    @staticmethod
    def _open_tls(open_plain: Open, context: ssl.SSLContext) -> Open:
        async def open_tls() -> Transport:
            return await TlsTransport.wrap(await open_plain(), context)

        return open_tls

    def _open_introduced(self, open_plain: Open, link: Session) -> Open:
        async def open_introduced() -> Transport:
            transport = await open_plain()
            try:
                header = ProxyHeader()
                rest: bytes | None = None
                while rest is None:
                    rest = header.receive(await transport.receive())
            except BaseException as error:
                await transport.aclose()
                if isinstance(error, ProxyProtocolError):
                    self._say_unproxied(link.peer, error)
                elif not isinstance(error, EOF):
                    raise
                raise ConnectionAbortedError(str(error)) from error
            client = link.peer if header.address is None else header.address
            self._engine.proxied(link, client, self._host.now())
            self._host.pump()
            return PrefixedTransport(rest, transport) if rest else transport

        return open_introduced

    def _say_unproxied(self, peer: Address, error: Exception) -> None:
        if not self._told_unproxied:
            self._told_unproxied = True
            logger.warning(NO_PROXY_HEADER, peer, error)

    # --- actions -----------------------------------------------------------------------------

    def flush(self, token: object) -> None:
        """Wake the connection's tasks."""
        assert isinstance(token, Connection)
        token.flush()

    def resolve(self, action: Resolve) -> None:
        """Resolve in a task; it is not awaited by anyone, a late answer is dropped by the core."""
        self._runtime.spawn(self._resolve, action)

    async def _resolve(self, action: Resolve) -> None:
        host = self._host
        try:
            addresses = await self._network.resolve(action.host, action.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: what IDNA does not encode
            self._engine.resolve_failed(action.id, error, host.now())
        else:
            self._engine.resolved(action.id, addresses, host.now())
        host.pump()

    def connect(self, action: Connect) -> None:
        """Connect in a task, which becomes the connection's."""
        self._attempts[action.attempt_id] = self._runtime.spawn(self._connect, action)

    def abandon_connect(self, action: AbandonConnect) -> None:
        """Cancel the attempt; one that has just ended needs nothing."""
        task = self._attempts.pop(action.attempt_id, None)
        if task is not None:
            self._runtime.cancel(task)

    async def _connect(self, action: Connect) -> None:
        engine, host = self._engine, self._host
        try:
            context = self._client_tls() if action.tls else None
            transport = await self._network.connect(action.address)
            if context is not None:
                transport = await TlsTransport.wrap(transport, context, server_hostname=action.host)
        except (*LOST, ValueError) as error:  # ValueError: a name that TLS does not take
            self._attempts.pop(action.attempt_id, None)
            engine.connect_failed(action.attempt_id, error, host.now())
            host.pump()
            return
        task = self._attempts.pop(action.attempt_id, None)
        connection = Connection(host, engine, self._runtime)
        link = engine.connected(action.attempt_id, connection, host.now())
        if link is None:
            await transport.aclose()
            return
        connection.link = link
        connection.transport = transport
        host.pump()
        await connection.run(task)
