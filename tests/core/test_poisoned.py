"""The core suite really runs poisoned."""

import time
from typing import Any

import pytest

from tests.core.poison import CORE


def test_a_clock_read_by_the_core_would_fail_here() -> None:
    namespace: dict[str, Any] = {"time": time}
    exec(compile("def run():\n    return time.monotonic()\n", CORE + "x.py", "exec"), namespace)
    with pytest.raises(
        pytest.fail.Exception, match=r"the core is pure, and x\.py called time\.mon"
    ):
        namespace["run"]()
