"""A noisy market in small, for what is made of events: three customers, rows that bind, every kind of command at random.

Nothing is checked here; most commands are sensible, and some are refused. The independent model has its own streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.engine import Engine
from riskcheck.polytope import Polytope, RowLabel

AREA = "lv"
NAMES = ("ann", "ben", "cas")
LENGTH_MS = 900_000
STARTS = tuple(LENGTH_MS * n for n in range(1, 5))
ALLOCATION_W = 3000
CAPS = np.full(6, 20_000)
LABELS = [RowLabel("voltage_max", "bus 1", "a"), RowLabel("thermal", "line 1", ""), RowLabel("voltage_min", "bus 2", "b")]
ROWS = Polytope.from_rows([[1, 2, 3, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 3, 2, 1]], [18_010, 18_010, 18_500], LABELS, CAPS)
WIDE = Polytope.from_rows([[1, 2, 3, 0, 0, 0], [0, 0, 0, 3, 2, 1]], [40_000, 40_000], [LABELS[0], LABELS[2]], CAPS)


def opening(matching: str) -> list[c.Command]:
    settings = MarketSettings(interval_ms=LENGTH_MS, matching=matching, self_trade="cancel_incoming")
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 500, 500) for name in NAMES)
    allocation = (ALLOCATION_W,) * len(NAMES)
    rows: list[c.Command] = [c.InstallRows(AREA, WIDE.to_bytes()), c.InstallRows(AREA, ROWS.to_bytes())]
    intervals = [c.OpenInterval(AREA, start, ROWS.content_hash, allocation, allocation) for start in STARTS]
    return [c.OpenArea(AREA, settings, terms), *rows, c.Advance(0), *intervals]


class Noise:
    """Commands without end; `engine` is read to name orders and rows that are there."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._random = Random(seed)
        self._numbered = 0

    def __iter__(self) -> Iterator[c.Command]:
        while True:
            yield self._next()

    def _id(self) -> str:
        self._numbered += 1
        return f"r{self._numbered}"

    def _next(self) -> c.Command:
        dice, who, at = self._random.random(), self._random.choice(NAMES), self._random.choice(STARTS)
        if dice < 0.62:
            return self._place(who, at)
        if dice < 0.74:
            return c.Replace(AREA, who, self._id(), self._order(who), self._watts(), self._price())
        if dice < 0.84:
            return c.Cancel(AREA, who, self._id(), self._order(who))
        return self._operation(who, at)

    def _watts(self) -> int:
        return self._random.randrange(1, 80) * 10

    def _price(self) -> int:
        return self._random.randrange(1, 40) * 10

    def _place(self, who: str, at: int) -> c.Place:
        direction, side = self._random.choice(("export", "import")), self._random.choice(("buy", "sell"))
        time_in_force = self._random.choice(("gate",) * 6 + ("ioc", "fok"))
        watts, intervals = self._watts(), self._random.choice((1,) * 9 + (2,))
        display_w = self._random.choice((0, 0, 0, min(50, watts))) if intervals == 1 else 0
        return c.Place(
            AREA, who, self._id(), at, direction, side, watts, self._price(), time_in_force, 0, display_w, intervals
        )  # fmt: skip

    def _order(self, who: str) -> str:
        orders = self._engine.open_orders(AREA, who)
        return self._random.choice(orders).order_id if orders else "none"

    def _operation(self, who: str, at: int) -> c.Command:
        random, rows_hash = self._random, self._engine.areas[AREA].intervals[at].rows_hash
        phase = self._engine.phases(AREA)[at]
        if phase == "auction":
            return c.Uncross(AREA, at, rows_hash, (), True)
        if phase == "frozen":
            return c.EnterPhase(AREA, at, random.choice(("auction", "continuous")), "noise")
        if self._engine.halts:
            area, interval_ms, direction = next(iter(self._engine.halts))
            return c.Resume(area, interval_ms, "noise", direction)
        if self._engine.areas[AREA].suspended:
            return c.Reinstate(AREA, next(iter(self._engine.areas[AREA].suspended)), "noise")
        return random.choice((
            c.EnterPhase(AREA, at, random.choice(("auction", "frozen")), "noise"),
            c.Halt(AREA, at, "noise", random.choice((None, "export", "import"))),
            c.Suspend(AREA, who, "noise"),
            self._withhold(at),
            c.Release(AREA, f"r{random.randrange(self._numbered + 1)}", at, "noise"),
            c.ChangeRows(AREA, at, random.choice((WIDE, ROWS)).content_hash, (ALLOCATION_W,) * 6, "limits", "noise"),
            c.MassCancel(AREA, who, self._id()), c.AmendTerms(AREA, who, 50_000, 100, "noise"),
        ))  # fmt: skip

    def _withhold(self, at: int) -> c.Withhold:
        row, side = self._random.choice(LABELS), self._random.choice(("buy", "sell"))
        return c.Withhold(AREA, self._id(), at, row.kind, row.element, row.phase, side, self._watts(), self._price(), "noise")
