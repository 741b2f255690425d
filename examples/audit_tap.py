"""Write down how every request ended, without making any request wait for it.

Run it by `pipebus serve examples.audit_tap:pipeline`, then `curl http://127.0.0.1:8000/hello/you`
and `curl http://127.0.0.1:8000/nothing`: the log has a line for each, the 404 included. A tap runs
after the answers have been written; if it cannot keep up, its oldest events are dropped and counted.
"""

import logging

from pipebus import Event, Pipeline, Request, Response

logger = logging.getLogger("audit")
pipeline = Pipeline("audited")


@pipeline.route("GET /hello/{name}")
def hello(request: Request) -> Response:
    return Response.text(f"hello {request.path_params['name']}")


@pipeline.tap("net.http.response")
@pipeline.tap("net.http.error")  # the client went away, or a stream broke
def audit(event: Event) -> None:
    done = event.data
    milliseconds = done.stages.total * 1_000
    logger.info(
        "%s %s -> %d, %d bytes, %.1f ms, request %s",
        done.method,
        done.target,
        done.status,
        done.bytes_out,
        milliseconds,
        event.correlation_id,
    )
