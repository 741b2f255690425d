"""pipebus: network traffic on an event bus. This package is the pure core."""

__version__ = "0.1.0"
