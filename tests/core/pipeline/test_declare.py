"""What a pipeline collects, and what it refuses."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipebus.bus.event import Event
from pipebus.errors import ClientError, ConnectError, RegistrationError
from pipebus.http.message import Request, RequestInfo, StreamRequest
from pipebus.http.response import Response
from pipebus.pipeline.context import InlineContext, ThreadContext
from pipebus.pipeline.declare import (
    INHERIT,
    Pipeline,
    ResponderDecl,
    RouteDecl,
    SubscriberDecl,
)


def answer(request: Request) -> Response:
    return Response()


async def stream(request: StreamRequest) -> Response:
    return Response()


def reply(event: Event) -> object:
    return None


def see(event: Event) -> None:
    pass


def see_in_thread(event: Event, ctx: ThreadContext) -> None:
    pass


def test_empty() -> None:
    pipeline = Pipeline()
    assert pipeline.name == "pipeline"
    assert pipeline.lifespan is None
    assert (pipeline.routes, pipeline.responders, pipeline.subscribers) == ([], [], [])
    assert pipeline.error_handlers == {}


def test_lifespan_is_kept_and_not_called() -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[int]:
        yield 1

    assert Pipeline("x", lifespan=lifespan).lifespan is lifespan


def test_decorators_return_the_function_itself() -> None:
    pipeline = Pipeline()
    assert pipeline.route("/a")(answer) is answer
    assert pipeline.route("/b", stream=True)(stream) is stream
    assert pipeline.route("/c", thread=True)(answer) is answer
    assert pipeline.respond("a")(reply) is reply
    assert pipeline.subscribe("a")(see) is see
    assert pipeline.tap("a")(see) is see
    assert pipeline.on_error(ValueError)(on_any) is on_any


def on_any(error: Exception, request: RequestInfo) -> Response:
    return Response()


def test_route_defaults() -> None:
    pipeline = Pipeline()
    pipeline.route("GET /a")(answer)
    (route,) = pipeline.routes
    assert route == RouteDecl("GET /a", route.handler)
    assert (route.stream, route.concurrency, route.queue, route.timeout) == (
        False,
        None,
        None,
        None,
    )
    assert route.max_body is INHERIT
    assert route.handler.fn is answer


def test_route_in_full() -> None:
    pipeline = Pipeline()
    pipeline.route("POST /a", stream=True, concurrency=2, queue=0, timeout=1.5, max_body=None)(
        stream
    )
    (route,) = pipeline.routes
    assert route == RouteDecl("POST /a", route.handler, True, 2, 0, 1.5, None)
    assert route.handler.mode == "task"


def test_responders() -> None:
    pipeline = Pipeline()
    pipeline.respond("orders.price", concurrency=1, queue=5, timeout=2)(reply)
    pipeline.respond("orders.price", thread=True, queue=5)(reply)
    first, second = pipeline.responders
    assert first == ResponderDecl("orders.price", first.handler, 1, 5, 2)
    assert second.handler.mode == "thread"


def test_subscribers_and_taps() -> None:
    pipeline = Pipeline()
    pipeline.subscribe("a.*", where={"source": "x"}, queue=3, overflow="drop_newest")(see)
    pipeline.tap("net.>", where={"metadata.k": "v"}, queue=4)(see)
    pipeline.subscribe("b")(see)
    pipeline.tap("b", thread=True)(see_in_thread)
    lossy, tap, lossless, threaded = pipeline.subscribers
    assert lossy == SubscriberDecl(
        "a.*", lossy.handler, "subscriber", {"source": "x"}, 3, "drop_newest"
    )
    assert tap == SubscriberDecl("net.>", tap.handler, "tap", {"metadata.k": "v"}, 4, "drop_oldest")
    assert (lossless.overflow, lossless.queue, lossless.where) == ("block", None, None)
    assert (threaded.kind, threaded.overflow) == ("tap", "drop_oldest")
    assert (threaded.handler.mode, threaded.handler.takes_context) == ("thread", True)


def test_declarations_are_frozen() -> None:
    pipeline = Pipeline()
    pipeline.route("/a")(answer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pipeline.routes[0].pattern = "/b"  # type: ignore[misc] # that it is refused is the point


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"concurrency": 0}, "concurrency must be an int of 1 or more"),
        ({"concurrency": True}, "concurrency must be an int of 1 or more"),
        ({"concurrency": 1.0}, "concurrency must be an int of 1 or more"),
        ({"queue": -1}, "queue must be an int of 0 or more"),
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"timeout": -1.0}, "timeout must be more than 0 seconds"),
        ({"timeout": float("nan")}, "timeout must be more than 0 seconds"),
        ({"max_body": -1}, "max_body must be an int of 0 or more"),
        ({"stream": True}, "stream=True needs an async def"),
        ({"stream": True, "thread": True}, "stream=True needs an async def"),
    ],
)
def test_route_that_cannot_be(options: dict[str, Any], why: str) -> None:
    pipeline = Pipeline()
    with pytest.raises(RegistrationError, match="route '/a'") as caught:
        pipeline.route("/a", **options)(answer)
    assert why in str(caught.value)
    assert pipeline.routes == []
    pipeline.route("/a")(answer)  # the refused one left nothing behind


def test_responder_that_cannot_be() -> None:
    pipeline = Pipeline()
    with pytest.raises(RegistrationError, match="concurrency must be"):
        pipeline.respond("a", concurrency=0)(reply)
    with pytest.raises(RegistrationError, match=r"a\.\."):
        pipeline.respond("a..b")(reply)
    assert pipeline.responders == []


def test_responders_of_a_topic_agree_on_its_queue() -> None:
    pipeline = Pipeline()
    pipeline.respond("a", queue=5)(reply)
    pipeline.respond("b", queue=6)(reply)
    with pytest.raises(RegistrationError, match="do not agree"):
        pipeline.respond("a")(reply)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"queue": 0}, "queue must be an int of 1 or more"),
        ({"overflow": "explode"}, "overflow must be one of"),
        ({"where": {"colour": "red"}}, "cannot filter on 'colour'"),
    ],
)
def test_subscriber_that_cannot_be(options: dict[str, Any], why: str) -> None:
    pipeline = Pipeline()
    with pytest.raises(RegistrationError) as caught:
        pipeline.subscribe("a", **options)(see)
    assert why in str(caught.value)
    with pytest.raises(RegistrationError, match="bad pattern"):
        pipeline.tap("a.>.b")(see)
    assert pipeline.subscribers == []


def test_conflicting_routes_surface_at_registration() -> None:
    pipeline = Pipeline()
    pipeline.route("GET /{x}")(answer)
    with pytest.raises(RegistrationError, match="conflict"):
        pipeline.route("/a")(answer)
    assert len(pipeline.routes) == 1


def test_bad_route_pattern() -> None:
    with pytest.raises(RegistrationError, match="host patterns"):
        Pipeline().route("example.com/")(answer)


def test_context_of_another_mode_is_refused() -> None:
    def threaded(event: Event, ctx: InlineContext) -> None:
        pass

    with pytest.raises(RegistrationError, match="is annotated InlineContext"):
        Pipeline().tap("a", thread=True)(threaded)  # type: ignore[arg-type] # the point


# --- error handlers


def test_most_specific_error_handler_wins() -> None:
    pipeline = Pipeline()

    @pipeline.on_error(ClientError)
    def of_client(error: ClientError, request: RequestInfo) -> Response:
        return Response(502)

    @pipeline.on_error(Exception)
    async def of_all(error: Exception, request: RequestInfo) -> Response:
        return Response(500)

    def handler(kind: type[BaseException]) -> object:
        found = pipeline.error_handler(kind)
        return None if found is None else found.fn

    assert handler(ConnectError) is of_client
    assert handler(ClientError) is of_client
    assert handler(ValueError) is of_all
    assert handler(KeyboardInterrupt) is None
    found = pipeline.error_handler(ValueError)
    assert found is not None
    assert (found.mode, found.takes_context) == ("task", False)


@pytest.mark.parametrize("kind", [BaseException, KeyboardInterrupt, int, ValueError("x"), "x"])
def test_on_error_takes_a_class_of_exceptions(kind: Any) -> None:
    with pytest.raises(RegistrationError, match="class of exceptions"):
        Pipeline().on_error(kind)


def test_one_handler_for_each_class() -> None:
    pipeline = Pipeline()
    pipeline.on_error(ValueError)(on_any)
    with pytest.raises(RegistrationError, match="both handle ValueError"):
        pipeline.on_error(ValueError)(on_any)


# --- sub-pipelines


def sub(*patterns: str) -> Pipeline:
    pipeline = Pipeline("sub")
    for pattern in patterns:
        pipeline.route(pattern, timeout=5)(answer)
    return pipeline


def test_include_takes_over_everything() -> None:
    other = sub("GET /a", "/b/{x}")
    other.respond("t")(reply)
    other.subscribe("t")(see)
    other.tap("t")(see)
    other.on_error(ValueError)(on_any)
    pipeline = Pipeline()
    pipeline.include(other, prefix="/v1/{tenant}")
    assert [route.pattern for route in pipeline.routes] == [
        "GET /v1/{tenant}/a",
        "/v1/{tenant}/b/{x}",
    ]
    assert {route.timeout for route in pipeline.routes} == {5}
    assert pipeline.responders == other.responders
    assert pipeline.subscribers == other.subscribers
    assert pipeline.error_handlers == other.error_handlers
    assert [route.pattern for route in other.routes] == ["GET /a", "/b/{x}"]


def test_include_without_prefix_and_of_an_include() -> None:
    inner, middle, outer = sub("/{$}", "GET /x/"), Pipeline(), Pipeline()
    middle.include(inner, prefix="/m")
    outer.include(middle)
    assert [route.pattern for route in outer.routes] == ["/m/{$}", "GET /m/x/"]


def test_what_is_declared_after_an_include_is_not_taken_over() -> None:
    other, pipeline = sub("/a"), Pipeline()
    pipeline.include(other)
    other.route("/b")(answer)
    assert len(pipeline.routes) == 1


def test_same_pipeline_under_two_prefixes() -> None:
    pipeline, other = Pipeline(), sub("/a")
    other.on_error(ValueError)(on_any)
    pipeline.include(other, prefix="/one")
    pipeline.include(other, prefix="/two")
    assert len(pipeline.routes) == 2


def test_conflicts_of_an_include_surface_at_once() -> None:
    pipeline = sub("/v1/a")
    with pytest.raises(RegistrationError, match="matches the same requests"):
        pipeline.include(sub("/a"), prefix="/v1")
    one, two = Pipeline(), Pipeline()
    one.on_error(ValueError)(on_any)
    two.on_error(ValueError)(lambda error, request: Response())
    with pytest.raises(RegistrationError, match="both handle ValueError"):
        one.include(two)


@pytest.mark.parametrize("prefix", ["v1", "/v1/", "/", "GET /v1"])
def test_bad_prefix(prefix: str) -> None:
    with pytest.raises(RegistrationError, match="prefix"):
        Pipeline().include(sub("/a"), prefix=prefix)


@pytest.mark.parametrize("prefix", ["/a b", "/{x", "/a//b", "/.."])
def test_prefix_that_makes_bad_patterns(prefix: str) -> None:
    with pytest.raises(RegistrationError):
        Pipeline().include(sub("/a"), prefix=prefix)


def test_server_wide_options_has_no_prefix() -> None:
    pipeline = Pipeline()
    pipeline.include(sub("OPTIONS *"))
    with pytest.raises(RegistrationError, match="no path"):
        pipeline.include(sub("OPTIONS *"), prefix="/v1")


def test_name_under_a_prefix_is_not_used_twice() -> None:
    with pytest.raises(RegistrationError, match="used twice"):
        Pipeline().include(sub("/{x}"), prefix="/{x}")


def test_include_of_itself_and_of_one_with_a_lifespan() -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield

    pipeline = Pipeline()
    with pytest.raises(RegistrationError, match="cannot include itself"):
        pipeline.include(pipeline)
    with pytest.raises(RegistrationError, match="has a lifespan"):
        pipeline.include(Pipeline("x", lifespan=lifespan))
