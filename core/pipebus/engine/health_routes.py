"""`/livez` and `/readyz`: is it alive, and is it ready for traffic."""

from collections.abc import Callable
from typing import Any

from pipebus.engine.checks import Checks
from pipebus.http.headers import HeadersInput
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.pipeline.declare import Pipeline

_NOT_STORED: HeadersInput = (("cache-control", "no-store"),)


def health_pipeline(checks: Callable[[], Checks | None], *, details: bool) -> Pipeline[Any]:
    """Return routes for `/livez` and `/readyz`; `checks` returns None while there is no engine.

    Both answer `ok` or, with 503, why not; with `?verbose` a line for each thing that was looked
    at. `details`: whether that tells what a failing check raised, which is not for everybody.
    """
    pipeline: Pipeline[Any] = Pipeline("health")

    @pipeline.route("GET /livez")
    def livez(request: Request) -> Response:
        """Answer: that it can is all there is to say."""
        return _answer(request, [("loop", "")])

    @pipeline.route("GET /readyz")
    def readyz(request: Request) -> Response:
        return _answer(request, readiness(checks(), details=details))

    return pipeline


def readiness(checks: Checks | None, *, details: bool = True) -> list[tuple[str, str]]:
    """Return what readiness is made of, each with what speaks against it; empty for nothing."""
    if checks is None:
        return [("started", "not yet")]
    return [
        ("started", "" if checks.started else "not yet"),
        ("serving", checks.leaving),
        *(
            (f"check {check.name}", (check.detail if details else "") or _FINDING[check.state])
            for check in checks.all
        ),
    ]


_FINDING: dict[str, str] = {"unknown": "has not run yet", "passing": "", "failing": "fails"}


def _answer(request: Request, findings: list[tuple[str, str]]) -> Response:
    good = not any(against for _, against in findings)
    if "verbose" in request.query:
        lines = [
            f"[{'-' if against else '+'}]{what} {against or 'ok'}" for what, against in findings
        ]
        lines.append("ok" if good else "not ok")
    elif good:
        lines = ["ok"]
    else:
        lines = [f"{what}: {against}" for what, against in findings if against]
    text = "\n".join(lines) + "\n"
    return Response.text(text, status=200 if good else 503, headers=_NOT_STORED)
