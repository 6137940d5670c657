"""A million hostile payloads at the gate: none may raise, and none that is refused may change anything.

    python -m benchmarks.fuzz_payloads --payloads 1000000

Payloads are random bytes, random JSON, requests with fields dropped, renamed, swapped for other types and extreme numbers, valid
requests, and valid ones with bytes flipped, cut, doubled or padded; topics are true, foreign and broken. Every one goes through
`session.admit`; what passes is applied to a real engine and routed. Every `--check` payloads, those that were refused are sent once
more, and the digest of the engine's whole state must be the same before and after; the mirror and all invariants are checked, too.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Advance, InstallRows, OpenArea, OpenInterval
from exchange.engine import Engine
from exchange.recovery import run_batch
from exchange.snapshot import dump
from gateway import topics, wire
from gateway.session import Session, SessionSettings
from riskcheck.polytope import Polytope

AREA = "lv"
NAMES = tuple(f"home-{n:02d}" for n in range(20))
SETTINGS = MarketSettings()
STARTS = tuple(SETTINGS.interval_ms * n for n in (1_890_000, 1_890_001))
NOW = STARTS[0] - 1
EXTREMES: tuple[Any, ...] = (
    0, -1, 1, 2**31 - 1, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**30, 1.5, 1e308, -0.0, True, None, "", "a", "é", "\x00", "x" * 65,
    "x" * 3000, [], {}, [[]], {"a": {}}, "export", "buy", "place", "\ufffe",
)  # fmt: skip


class Fuzzer:
    """Draws topics and payloads from a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kinds: tuple[Callable[[], bytes], ...] = (self.noise, self.valid, self.valid, self.bent, self.bent, self.broken, self.nested)
        self.ids = 0

    def next(self) -> tuple[str, bytes]:
        return self.topic(), self.random.choice(self.kinds)()

    def topic(self) -> str:
        draw = self.random.random()
        if draw < 0.97:
            return topics.request(AREA, self.random.choice(NAMES))
        if draw < 0.98:
            return topics.request(self.random.choice((AREA, "mv")), "nobody")
        levels = ["limex", "v1", AREA, "c", NAMES[0], "req", "", "+", "#", "\x00", "x" * 70]
        return "/".join(self.random.choice(levels) for _ in range(self.random.randrange(8)))

    def request(self) -> dict[str, Any]:
        draw = self.random
        self.ids += 1
        body: dict[str, Any] = {"v": 1, "id": f"r{self.ids if draw.random() < 0.9 else draw.randrange(self.ids)}"}
        kind = draw.choices(("place", "replace", "cancel", "mass_cancel", "status", "heartbeat"), (50, 15, 15, 2, 3, 3))[0]
        body["type"] = kind
        if kind == "place":
            body |= {"interval_ms": draw.choice(STARTS), "direction": draw.choice(("export", "import"))}
            body |= {"side": draw.choice(("buy", "sell")), "time_in_force": draw.choice(("gate", "ioc", "fok"))}
        if kind in ("replace", "cancel"):
            body["order_id"] = f"r{max(1, self.ids - draw.randrange(200))}"
        if kind in ("place", "replace"):
            body |= {"quantity_w": 10 * draw.randrange(1, 300), "price_mct": 10 * draw.randrange(100, 120)}
        if draw.random() < 0.05:
            body["expires_ms"] = NOW + draw.choice((-1, 0, 1))
        return body

    def valid(self) -> bytes:
        return msgspec.json.encode(self.request())

    def bent(self) -> bytes:
        """A request in which one to three fields are not what they should be."""
        body = self.request()
        for _ in range(self.random.randrange(1, 4)):
            field = self.random.choice(list(body) or ["v"])
            move = self.random.randrange(4)
            if move == 0:
                body.pop(field, None)
            elif move == 1:
                body[self.random.choice(("customer", "area", "cause", "sequence", "", "v", "interval_ms"))] = body.get(field)
            else:
                body[field] = self.random.choice(EXTREMES)
        return msgspec.json.encode(body)

    def broken(self) -> bytes:
        """Bytes of a request, damaged on the way."""
        payload = bytearray(self.valid())
        move = self.random.randrange(5)
        place = self.random.randrange(len(payload))
        if move == 0:
            payload[place] ^= 1 << self.random.randrange(8)
        elif move == 1:
            del payload[place:]
        elif move == 2:
            payload += bytes(payload)
        elif move == 3:
            payload += b" " * self.random.randrange(6000)
        else:
            payload[place:place] = self.random.randbytes(self.random.randrange(20))
        return bytes(payload)

    def noise(self) -> bytes:
        return self.random.randbytes(self.random.randrange(200))

    def nested(self) -> bytes:
        depth = self.random.randrange(1, 4000)
        unit = self.random.choice((b"[", b'{"id":', b'"', b"1", b"-", b"\\u0000"))
        return unit * (depth // len(unit) + 1)


def digest(engine: Engine) -> bytes:
    return hashlib.sha256(dump(engine)).digest()


def opened() -> tuple[Engine, Session]:
    engine = Engine()
    session = Session(engine, SessionSettings(rate_per_s=2_000.0, burst=4_000, reserve=100))
    rows = Polytope.unlimited(2 * len(NAMES))
    terms = tuple(CustomerTerms(name, 10_000, 10_000, 1_000, 1_000) for name in NAMES)
    limits = (5_000,) * len(NAMES)
    opening = (OpenArea(AREA, SETTINGS, terms), InstallRows(AREA, rows.to_bytes()), Advance(NOW))
    intervals = tuple(OpenInterval(AREA, start, rows.content_hash, limits, limits) for start in STARTS)
    batch = run_batch(engine, 1, NOW, opening + intervals, b"")
    session.route(batch.commands, batch.events, NOW)
    return engine, session


def fuzz(payloads: int, seed: int, check: int) -> Counter[str]:
    """Raises on the first thing that should not happen; the counts say what did."""
    engine, session = opened()
    fuzzer, outcomes = Fuzzer(seed), Counter[str]()
    refused: list[tuple[str, bytes]] = []
    for number in range(1, payloads + 1):
        topic, payload = fuzzer.next()
        admitted = session.admit(topic, payload, NOW, number)
        if isinstance(admitted, list):
            refused.append((topic, payload))
            for message in admitted:
                assert message.topic == topic[: -len("req")] + "rsp", "an answer to someone else"
                outcomes[type(wire.decode_report(message.payload)).__name__] += 1
            outcomes["unanswered"] += not admitted
        else:
            batch = run_batch(engine, number, NOW, (admitted,), b"")
            for message in session.route(batch.commands, batch.events, NOW):
                assert len(message.payload) < 1 << 16
            outcomes[type(admitted).__name__.lower()] += 1
            outcomes["rejected by the engine"] += type(batch.events[0][0]).__name__ == "Rejected"
        if number % check == 0:
            unchanged(engine, session, refused)
            refused.clear()
    return outcomes


def unchanged(engine: Engine, session: Session, refused: list[tuple[str, bytes]]) -> None:
    """What was refused before is sent again: not a bit of the engine's state may differ afterwards."""
    before = digest(engine)
    for topic, payload in refused:
        request = wire.decode_request(payload)
        if isinstance(request, wire.Malformed) or topics.parse_request(topic) is None:
            assert isinstance(session.admit(topic, payload, NOW, 0), list)
    assert digest(engine) == before, "a refused payload changed the engine"
    session.mirror.check(engine)
    engine.check()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_payloads", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--payloads", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", type=int, default=10_000, help="payloads between two comparisons of the whole state")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    outcomes = fuzz(options.payloads, options.seed, options.check)
    seconds = time.perf_counter() - started
    rate = options.payloads / seconds
    print(f"{options.payloads} payloads, seed {options.seed}, {seconds:.1f} s ({rate:.0f}/s), no unexpected exception, no state changed")
    for outcome, count in outcomes.most_common():
        print(f"  {count:>9}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
