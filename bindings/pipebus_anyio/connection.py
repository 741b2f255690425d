"""One connection of the streams driver: a task that writes and closes, and one that reads."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio

from pipebus.engine.actions import Link
from pipebus.engine.engine import Engine
from pipebus.http.client_connection import ClientConnection
from pipebus.http.server_events import Close
from pipebus_anyio.runtime import Runtime, Task
from pipebus_anyio.transport import EOF, LOST, SEND_SIZE, Transport

if TYPE_CHECKING:
    from pipebus_anyio.host import Host

CLOSE_TIMEOUT: Final = 2.0
"""How long closing a transport may take, in seconds (a TLS peer that takes no byte)."""


class Connection:
    """The token of a link. Handlers never touch the transport: cancelling one would cut a message.

    The owning task opens the transport, writes, and closes; it is cancelled only where the core
    wants the connection closed while it waits for the peer (handshake, or a send that stalls).
    """

    __slots__ = (
        "_closing", "_engine", "_host", "_lost", "_may_read", "_may_write", "_runtime", "_task",
        "_waits_for_peer", "link", "transport",
    )  # fmt: skip

    link: Link

    def __init__(self, host: "Host", engine: Engine, runtime: Runtime) -> None:
        self._host = host
        self._engine = engine
        self._runtime = runtime
        self._may_read = runtime.new_waiter()
        self._may_write = runtime.new_waiter()
        self._task: Task | None = None
        self._waits_for_peer = False
        self._lost = False
        self._closing = False
        self.transport: Transport | None = None

    def accept(self, open_transport: Callable[[], Awaitable[Transport]]) -> None:
        """Start the task of an accepted connection (TLS handshake first, its link is set)."""
        self._waits_for_peer = True
        self._task = self._runtime.spawn(self._run_accepted, open_transport)

    def flush(self) -> None:
        """Look at the link again: it has bytes, wants to read on, or to be closed."""
        link = self.link
        if self._waits_for_peer:
            if link.wants_close is Close.RESET or (
                self.transport is None and link.wants_close is not Close.NO
            ):
                assert self._task is not None
                self._runtime.cancel(self._task)
        else:
            self._may_write.wake()
        if link.wants_read:
            self._may_read.wake()

    async def _run_accepted(self, open_transport: Callable[[], Awaitable[Transport]]) -> None:
        try:
            self.transport = await open_transport()
        except LOST:
            self._end()
            return
        except BaseException:
            self._end()
            raise
        self._waits_for_peer = False
        await self.run(self._task)

    async def run(self, task: Task | None) -> None:
        """Serve an open transport to its end; `task` is the one that runs this."""
        self._task = task
        transport = self.transport
        assert transport is not None
        try:
            self._runtime.spawn(self._read, transport)
            await self._write(transport)
        except LOST:
            if isinstance(self.link, ClientConnection):
                await self._hear_out(self.link)
        finally:
            if self.link.wants_close is Close.RESET:
                transport.reset_on_close()
            self._end()
            with anyio.CancelScope(deadline=self._host.now() + CLOSE_TIMEOUT, shield=True):
                await transport.aclose()

    def _end(self) -> None:
        """Tell the core, in one step, that this connection is over."""
        self._closing = True
        self._waits_for_peer = False
        self._may_read.wake()
        self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._engine.connection_lost(self.link, self._host.now())
            self._host.pump()

    async def _write(self, transport: Transport) -> None:
        """Send what the link has until it wants to be closed or the connection is lost."""
        link = self.link
        eof_sent = False
        while not self._lost and link.wants_close is not Close.RESET:
            data = link.data_to_send()
            if data:
                await self._send(transport, data)
                continue
            close = link.wants_close
            if close is Close.AFTER_FLUSH:
                return
            if close is Close.LINGER and not eof_sent:
                eof_sent = True
                # On TLS it has to send, and no clock of the core's runs for that.
                with anyio.CancelScope(deadline=self._host.now() + CLOSE_TIMEOUT):
                    await transport.send_eof()
            await self._may_write.wait()

    async def _hear_out(self, link: ClientConnection) -> None:
        """Let the reader come to its end after a failed send.

        The server may have answered before it closed: such an answer is often why the request
        could not be sent (RFC 9112 section 9.5).
        """
        while not self._lost and link.wants_close is Close.NO:
            await self._may_write.wait()

    async def _send(self, transport: Transport, data: bytes) -> None:
        """Send one piece, telling the core of progress on the way."""
        engine, host, link = self._engine, self._host, self.link
        size = len(data)
        if size <= SEND_SIZE:
            self._waits_for_peer = True
            await transport.send(data)
            self._waits_for_peer = False
            engine.data_sent(link, size, host.now())
            host.pump()
            return
        view = memoryview(data)
        for start in range(0, size, SEND_SIZE):
            part = view[start : start + SEND_SIZE]
            self._waits_for_peer = True
            await transport.send(part)
            self._waits_for_peer = False
            engine.data_sent(link, len(part), host.now())
            host.pump()
            if self._lost or link.wants_close is Close.RESET:
                return

    async def _read(self, transport: Transport) -> None:
        """Feed the link while it wants to be read, until the end of the file or the connection."""
        engine, host, link = self._engine, self._host, self.link
        receive = transport.receive
        while not self._closing:
            if not link.wants_read:
                await self._may_read.wait()
                continue
            try:
                data = await receive()
            except EOF:
                if not self._closing:
                    engine.receive_eof(link, host.now())
                    host.pump()
                return
            except LOST:
                self._lose()
                self._may_write.wake()
                return
            engine.receive_data(link, data, host.now())
            host.pump()
