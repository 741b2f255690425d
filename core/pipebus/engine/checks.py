"""Health checks: what runs them, and whether the program is ready for traffic."""

from typing import Final

import msgspec

from pipebus.bus.bus import Bus
from pipebus.bus.publisher import Publisher
from pipebus.engine.actions import Report
from pipebus.engine.calls import Outbox
from pipebus.engine.handlers import Handlers
from pipebus.engine.invocation import Invocation
from pipebus.errors import text_of
from pipebus.http.drain import Drain
from pipebus.pipeline.declarations import CheckDecl
from pipebus.pipeline.handlers import Handler
from pipebus.telemetry.health import CheckState, HealthCheck

HEALTH_CHECK: Final = "pipebus.health.check"
"""Data: the name of a check that begins to run. The cause of all that it publishes."""
HEALTH_CHANGED: Final = "pipebus.health.changed"
"""Data: `HealthChanged`."""


class HealthChanged(msgspec.Struct, frozen=True):
    """A health check found something else than the time before."""

    name: str
    state: CheckState
    detail: str
    """Why it fails; empty where it passes."""


class Checks:
    """Runs health checks as invocations.

    Inputs: `start`, `completed`, `failed`, `ended`, `stop`. Outputs: `ready`, `all`.
    """

    __slots__ = (
        "_bus", "_drain", "_handlers", "_number", "_outbox", "_prefix", "_publisher", "_running",
        "all", "started",
    )  # fmt: skip

    def __init__(
        self,
        declared: dict[str, CheckDecl],
        handlers: Handlers,
        bus: Bus,
        outbox: Outbox,
        drain: Drain,
        id_prefix: str,
    ) -> None:
        self._handlers = handlers
        self._bus = bus
        self._outbox = outbox
        self._drain = drain
        self._prefix = f"{id_prefix}k"
        self._number = 0
        self._publisher = Publisher("health")
        self._running: dict[Invocation, HealthCheck] = {}
        self.started: bool = False
        """Whether the lifespan was entered."""
        self.all: tuple[HealthCheck, ...] = tuple(
            HealthCheck(
                one.name,
                interval=one.interval,
                timeout=one.timeout,
                on_due=self._run,
                on_late=self._give_up,
                handler=one.handler,
            )
            for one in declared.values()
        )
        handlers.checks = self

    @property
    def leaving(self) -> str:
        """Why no new traffic is welcome, where the end was announced; otherwise empty."""
        if not self._drain.leaving:
            return ""
        return "about to drain" if self._drain.state == "serving" else "draining"

    @property
    def ready(self) -> bool:
        """Whether traffic is welcome: the program is up, is not going to end, and is healthy."""
        return (
            self.started
            and not self._drain.leaving
            and all(check.state == "passing" for check in self.all)
        )

    def start(self, now: float) -> None:
        """Have every check run for the first time."""
        self.started = True
        for check in self.all:
            check.begin(now)
            self._outbox.timers.watch(check)

    def stop(self) -> None:
        """Run no more checks: the program ends."""
        for check in self.all:
            check.stop()
            self._outbox.timers.forget(check)

    def completed(self, invocation: Invocation, result: object, now: float) -> None:
        """Take what a check returned: False is a failure, anything else is not."""
        check = self._running[invocation]
        if result is False:
            self._fail(check, invocation, RuntimeError("it returned False"), "returned False", now)
        elif check.passed():
            self._publish(check, invocation, now)

    def failed(self, invocation: Invocation, error: BaseException, now: float) -> None:
        """Take what a check raised."""
        detail = f"{type(error).__name__}: {text_of(error)}"
        self._fail(self._running[invocation], invocation, error, detail, now)

    def ended(self, invocation: Invocation, now: float) -> None:
        """Note that a check's task or thread is really gone."""
        check = self._running.pop(invocation)
        check.gone(now)
        self._outbox.timers.watch(check)

    def _run(self, check: HealthCheck, now: float) -> None:
        assert isinstance(check.handler, Handler)
        event = self._bus.publish(HEALTH_CHECK, check.name, now, publisher=self._publisher)
        self._number += 1
        invocation = Invocation(
            f"{self._prefix}{self._number}", "check", check.handler, (event,), event
        )
        self._running[invocation] = check
        self._handlers.run(invocation, now)

    def _give_up(self, check: HealthCheck, now: float) -> None:
        invocation = next(run for run, of in self._running.items() if of is check)
        error = TimeoutError(f"it took more than {check.timeout:g} s")
        self._fail(check, invocation, error, f"took more than {check.timeout:g} s", now)
        self._handlers.cancel(invocation)

    def _fail(
        self,
        check: HealthCheck,
        invocation: Invocation,
        error: BaseException,
        detail: str,
        now: float,
    ) -> None:
        """Report a failure where it is news, not every time."""
        if check.failed(detail):
            message = f"check {check.name} fails, so this server is not ready"
            self._outbox.actions.append(Report(message, error))
            self._publish(check, invocation, now)

    def _publish(self, check: HealthCheck, invocation: Invocation, now: float) -> None:
        changed = HealthChanged(check.name, check.state, check.detail)
        self._bus.publish(
            HEALTH_CHANGED, changed, now, publisher=self._publisher, cause=invocation.cause
        )
