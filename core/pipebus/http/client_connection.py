"""One connection to a server, as bytes and messages; it knows no pool and no bus."""

from pipebus.timers import Timed


class ClientConnection(Timed):
    """One connection.

    For a driver it is a link: `token`, `wants_read`, `wants_close`, `data_to_send()`; inputs go
    through `HttpClient.receive_data(conn, data, now)` and so on.
    """

    __slots__ = ("token", "wants_close", "wants_read")

    def data_to_send(self) -> bytes:
        """Return what to send next (at most 64 KiB); it stays until `data_sent` counts it off."""
        raise NotImplementedError
