"""What the HTTP server publishes: topics that can be published, data that a codec can write."""

import msgspec
import pytest

from pipebus.bus.topic import check_topic
from pipebus.http import events
from pipebus.http.events import ConnectionInfo, HttpFailed, HttpResponded
from pipebus.telemetry.stages import Stages

TOPICS = sorted(value for name, value in vars(events).items() if name.isupper())


def test_topics_can_be_published_and_are_distinct() -> None:
    for topic in TOPICS:
        check_topic(topic)
    assert len(set(TOPICS)) == len(TOPICS) >= 5


@pytest.mark.parametrize(
    "data",
    [
        HttpResponded("GET", "/", "/", 200, "replied", ("::1", 1), 10, 20, Stages(0.5)),
        HttpFailed("GET", "/", "/", 0, "cancelled", "", 10, 0, Stages(), "disconnect"),
        ConnectionInfo("c1", "/run/x.sock", False, 1, 2, 3, "idle"),
    ],
)
def test_data_can_leave_the_process(data: msgspec.Struct) -> None:
    written = msgspec.json.decode(msgspec.json.encode(data))
    assert set(written) == set(data.__struct_fields__)
