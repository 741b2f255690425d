"""What a type checker must refuse; every line that ends in `# refused` and no other."""

from pipebus import Context, Event, InlineContext, Pipeline, Request, Response, ThreadContext

pipeline = Pipeline[int]()


@pipeline.route("GET /a")  # refused
async def wrong_context(request: Request, ctx: InlineContext[int]) -> Response:
    return Response.text("a task gets a Context")


@pipeline.route("GET /b", thread=True)  # refused
def not_in_a_thread(request: Request, ctx: InlineContext[int]) -> Response:
    return Response.text("a thread gets a ThreadContext")


@pipeline.route("GET /c")  # refused
def no_response(request: Request) -> str:
    return "a bare str is not a response"


@pipeline.route("GET /d")  # refused
async def wrong_state(request: Request, ctx: Context[str]) -> Response:
    return Response.text("the state is an int")


@pipeline.route("GET /e", stream=True)  # refused
async def buffered(request: Request) -> Response:
    return Response.text("a stream route gets a StreamRequest")


@pipeline.route("GET /f")  # refused
def blocking(request: Request, ctx: ThreadContext[int]) -> Response:
    return Response.text("without thread=True there is no thread")


@pipeline.tap("net.>")  # refused
def no_event(event: Request) -> None:
    return None


def no_blocking_publish(event: Event, ctx: InlineContext[int]) -> None:
    ctx.publish("a.b")  # refused
