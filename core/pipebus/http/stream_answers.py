"""Answers that are streamed: head, pieces, end, and the clocks of the gaps between them."""

from pipebus.bus.exchange import Exchange
from pipebus.errors import LocalProtocolError, StreamInterrupted
from pipebus.http.answers import HALF_CLOSE_GRACE, STREAM_IDLE, Answers
from pipebus.http.response import Response
from pipebus.http.session import STREAMING, Session


class StreamAnswers(Answers):
    """Writes the answers of handlers that stream. A part of `Dispatch`; see there."""

    # --- inputs by the engine -----------------------------------------------------------------

    def start_stream(self, exchange: Exchange, response: Response, now: float) -> bool:
        """Send the head of a streamed `response`.

        True: iterate the body now, and call `stream_chunk` for each piece. False: do not, close
        it: the exchange has ended, or the response has no content (HEAD, 204, 304).
        """
        session = exchange.owner
        if not (isinstance(session, Session) and self._bus.start_reply(exchange, now)):
            return False
        session.response = response
        try:
            self._annotate(session, response, now)
            goes_on = session.conn.send_response(
                response.status,
                response.headers.raw,
                None,
                now,
                content_length=response.content_length,
            )
        except Exception as error:  # noqa: BLE001 (changed, to whatever, after it was checked)
            session.response = None
            self._bus.fail(exchange, error, now)
            self._settle(session, exchange, now)
        else:
            session.status = response.status
            session.state = STREAMING
            if goes_on:
                self._watch_stream(session, now)
            else:
                self._end_stream(session, exchange, now)
        self.step(session, now)
        return session.exchange is exchange

    def stream_chunk(self, exchange: Exchange, chunk: bytes, now: float) -> bool:
        """Send a piece of the body; False: wait until `next_output` returns this exchange.

        Raises `StreamInterrupted` once the exchange has ended, `TypeError` for what is not bytes
        and `LocalProtocolError` for more of them than the response's `content_length`; report the
        last two by `stream_failed`.
        """
        session = self._streaming(exchange)
        if session is None:
            raise StreamInterrupted("the response that this chunk belongs to has ended")
        if not isinstance(chunk, bytes):
            raise TypeError(f"a streamed body is made of bytes, not {type(chunk).__name__}")
        if not chunk:  # on the wire an empty chunk is the last one
            return True
        more = session.conn.send_body(chunk, now)
        if more:
            self._watch_stream(session, now)
        else:
            # It is the peer who is slow now, and the write timeout that says for how long.
            session.timers.pop(STREAM_IDLE, None)
            session.timers.pop(HALF_CLOSE_GRACE, None)
        self.step(session, now)
        return more

    def stream_end(self, exchange: Exchange, now: float) -> None:
        """End the body; the exchange is `replied` (`failed` if bytes are missing)."""
        session = self._streaming(exchange)
        if session is not None:
            self._end_stream(session, exchange, now)
            self.step(session, now)

    def stream_failed(self, exchange: Exchange, error: BaseException, now: float) -> None:
        """Cut the body so that the peer sees it; the exchange is `failed`."""
        session = self._streaming(exchange)
        if session is not None:
            self._bus.fail(exchange, error, now)
            self._settle(session, exchange, now)
            self.step(session, now)

    # --- streams ------------------------------------------------------------------------------

    def _streaming(self, exchange: Exchange) -> Session | None:
        """Return the session that streams the answer of `exchange`, if it still does."""
        session = exchange.owner
        if (
            isinstance(session, Session)
            and session.exchange is exchange
            and session.state == STREAMING
        ):
            return session
        return None

    def _end_stream(self, session: Session, exchange: Exchange, now: float) -> None:
        try:
            session.conn.end_body(now)
        except LocalProtocolError as error:
            self._bus.fail(exchange, error, now)
        else:
            self._bus.reply(exchange, session.response, now)
        self._settle(session, exchange, now)

    def _watch_stream(self, session: Session, now: float) -> None:
        """Start the gap in which the next chunk has to come."""
        response = session.response
        idle = self._limits.stream_idle
        if idle is not None and response is not None and response.idle_timeout:
            session.timers[STREAM_IDLE] = now + idle
        if session.half_closed:
            # Writing is what tells a peer that has gone from one that only shut its side.
            self._watch_half_close(session, now)

    def _watch_half_close(self, session: Session, now: float) -> None:
        """Bound a handler whose peer shut its side, once its request is whole.

        Not while the peer reads slowly: then `write_timeout` runs.
        """
        stream = session.stream
        if (
            session.exchange is not None
            and not session.conn.waits_for_room
            and (stream is None or stream.done)
        ):
            session.timers[HALF_CLOSE_GRACE] = now + self._limits.half_close_grace
