"""Where a request's time went: the differences of the edges at which time is passed in."""

import msgspec


class Stages(msgspec.Struct, frozen=True, gc=False):
    """Seconds spent in each stage; they do not overlap and add up to the whole."""

    read: float = 0.0
    """From the complete head to dispatch: a body that is collected comes in here."""
    queue: float = 0.0
    """From dispatch until a handler began."""
    handler: float = 0.0
    """From there to the answer; a streamed answer: to its last chunk."""
    write: float = 0.0
    """From there until the last byte was handed to the operating system."""

    @property
    def total(self) -> float:
        """Head in to last byte out, in seconds."""
        return self.read + self.queue + self.handler + self.write


def measure(
    started: float, dispatched: float, began: float, completed: float, sent: float
) -> Stages:
    """Return the stages between five edges, in seconds on one clock.

    An edge that was never reached is passed as a negative number: the stage that it would have
    opened is empty and the time falls to the stage before it. A request refused from its head,
    say, was never dispatched: all its time up to the answer is `read`.
    """
    if began < 0.0:
        began = completed
    if dispatched < 0.0:
        dispatched = began
    return Stages(dispatched - started, began - dispatched, completed - began, sent - completed)
