"""A small busy market to crash in: rows that bind, orders that cross, sweeps, icebergs and blocks, an operator with a hand in it.

The same for the same seed. Every second market is matched one to one, the others at exchange rates; the node asks the solver in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import (
    Cancel,
    CloseGate,
    Command,
    Halt,
    InstallRows,
    MassCancel,
    OpenArea,
    OpenInterval,
    Place,
    Release,
    Replace,
    Resume,
    RetireInterval,
    Withhold,
)  # fmt: skip
from riskcheck.polytope import Polytope, RowLabel

AREA, HOMES, HELD_W, STEP_MS, LIVE = "crash", 6, 1_400, 900_000, 3
LABELS = [RowLabel("thermal", "line 1", "a"), RowLabel("thermal", "line 2", "b"), RowLabel("voltage_max", "bus 7", "c")]


class CrashMarket:
    """Commands without an end; `orders` are what customers ask of intervals that are open, each under an id of its own."""

    def __init__(self, seed: int, lives_ms: int = STEP_MS) -> None:
        self.random = Random(seed)
        self.now_ms, self.lives_ms = 0, lives_ms
        matching = ("exchange_rate", "one_to_one")[seed % 2]
        self.settings = MarketSettings(lot_w=10, tick_mct=1, price_mct_max=3_000, matching=matching, sweeps=True)
        self.rows = self._rows(seed)
        self.starts = [STEP_MS * number for number in range(LIVE)]
        self.placed: list[tuple[str, str]] = []
        self.ids = 0

    def _rows(self, seed: int) -> Polytope:
        """Full but for a little: what one home buys, another has to sell."""
        takes = np.random.default_rng(seed).uniform(0.2, 2.0, size=(len(LABELS), 2 * HOMES))
        return Polytope.from_rows(takes, takes.sum(axis=1) * HELD_W * 1.02, LABELS, [10_000] * (2 * HOMES))

    def opening(self) -> list[Command]:
        terms = tuple(CustomerTerms(f"home{number}", 10_000, 10_000, 200, 100, 5_000, 60) for number in range(HOMES))
        opened: list[Command] = [OpenArea(AREA, self.settings, terms), InstallRows(AREA, self.rows.to_bytes())]
        return opened + [self._open(start) for start in self.starts]

    def _open(self, start_ms: int) -> OpenInterval:
        return OpenInterval(AREA, start_ms, self.rows.content_hash, (HELD_W,) * HOMES, (HELD_W,) * HOMES)

    def move_on(self) -> list[Command]:
        """The oldest interval ends, a new one begins."""
        oldest, newest = self.starts.pop(0), self.starts[-1] + STEP_MS
        self.starts.append(newest)
        return [CloseGate(AREA, oldest), RetireInterval(AREA, oldest), self._open(newest)]

    def orders(self) -> Iterator[Command]:
        while True:
            yield self._order()

    def _order(self) -> Command:
        random, draw = self.random, self.random.random()
        self.ids += 1
        name, start_ms, customer = f"r{self.ids}", random.choice(self.starts), f"home{random.randrange(HOMES)}"
        if draw < 0.7 or not self.placed:
            self.placed = [*self.placed[-50:], (customer, name)]
            return self._place(customer, name, start_ms)
        owner, order_id = random.choice(self.placed)
        if draw < 0.82:
            return Replace(AREA, owner, name, order_id, 10 * random.randrange(100), random.randrange(1_000, 2_000))
        if draw < 0.93:
            return Cancel(AREA, owner, name, order_id)
        if draw < 0.94:
            return MassCancel(AREA, customer, name, start_ms)
        return self._operator(start_ms)

    def _place(self, customer: str, name: str, start_ms: int) -> Place:
        random = self.random
        side, quantity_w = random.choice(("buy", "sell")), 10 * random.randrange(1, 60)
        force = random.choices(("gate", "until", "ioc", "fok"), (7, 1, 1, 1))[0]
        until_ms = self.now_ms + random.randrange(1, self.lives_ms)
        display_w, intervals = (30, 1) if random.random() < 0.1 else (0, 2 if random.random() < 0.05 else 1)
        start_ms = self.starts[0] if intervals > 1 else start_ms
        price = random.randrange(1_000, 2_000)
        book = random.choice(("export", "import"))
        return Place(AREA, customer, name, start_ms, book, side, quantity_w, price, force, until_ms, display_w, intervals)  # type: ignore[arg-type]

    def _operator(self, start_ms: int) -> Command:
        random, label = self.random, self.random.choice(LABELS)
        name = f"w{random.randrange(20)}"
        side, quantity_w, price = random.choice(("buy", "sell")), 10 * random.randrange(1, 30), random.randrange(500, 1_500)
        wanted = Withhold(AREA, name, start_ms, label.kind, label.element, label.phase, side, quantity_w, price, "crash")  # type: ignore[arg-type]
        resumed = [Resume(AREA, start, "calm") for start in self.starts for _ in range(3)]
        choices: list[Command] = [Halt(AREA, start_ms, "crash"), Release(AREA, name, start_ms, "crash"), wanted, *resumed]
        return random.choice(choices)
