"""pipebus: network traffic on an event bus. This package is the pure core."""

from typing import Final

__version__: Final = "0.1.0"
