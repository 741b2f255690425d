"""`--workers`: a parent that keeps the listening sockets, and the processes that serve them.

The parent runs no event loop and no pipeline. Each worker is this command started anew, so that
it imports what is there now. Sockets stay open here from first to last: connections that wait in
one are reset when its last copy closes, so a worker may die, or be replaced, and none is lost.
"""

import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from typing import Final

from pipebus_anyio.bind import ListeningSocket
from pipebus_anyio.process import STOP_SIGNALS
from pipebus_cli.supervision import Log, Replace, Send, Start, Supervision, Worker
from pipebus_cli.worker import OPTION, REPLACED, Given

logger: logging.Logger = logging.getLogger("pipebus")

_LARGEST_BANNER: Final = 65_536
_CANNOT_START: Final = 71  # EX_OSERR of sysexits.h


class Child:
    """A worker's process, the pipe in which it says that it is ready, and the one that it reads."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[ListeningSocket],
        admin: Sequence[ListeningSocket],
        *,
        number: int,
        replaces: bool,
    ) -> None:
        self.ready_pipe: int | None
        self.ready_pipe, write = os.pipe()
        # Its end is what the worker sees when this process is gone: nobody else has this side.
        read, self._told = os.pipe()
        given = Given(
            number=number,
            replaces=replaces,
            pipes=[write, read],
            sockets=[one.sock.fileno() for one in sockets],
            admin=[one.sock.fileno() for one in admin],
        )
        try:
            # The command is this interpreter with the arguments that the user gave to it. In a
            # session of its own: a terminal's Ctrl-C would reach it beside the SIGTERM from here.
            self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603
                [*command, OPTION, given.write()],
                pass_fds=given.descriptors,
                start_new_session=True,
            )
        except OSError:
            os.close(self.ready_pipe)
            os.close(self._told)
            raise
        finally:
            os.close(write)
            os.close(read)

    def read_banner(self) -> str:
        """Return what it has written when it was ready; empty if it has ended before."""
        assert self.ready_pipe is not None, "read once"
        text = os.read(self.ready_pipe, _LARGEST_BANNER).decode()
        os.close(self.ready_pipe)
        self.ready_pipe = None
        return text

    def replace(self) -> None:
        """Have it end, for another one serves in its place."""
        with suppress(BrokenPipeError):  # it has ended by itself
            os.write(self._told, REPLACED)

    def close(self) -> None:
        """Let go of what it was told by, once it has ended."""
        os.close(self._told)


class Supervisor:
    """Carries out what a `Supervision` decides."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[Sequence[ListeningSocket]],
        *,
        admin: Sequence[Sequence[ListeningSocket]] = (),
        grace: float,
        started: Callable[[str], None],
    ) -> None:
        """Take the command to run, and the sockets of each slot (`admin`: likewise), which `run` closes.

        `started` is called with a banner once every worker has been ready.
        """
        self._command = command
        self._sockets = sockets
        self._admin = admin or [()] * len(sockets)
        self._started = started
        self._supervision = Supervision(len(sockets), grace=grace)
        self._children: dict[Worker, Child] = {}
        self._waited_for = set(range(len(sockets)))
        self._selector = selectors.DefaultSelector()
        self._signals, self._signals_in = socket.socketpair()

    @property
    def error(self) -> str:
        """Why nothing could be started, if no worker has said it."""
        return self._supervision.error

    def run(self) -> int:
        """Supervise until it is over; return the exit status."""
        supervision = self._supervision
        with ExitStack() as stack:
            stack.callback(self._close_sockets)
            stack.enter_context(self._selector)
            self._receive_signals(stack)
            supervision.begin(time.monotonic())
            self._carry_out()
            while supervision.status is None:
                deadline = supervision.next_deadline()
                wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                for key, _ in self._selector.select(wait):
                    if key.data is None:
                        self._take_signals()
                    else:
                        self._read_banner(key.data)
                self._reap()
                supervision.handle_timeout(time.monotonic())
                self._carry_out()
        return supervision.status

    # --- inputs --------------------------------------------------------------------------------

    def _receive_signals(self, stack: ExitStack) -> None:
        """Let signals come as bytes: a Python handler might run between any two lines here."""
        stack.enter_context(self._signals)
        stack.enter_context(self._signals_in)
        self._signals.setblocking(False)
        self._signals_in.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._signals_in.fileno(), warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, -1)
        for number in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD):
            # Signals without a handler in Python write no byte.
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

    def _take_signals(self) -> None:
        now = time.monotonic()
        for number in self._signals.recv(4_096):
            if number in STOP_SIGNALS:
                self._supervision.stop(number, now)
                self._carry_out()
                self._close_sockets()
            elif number == signal.SIGHUP:
                self._supervision.reload(now)

    def _read_banner(self, worker: Worker) -> None:
        child = self._children[worker]
        assert child.ready_pipe is not None, "watched until it is read"
        self._selector.unregister(child.ready_pipe)
        banner = child.read_banner()
        if not banner:
            return
        self._supervision.ready(worker, time.monotonic())
        if self._waited_for:
            self._waited_for.discard(worker.slot)
            if not self._waited_for:
                self._carry_out()  # what is logged comes first
                self._started(banner)

    def _reap(self) -> None:
        for worker, child in list(self._children.items()):
            status = child.process.poll()
            if status is None:
                continue
            if child.ready_pipe is not None:
                self._read_banner(worker)
            self._supervision.ended(worker, status, time.monotonic())
            self._carry_out()  # the line that says so has its number still
            del self._children[worker]
            child.close()

    # --- actions -------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        while (action := self._supervision.next_action()) is not None:
            match action:
                case Start(worker, replaces):
                    self._start(worker, replaces=replaces)
                case Replace(worker):
                    self._children[worker].replace()
                case Send(worker, number):
                    self._children[worker].process.send_signal(number)
                case Log(text, worker, error):
                    about = "" if worker is None else f"worker {self._name(worker)}: "
                    logger.log(logging.ERROR if error else logging.INFO, "%s%s", about, text)

    def _start(self, worker: Worker, *, replaces: bool) -> None:
        slot = worker.slot
        try:
            child = Child(
                self._command,
                self._sockets[slot],
                self._admin[slot],
                number=slot + 1,
                replaces=replaces,
            )
        except OSError as error:  # no more processes or memory, or the interpreter is replaced
            # Whoever reads this needs the reason of the system, not the place in this program.
            logger.error("cannot start worker %d: %s", worker.slot + 1, error)  # noqa: TRY400
            self._supervision.ended(worker, _CANNOT_START, time.monotonic())
            return
        self._children[worker] = child
        assert child.ready_pipe is not None, "just opened"
        self._selector.register(child.ready_pipe, selectors.EVENT_READ, worker)

    def _name(self, worker: Worker) -> str:
        child = self._children.get(worker)
        return f"{worker.slot + 1}" + ("" if child is None else f" (process {child.process.pid})")

    def _close_sockets(self) -> None:
        """Let go of the sockets: what waits in one is its worker's to accept before it closes it."""
        for one in chain(*self._sockets, *self._admin):
            one.close()
