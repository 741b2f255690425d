"""A scenario drawn from a seed: who asks for what, in which pieces, and who leaves when.

Everything is drawn before anything runs, so that one scenario can be played over several networks.
"""

from random import Random
from typing import Final, NamedTuple

from tests.core.simulation.peers import Asked
from tests.core.simulation.script import DYING, THEMES, TOPICS, Script, draw_script, plain

ROUTES: Final = (
    ("do",) * 6 + ("one",) * 5 + ("up",) * 4 + ("down",) * 4 + ("big",) * 2
    + ("def", "thread", "refuse", "events", "wrong", "missing")
)  # fmt: skip
ECHOES: Final = frozenset({"do", "one", "def", "thread", "up"})
UNREAD: Final = frozenset({"missing", "refuse"})
"""They are answered before their body is read."""
MANNERS: Final = (
    ("patient",) * 4 + ("slow",) * 3 + ("half",) * 3 + ("rude",) * 3
    + ("partial", "deaf", "deaf", "closing", "idle")
)  # fmt: skip
BANES: Final = ("", "reset", "", "eof", "kill", "close")
"""What happens to those who came in a crowd; empty: nothing, until time is up or grace is over."""
FAULTS: Final = ("split", "delay", "stall", "reset", "half_close", "refuse")


class Act(NamedTuple):
    """Something that happens at a time: to a peer (`who` is its number) or to the program."""

    at: float
    kind: str
    who: int = 0
    data: bytes = b""
    topic: str = ""
    script: Script = ()
    after: float = -1.0
    """When the caller gives up, in seconds from `at`; negative: never."""


class Scenario(NamedTuple):
    """All that there is to know before the play begins."""

    seed: int
    audited: bool
    faults: dict[str, float]
    peers: list[list[Asked]]
    acts: list[Act]
    scripts: dict[str, Script]
    drain_at: float
    at_once: bool
    """End by `close` and not by a drain."""


class Author:
    """Draws a scenario.

    With `plain=True` nothing is in it whose answer may rightly depend on how bytes are cut: no
    body of a request that is refused unread (if it is there anyway the connection is kept), no
    Expect (bytes on their way show that nobody waits for the 100), no fault, and no death of a
    handler drawn during the play.
    """

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.plain = plain
        self.scripts: dict[str, Script] = {}
        self.acts: list[Act] = []

    def draw(self) -> Scenario:
        random = self.random
        faults = {}
        if random.random() < 0.8:
            faults = {name: random.choice((0.0, 0.02, 0.1)) for name in FAULTS}
        if self.plain:
            faults = {}
        drain_at = random.choice((0.9, 1.6, 2.5, 4.0))
        peers = [self._peer(number, drain_at) for number in range(random.randint(1, 4))]
        for _ in range(random.randint(0, 3)):
            self._program(drain_at)
        for _ in range(random.randint(0, 2)):
            self._client(drain_at)
        if random.random() < 0.5:
            self._reader(drain_at)
        self._crowd(peers, drain_at)
        for _ in range(random.randint(0, 2)):
            self.acts.append(Act(random.uniform(0.0, drain_at), "kill"))
        acts, scripts = self.acts, self.scripts
        if self.plain:
            acts = [a._replace(script=plain(a.script)) for a in acts if a.kind != "kill"]
            scripts = {key: plain(script) for key, script in scripts.items()}
        audited, at_once = random.random() < 0.3, random.random() < 0.15
        return Scenario(self.seed, audited, faults, peers, acts, scripts, drain_at, at_once)

    # --- requests -------------------------------------------------------------------------------

    def target(self) -> tuple[str, str]:
        """Return a route's name and a path that leads to it and to a script of its own."""
        route = self.random.choice(ROUTES)
        key = "k" * self.random.randint(1, 2) + str(len(self.scripts))
        self.scripts[key] = draw_script(self.random)
        return route, f"/{route}/{key}"

    def request(self) -> Asked:
        random = self.random
        route, path = self.target()
        body = random.randbytes(random.choice((0, 5, 300, 2_500)))
        method = "POST" if body else random.choice(("GET", "GET", "HEAD"))
        if self.plain and route in UNREAD:
            method, body = "GET", b""
        if route == "up":
            method, body = "PUT", body or b"hello"
        bad = random.random()
        fields = [f"{method} {path} HTTP/1.1", "Host: app"]
        if bad < 0.04:
            fields.append("Host: other")
        if random.random() < 0.05:
            fields.append("Connection: close")
        if body and random.random() < 0.1 and not self.plain:
            fields.append("Expect: 100-continue")
        payload, good = body, bad >= 0.04
        if not body:
            pass
        elif bad > 0.97:
            fields.append("Content-Length: 6000")
            good = False
        elif random.random() < 0.4:
            fields.append("Transfer-Encoding: chunked")
            payload = self._chunked(body)
            if bad > 0.93:
                payload, good = b"5;\nbad", False
        else:
            fields.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*fields, "", ""]).encode() + payload
        return Asked(method, path, body, data, good)

    def _chunked(self, body: bytes) -> bytes:
        cut = self.random.randint(1, len(body))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    # --- raw peers ------------------------------------------------------------------------------

    def _peer(self, who: int, drain_at: float) -> list[Asked]:
        random = self.random
        manner = random.choice(MANNERS)
        asked = [self.request() for _ in range(random.choice((1, 1, 2, 3, 6)))]
        data = b"".join(request.data for request in asked)
        at = round(random.uniform(0.0, drain_at + 0.05), 3) + who / 10_000
        self.acts.append(Act(at, "dial", who))
        if manner == "idle":
            return asked
        if manner == "deaf":
            self.acts.append(Act(at, "pause", who))
            if random.random() < 0.5:
                self.acts.append(Act(at + random.uniform(0.1, 1.5), "resume", who))
        if manner == "partial" or (manner in ("half", "rude") and random.random() < 0.6):
            data = data[: random.randrange(1, len(data))]
        end = self._send(who, at, data, slow=manner == "slow")
        last = {"half": "eof", "rude": "reset", "closing": "close"}.get(manner)
        if last is not None:
            self.acts.append(Act(end + random.choice((0.0, 0.05, 0.3, 0.6)), last, who))
        return asked

    def _send(self, who: int, at: float, data: bytes, *, slow: bool) -> float:
        """Send in a few pieces, from `at` on; return when the last one goes out."""
        random = self.random
        cuts = sorted(random.randrange(len(data)) for _ in range(random.randint(0, 3)))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            self.acts.append(Act(at, "send", who, data[start:stop]))
            if stop < len(data):
                at += random.choice((0.0, 0.1, 0.4, 1.3)) if slow else random.choice((0.0, 0.03))
        return at

    def _crowd(self, peers: list[list[Asked]], drain_at: float) -> None:
        """Let several ask for the same at once, late enough that some see the end of grace."""
        random = self.random
        # Not drawn: so that few seeds in a row meet every kind of crowd with every kind of end.
        turn, theme = divmod(self.seed, len(THEMES))
        script, bane = THEMES[theme], BANES[turn % len(BANES)]
        route = random.choice(("do", "one", "one", "down", "big"))
        if script is DYING:
            route = "one"  # whoever is behind it runs out of time in the queue
        start = max(0.0, drain_at - random.choice((0.05, 0.05, 0.5, 1.5, 1.5)))
        for _ in range(random.randint(2, 5)):
            who, key = len(peers), f"k{len(self.scripts)}"
            self.scripts[key] = script
            data = f"GET /{route}/{key} HTTP/1.1\r\nHost: app\r\n\r\n".encode()
            peers.append([Asked("GET", f"/{route}/{key}", b"", data)])
            at = start + who / 100
            self.acts += [Act(at, "dial", who), Act(at, "send", who, data)]
            if route == "big":
                self.acts.append(Act(at, "pause", who))
            if bane:
                self.acts.append(Act(at + random.choice((0.05, 0.3, 0.6)), bane, who))
        if random.random() < 0.5:
            for _ in range(3):
                at, topic = start + random.random() / 10, random.choice(("ask.any", "ask.one"))
                act = Act(at, "request", 0, b"", topic, script, self._patience())
                self.acts.append(act)

    # --- the program, and clients with a pool ---------------------------------------------------

    def _program(self, drain_at: float) -> None:
        random = self.random
        kind = random.choice(("publish", "publish", "request", "request", "http"))
        topic = random.choice(TOPICS[:2]) if kind == "publish" else "ask." + random.choice(
            ("any", "one", "one", "def")
        )  # fmt: skip
        for _ in range(random.choice((1, 1, 5))):
            self.acts.append(
                Act(
                    round(random.uniform(0.0, drain_at), 3),
                    kind,
                    random.randrange(10_000),
                    b"",
                    topic,
                    draw_script(random),
                    self._patience(),
                )
            )

    def _patience(self) -> float:
        return self.random.choice((-1.0, 0.0, 0.05, 0.4, 1.1))

    def _client(self, drain_at: float) -> None:
        random = self.random
        for _ in range(random.choice((1, 1, 4))):
            route, path = self.target()
            at = round(random.uniform(0.0, drain_at), 3)
            body = random.randbytes(random.choice((0, 40, 2_000)))
            if self.plain and route in UNREAD:
                body = b""
            self.acts.append(Act(at, "call", 0, body, path, (), self._patience()))

    def _reader(self, drain_at: float) -> None:
        random = self.random
        at = random.uniform(0.0, drain_at)
        self.acts.append(Act(at, "subscribe", after=random.uniform(0.1, 1.5)))
