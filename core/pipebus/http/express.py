"""The usual request and its answer, each in one go: what most of the traffic is.

Nothing here says how HTTP works: each step does what `Intake` and `Answers` do for a request that
comes whole in one piece, and for an answer that is whole, without the events in between. A test
plays everything that the other tests of the dispatch play both ways and compares.
"""

from pipebus.bus.exchange import Exchange
from pipebus.http.events import HTTP_REQUEST
from pipebus.http.headers import Headers
from pipebus.http.intake import Intake
from pipebus.http.message import Request
from pipebus.http.response import Response
from pipebus.http.routes import Match
from pipebus.http.session import ANSWERED, OPEN, READING, Session


class Express(Intake):
    """Does at once what it can, or says False and has done nothing. A part of `Dispatch`."""

    def _receive_whole(self, session: Session, data: bytes, now: float) -> bool:
        """Take a request that is `data`: look for its route, charge its body, open its exchange."""
        if session.refused:
            return False
        whole = session.conn.look_at_whole(data)
        if whole is None:
            return False
        head, body = whole
        target = head.target.decode("latin-1")
        path = target if "?" not in target else target.partition("?")[0]
        found = self._routes.match(head.method, path)
        if not isinstance(found, Match):
            return False
        route = found.value
        size = len(body)
        if route.stream or (route.max_body is not None and size > route.max_body):
            return False
        if size:
            # A body that queues may hold needs a lease, which is shared.
            if self._bus.listens(HTTP_REQUEST) or not self._admission.bodies.take(size):
                return False
            session.charged = size
        session.conn.take_whole(head, len(data), now)
        session.head_bytes = len(data) - size
        session.started = now
        session.method = head.method
        session.target = target
        gate = self._gate
        if gate is not None:
            if session.trusted:
                self._believe(session, head)
            refusal = None if route.exempt else gate.admit(session, head, now)
            if refusal is None:
                session.route = route
                if route.limiter is not None:
                    refusal = gate.limit(route.limiter, session, head, now)
            if refusal is not None:
                self._refuse(session, refusal.situation, now, retry_after=refusal.retry_after)
                self.step(session, now)
                return True
        session.route = route
        request = Request(
            head.method, target, Headers(raw=head.headers), body,
            client=session.client, tls=session.tls, path_params=found.params, route=route.template,
        )  # fmt: skip
        session.state = READING
        self._open(session, request, route, now + route.timeout, now)
        if session.state is OPEN:
            self._rearm(session)
        else:
            self.step(session, now)
        return True

    def _answer_whole(self, session: Session, exchange: Exchange, now: float) -> bool:
        """Send the whole response that an exchange was replied with."""
        reply = exchange.reply
        if (
            not isinstance(reply, Response)
            or reply.stream_body is not None
            or type(reply.body) is not bytes
        ):
            return False
        try:
            if self._annotations is not None:
                self._annotate(session, reply, now)
            if not session.conn.send_whole(reply.status, reply.headers.raw, reply.body, now):
                return False
        except Exception:  # noqa: BLE001 (changed after it was made: the long way says what to)
            return False
        session.exchange = None
        session.outcome = "replied"
        session.completed = now
        self._release(session)
        session.response = reply
        session.status = reply.status
        session.state = ANSWERED
        self._rearm(session)
        if not session.reported:
            session.reported = True
            self.outputs.append(session)
        return True

    def _end_whole(self, session: Session, count: int, now: float) -> bool:
        """End a request whose answer has just been handed over, and wait for the next one."""
        conn = session.conn
        if session.state is not ANSWERED or not conn.all_sent(count):
            return False
        self._end_request(session, now)
        session.forget_request()
        if session.publisher.places:
            session.waits = True
            self.step(session, now)
            return True
        conn.next_request(now)
        if conn.events or not session.wanted_read:  # one that closes now was read to its end
            self.step(session, now)
        else:
            self._rearm(session)
        return True

    def _rearm(self, session: Session) -> None:
        session.retime()
        if session.deadline < session.queued_at:
            self._timers.watch(session)
