"""The core suite always runs poisoned: see poison.py."""

from collections.abc import Iterator

import pytest

from tests.core.poison import poison


@pytest.fixture(scope="module", autouse=True)
def poisoned_world() -> Iterator[None]:
    """Refuse the core clocks, randomness and sockets."""
    with poison():
        yield
