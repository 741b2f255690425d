"""Plays a scenario: a server, its upstream, a client with a pool, raw peers, one virtual clock."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final, cast

from pipebus.bus.event import Event
from pipebus.bus.subscription import Subscription
from pipebus.engine.calls import Call, HttpCall
from pipebus.engine.engine import Engine
from pipebus.http.client import ClientRequest
from pipebus.http.wire import WireCodec
from pipebus.http.wire_h11 import H11Codec
from pipebus.http.wire_llhttp import LlhttpCodec
from pipebus.limits import ClientLimits, Timeouts
from pipebus.pipeline.declarations import SubscriberDecl
from pipebus.pipeline.declare import Pipeline
from pipebus.pipeline.handlers import Handler
from pipebus.testing.faults import Faults
from pipebus.testing.network import Network
from pipebus.testing.node import Node
from pipebus.testing.tasks import StepTask
from pipebus.testing.world import World
from tests.core.simulation.app import LIMITS, App, upstream
from tests.core.simulation.peers import Peer
from tests.core.simulation.scenario import Act, Scenario
from tests.core.simulation.script import PATIENCE, UP, UPSTREAM
from tests.core.simulation.watch import WatchedEngine

APP = ("10.0.0.1", 80)
AMPLE: Final[dict[str, Any]] = {"max_connections": 100, "max_buffered": 1_000_000}
CALLER = Timeouts(connect=1.0, write=2.0, read=3.0, pool=1.0, total=4.0)


class Rig:
    """One play. `events`, `peers` and `calls` are what came of it."""

    def __init__(
        self, scenario: Scenario, faults: Faults | None = None, wire: WireCodec | None = None
    ) -> None:
        """Without `wire` every second seed plays on llhttp.

        With `faults` given in place of the scenario's, plays over several networks compare. Then
        nothing depends on how bytes are cut: streamed requests are read as fast as they come, no
        connection is refused before its request is read, no body waits for another's memory.
        """
        self.scenario = scenario
        self.limits = LIMITS if faults is None else replace(LIMITS, **AMPLE)
        self.random = Random(scenario.seed + 1)
        self.world = World()
        self.start = self.world.now
        self.faults = faults or Faults(scenario.seed, **scenario.faults, longest=0.02)
        self.network = Network(self.world, self.faults, window=4_000)
        self.app = App(audited=scenario.audited, slow_reader=faults is None)
        self.app.scripts = scenario.scripts
        self.events: list[Event] = []
        self.peers = [Peer(f"peer {number}", asked) for number, asked in enumerate(scenario.peers)]
        self.calls: list[tuple[Act, Call]] = []
        self._nodes(wire or (LlhttpCodec() if scenario.seed % 2 else H11Codec()))
        self.engine.bus.subscribe(
            ">",
            self.start,
            kind="tap",
            maxsize=1_000_000,
            owner=SubscriberDecl(
                ">", Handler(self.events.append, "inline", takes_context=False, name="rec"), "tap"
            ),
        )
        self.subscriptions = list(self.engine.bus._subs.values())
        """Every subscription that there was, the closed ones included."""

    def _nodes(self, wire: WireCodec) -> None:
        now = self.start
        self.engine = WatchedEngine(
            self.app.pipeline, wire=wire, id_prefix="s-", now=now, limits=self.limits, timeouts=PATIENCE,
            client_limits=ClientLimits(
                max_connections=2 if self.limits is LIMITS else 100, idle_timeout=0.9, write_high_water=2_000, read_ahead=1_000
            ),
        )  # fmt: skip
        self.engine.set_wall_clock(1_700_000_000.0, now)
        up = Engine(upstream(), wire=wire, id_prefix="u-", now=now, limits=self.limits)
        pool = Engine(Pipeline("client"), wire=wire, id_prefix="c-", now=now)
        self.server = Node("server", cast("Engine", self.engine), self.world, self.network)
        self.upstream = Node("upstream", up, self.world, self.network)
        self.client = Node("client", pool, self.world, self.network)
        self.nodes = (self.server, self.upstream, self.client)
        network = self.network
        network.listen(APP, self.server)
        network.listen(("10.0.0.2", 80), self.upstream)
        network.silence(("10.0.0.9", 80))
        network.name("app", "10.0.0.1")
        network.name("up", "10.0.0.3", "10.0.0.2")
        network.name("silent", "10.0.0.9")
        network.name("nowhere")

    # --- the play -------------------------------------------------------------------------------

    def play(self) -> None:
        """Run it all, to the end of everything."""
        world, scenario = self.world, self.scenario
        for node in self.nodes:
            node.engine.start(None, world.now)
        for act in scenario.acts:
            world.at(self.start + act.at, partial(self._act, act))
        world.run_until(lambda: False, self.start + scenario.drain_at)
        self._drain()
        self._clear()

    def _drain(self) -> None:
        world = self.world
        if self.scenario.at_once:
            self.network.close_listeners(self.server)
            self.engine.close(world.now)
        else:
            self.engine.drain(world.now)
            # What is in the backlog is still accepted.
            world.at(world.now + 0.1, lambda: self.network.close_listeners(self.server))
        self.server.pump()
        within = LIMITS.grace + LIMITS.linger_timeout + 0.01
        drained = world.run_until(lambda: self.server.drained, world.now + within)
        assert drained, "the drain lasts longer than grace and the lingering after it"

    def _clear(self) -> None:
        """End the process of the server, and the two others."""
        world = self.world
        self.network.close_listeners(self.server)
        for peer in self.peers:
            if peer.end is not None:
                self.network.close(peer.end)
        self.network.cut(self.server)
        for node in (self.client, self.upstream):
            node.engine.close(world.now)
        world.advance(30.0)
        assert world.next_moment() is None, "something would go on for ever"
        for node in self.nodes:
            assert not node.problems, node.problems

    def transcript(self) -> list[object]:
        """Return all that can be observed from outside, as plain values."""
        observed: list[object] = [
            (
                event.id,
                event.source,
                event.type,
                round(event.time, 6),
                event.subject,
                event.correlation_id,
                event.causation_id,
                repr(event.data),
            )
            for event in self.events
        ]
        observed += [(peer.name, peer.received) for peer in self.peers]
        observed += [(act, repr(call.value), repr(call.error)) for act, call in self.calls]
        observed.append(sorted(self.engine.bus.counts.outcomes.items()))
        observed.append(sorted(self.engine.bus.counts.dropped.items()))
        observed.append(sorted(self.app.diary.ended.items()))
        return observed

    # --- acts -----------------------------------------------------------------------------------

    def _act(self, act: Act) -> None:
        deeds: dict[str, Callable[[Act], None]] = {
            "publish": self._publish,
            "request": self._request,
            "http": self._http,
            "call": self._call,
            "subscribe": self._subscribe,
            "kill": self._kill,
        }
        deeds.get(act.kind, self._peer_acts)(act)
        for node in self.nodes:
            node.pump()

    def _peer_acts(self, act: Act) -> None:
        peer, network = self.peers[act.who], self.network
        if act.kind == "dial":
            try:
                peer.end = network.dial(APP)
            except ConnectionRefusedError:
                return
        end = peer.end
        if end is None:
            return
        if act.kind == "send":
            if not (end.lost or end.sent_eof):
                peer.sent += len(act.data)
            network.send(end, act.data)
        elif act.kind != "dial":
            deeds = {
                "eof": network.send_eof,
                "reset": network.reset,
                "close": network.close,
                "pause": network.pause,
                "resume": network.resume,
            }
            deeds[act.kind](end)

    def _publish(self, act: Act) -> None:
        self._note(act, self.engine, self.engine.publish(act.topic, act.script, self.world.now))

    def _request(self, act: Act) -> None:
        call = self.engine.request(act.topic, act.script, self.world.now, timeout=1.0)
        self._note(act, self.engine, call)

    def _http(self, act: Act) -> None:
        request = ClientRequest("POST", UP + UPSTREAM[act.who % len(UPSTREAM)], body=bytes(7_000))
        self._note(act, self.engine, self.engine.http(request, self.world.now, timeouts=PATIENCE))

    def _call(self, act: Act) -> None:
        engine, url = self.client.engine, "http://app" + act.topic
        chunks = self._chunks(act.data) if len(act.data) > 40 else None
        body = b"" if chunks is not None else act.data
        method = "PUT" if act.topic.startswith("/up/") else "POST"
        request = ClientRequest(method, url, body=body, streams=chunks is not None)
        call = engine.http(request, self.world.now, timeouts=CALLER, chunks=chunks, on_bus=False)
        self._note(act, engine, call)

    async def _chunks(self, data: bytes) -> AsyncIterator[bytes]:
        engine = self.client.engine
        for start in range(0, len(data), 500):
            await self.client.call(lambda now: engine.sleep(0.03, now))
            yield data[start : start + 500]

    def _note(self, act: Act, engine: Engine | WatchedEngine, call: Call) -> None:
        self.calls.append((act, call))
        if act.after >= 0.0:
            self.world.at(self.world.now + act.after, partial(self._give_up, engine, call))

    def _give_up(self, engine: Engine | WatchedEngine, call: Call) -> None:
        if not call.done:
            engine.abandon(call, self.world.now)
            for node in self.nodes:
                node.pump()

    def _subscribe(self, act: Act) -> None:
        now = self.world.now
        subscription = self.engine.subscribe("lossless.>", now, maxsize=1)
        self.subscriptions.append(subscription)
        task = self.server.spawn("reader", self._read(subscription), lambda *_: None)

        def leave() -> None:
            self.engine.unsubscribe(subscription, self.world.now)
            self.server.cancel(task)
            self.server.pump()

        self.world.at(now + act.after, leave)

    async def _read(self, subscription: Subscription) -> None:
        engine, server = self.engine, self.server
        while True:
            try:
                await server.call(lambda now: engine.next_event(subscription, now))
            except StopAsyncIteration:
                return
            await server.call(lambda now: engine.sleep(0.3, now))

    def _kill(self, act: Act) -> None:
        """Cancel a handler's task from outside, as a library that it uses may."""
        running = [
            (invocation, invocation.task)
            for invocation in self.engine.invocations
            if isinstance(invocation.task, StepTask) and not invocation.cancelled
        ]
        if running:
            invocation, task = self.random.choice(running)
            self.engine.dies(invocation)
            self.server.cancel(task)


def http_calls(rig: Rig) -> list[tuple[Act, HttpCall]]:
    """Return what the client with a pool asked of the server."""
    return [
        (act, call) for act, call in rig.calls if act.kind == "call" and isinstance(call, HttpCall)
    ]
