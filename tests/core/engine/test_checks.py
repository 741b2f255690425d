"""Health checks as they run, and what an operator is told."""

from collections.abc import Iterator

import pytest

from pipebus.engine.admin_routes import Operated, admin_pipeline
from pipebus.errors import RegistrationError
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.limits import Limits
from pipebus.pipeline.context import Context, InlineContext, ThreadContext
from pipebus.pipeline.declare import Pipeline
from pipebus.testing import Simulation


def topics(app: Simulation) -> list[str]:
    return [event.type for event in app.events if event.type.startswith("pipebus.health")]


class World:
    """What the checks find, and who asks."""

    def __init__(self) -> None:
        self.broken = ""
        self.slow = 0.0
        self.runs = 0
        self.pipeline: Pipeline[str] = Pipeline()

        @self.pipeline.check("database", interval=10.0, timeout=5.0)
        async def database(ctx: Context[str]) -> None:
            self.runs += 1
            assert ctx.state == "state"
            await ctx.sleep(self.slow)
            if self.broken:
                raise OSError(self.broken)

        @self.pipeline.route("GET /")
        def root(request: Request) -> Response:
            return Response()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def app(world: World) -> Iterator[Simulation]:
    with Simulation(world.pipeline, state="state", limits=Limits(drain_delay=5.0)) as app:
        app.serve(admin_pipeline(Operated(app.engine)), "admin")
        yield app


def ask(app: Simulation, path: str) -> tuple[int, str]:
    answer = app.request("GET", f"http://admin{path}")
    return answer.status, answer.text()


def test_ready_once_every_check_has_passed(world: World, app: Simulation) -> None:
    assert ask(app, "/readyz") == (200, "ok\n")
    assert topics(app) == ["pipebus.health.check", "pipebus.health.changed"]
    app.advance(35.0)
    assert world.runs == 4
    assert topics(app).count("pipebus.health.changed") == 1
    assert ask(app, "/readyz?verbose") == (
        200, "[+]started ok\n[+]serving ok\n[+]check database ok\nok\n",
    )  # fmt: skip


def test_a_check_that_fails_is_told_reported_once_and_heals(world: World, app: Simulation) -> None:
    world.broken = "no route"
    app.advance(25.0)
    assert ask(app, "/readyz") == (503, "check database: OSError: no route\n")
    assert ask(app, "/livez") == (200, "ok\n")
    [report] = app.server.reports
    assert report.message == "check database fails, so this server is not ready"
    assert str(report.error) == "no route"
    assert app.events[-1].type != "pipebus.handler.error"
    world.broken = ""
    app.advance(10.0)
    assert ask(app, "/readyz") == (200, "ok\n")
    assert topics(app).count("pipebus.health.changed") == 3


def test_a_check_that_takes_too_long_is_cancelled(world: World, app: Simulation) -> None:
    world.slow = 60.0
    app.advance(15.1)
    assert ask(app, "/readyz") == (503, "check database: took more than 5 s\n")
    assert app.engine.running == 0
    world.slow = 0.0
    app.advance(10.0)
    assert ask(app, "/readyz") == (200, "ok\n")


def test_unready_from_the_first_signal_on(world: World, app: Simulation) -> None:
    app.engine.leave(app.world.now)
    app.server.pump()
    assert ask(app, "/readyz") == (503, "serving: about to drain\n")
    assert app.request("GET", "/").status == 200
    assert ask(app, "/livez") == (200, "ok\n")
    app.drain()
    assert app.engine.checks.leaving == "draining"
    runs = world.runs
    app.advance(60.0)
    assert world.runs == runs


def test_on_the_main_listener_no_details(world: World) -> None:
    with Simulation(world.pipeline, state="state", health_routes=True) as app:
        world.broken = "password is hunter2"
        app.advance(15.0)
        answer = app.request("GET", "/readyz?verbose")
        assert answer.status == 503
        assert answer.text() == "[+]started ok\n[+]serving ok\n[-]check database fails\nnot ok\n"
        assert app.request("GET", "/livez").headers["cache-control"] == "no-store"


def test_before_the_start_nothing_is_ready(world: World) -> None:
    app = Simulation(world.pipeline, health_routes=True, check=False)
    answer = app.request("GET", "/readyz")
    assert answer.text() == "started: not yet\ncheck database: has not run yet\n"


def test_a_check_may_be_any_function_with_a_context_or_none() -> None:
    pipeline: Pipeline[None] = Pipeline()
    ran: list[str] = []

    @pipeline.check("bare")
    def bare() -> bool:
        ran.append("bare")
        return True

    @pipeline.check("inline")
    def inline(ctx: InlineContext) -> bool:
        ran.append(ctx.mode)
        return False

    @pipeline.check("thread", thread=True)
    def thread(ctx: ThreadContext) -> None:
        ran.append(ctx.mode)

    outer: Pipeline[None] = Pipeline()
    outer.include(pipeline)
    with Simulation(outer) as app:
        assert sorted(ran) == ["bare", "inline", "thread"]
        found = {check.name: (check.state, check.detail) for check in app.engine.checks.all}
    assert found == {
        "bare": ("passing", ""), "inline": ("failing", "returned False"), "thread": ("passing", ""),
    }  # fmt: skip


def test_a_check_that_is_cancelled_from_outside_has_failed(world: World) -> None:
    world.slow = 3.0
    with Simulation(world.pipeline, state="state") as app:
        [invocation] = app.engine.invocations
        app.engine.begin(invocation, app.world.now)
        app.engine.ended(invocation, app.world.now)
        [check] = app.engine.checks.all
        assert check.detail == "RuntimeError: the handler's task was cancelled from outside"
        app.server.discard()


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("a b", {}, "a health check's name is made of a-z, A-Z, 0-9, _ . and -, not 'a b'"),
        ("a", {"interval": 0}, "check 'a': interval must be more than 0 seconds, not 0"),
        ("a", {"timeout": -1}, "check 'a': timeout must be more than 0 seconds, not -1"),
    ],
)
def test_a_declaration_that_cannot_be_kept(name: str, options: dict[str, float], why: str) -> None:
    pipeline: Pipeline[None] = Pipeline()
    with pytest.raises(RegistrationError, match=why):
        pipeline.check(name, **options)(lambda: True)  # type: ignore[call-overload]


def test_two_checks_of_one_name_and_wrong_parameters() -> None:
    pipeline: Pipeline[None] = Pipeline()
    pipeline.check("a")(lambda: True)
    with pytest.raises(RegistrationError, match="are both check 'a'"):
        pipeline.check("a")(lambda: True)

    def two(ctx: InlineContext, more: object) -> bool:
        return True

    with pytest.raises(RegistrationError, match="takes the context and no more, not 2"):
        pipeline.check("b")(two)  # type: ignore[arg-type]

    def wrong(ctx: Context) -> bool:
        return True

    with pytest.raises(RegistrationError, match="is given InlineContext"):
        pipeline.check("c")(wrong)  # type: ignore[arg-type]
