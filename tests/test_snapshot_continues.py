"""A state that came back from bytes goes on exactly as the one that was never written: the same events, whatever is asked of it.

Random markets with everything in them: auctions, icebergs, block orders, the operator's headroom, halts of books, suspensions, time.
"""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange.bounds import MarketSettings
from exchange.engine import Engine
from exchange.snapshot import dump, load
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, CUSTOMERS, terms_of

LENGTH = 900_000
STARTS = tuple(LENGTH * number for number in (1, 2, 3))
LABELS = [RowLabel("voltage_max", "far-end", "a"), RowLabel("thermal", "transformer", "abc")]
COLUMNS = np.array([[1, 2], [2, 2], [4, 2], [0, 1], [1, 0], [1, 1]], dtype=np.int32)
ROWS = tuple(Polytope(COLUMNS, slack, LABELS) for slack in (45_500, 46_500))  # 45,000 are taken at first
ALLOCATION = (5_000, 5_000, 5_000)
DIRECTIONS: tuple[c.Direction, ...] = ("export", "import")


class Stream:
    """Commands that are mostly accepted; `named` are the orders placed so far, `owed` what takes a halt and the like back soon."""

    def __init__(self, seed: int, settings: MarketSettings) -> None:
        self.chance = random.Random(seed)
        self.settings = settings
        self.number = 0
        self.now_ms = 0
        self.named: list[tuple[str, str]] = []
        self.owed: list[c.Command] = []

    def opening(self) -> list[c.Command]:
        rows = [c.InstallRows(AREA, each.to_bytes()) for each in ROWS]
        phases: tuple[c.Phase, ...] = ("continuous", "continuous", "auction")
        intervals = [
            c.OpenInterval(AREA, start, ROWS[0].content_hash, ALLOCATION, ALLOCATION, phase)  # type: ignore[arg-type]
            for start, phase in zip(STARTS, phases, strict=True)
        ]
        return [c.OpenArea(AREA, self.settings, terms_of(*CUSTOMERS)), *rows, *intervals]

    def next(self) -> c.Command:
        self.number += 1
        if self.owed and self.chance.random() < 0.25:
            return self.owed.pop()
        kind = self.chance.choices((self.place, self.withdraw, self.stop, self.operate, self.withhold), (16, 4, 1, 2, 2))[0]
        return kind()

    def place(self) -> c.Command:
        pick, quantity_w = self.chance.choice, 10 * self.chance.randint(1, 120)
        name, customer = f"o{self.number}", pick(CUSTOMERS)
        self.named.append((customer, name))
        side: c.Side = pick(("buy", "sell"))
        price_mct = 10 * self.chance.randint(880, 920) + (20 if side == "buy" else -20)
        force: c.TimeInForce = pick(("gate", "gate", "gate", "ioc", "fok", "until"))
        display_w = pick((0, 0, 50)) if quantity_w >= 50 else 0
        intervals = 2 if display_w == 0 and pick((0, 0, 0, 1)) else 1
        return c.Place(
            AREA, customer, name, pick(STARTS), pick(DIRECTIONS), side, quantity_w, price_mct, force, self.now_ms + 50, display_w, intervals
        )  # fmt: skip

    def withdraw(self) -> c.Command:
        pick, name = self.chance.choice, f"x{self.number}"
        customer, order = pick(self.named or [("alice", "none")])
        quantity_w, price_mct = 10 * self.chance.randint(0, 120), 10 * self.chance.randint(880, 920)
        return pick((
            c.Cancel(AREA, customer, name, order), c.Replace(AREA, customer, name, order, quantity_w, price_mct),
            c.Replace(AREA, customer, name, order, quantity_w, price_mct), c.MassCancel(AREA, customer, name, pick(STARTS)),
        ))  # fmt: skip

    def stop(self) -> c.Command:
        pick, start, direction = self.chance.choice, self.chance.choice(STARTS), self.chance.choice((None, *DIRECTIONS))
        who = pick((*CUSTOMERS, None))
        phase: c.Phase = pick(("frozen", "auction"))
        uncross = c.Uncross(AREA, start, pick(ROWS).content_hash, (), True)
        halt, resume = c.Halt(AREA, start, "storm", direction), c.Resume(AREA, start, "calm", direction)
        suspend, reinstate = c.Suspend(AREA, who, "fraud"), c.Reinstate(AREA, who, "cleared")
        freeze, thaw = c.EnterPhase(AREA, start, phase, "plan"), c.EnterPhase(AREA, start, "continuous", "plan")
        stopping, owed = pick(((halt, resume), (suspend, reinstate), (freeze, thaw)))
        self.owed += [uncross, owed]
        return stopping

    def operate(self) -> c.Command:
        pick, start, who = self.chance.choice, self.chance.choice(STARTS), self.chance.choice(CUSTOMERS)
        self.now_ms += self.chance.randint(0, 20)
        limit_w = tuple(self.chance.randint(4_500, 5_200) for _ in range(6))
        bounds = {"collar_mct": pick((0, 500)), "pause_mct": pick((0, 100)), "price_mct_max": pick((9_100, 100_000))}
        return pick((
            c.Advance(self.now_ms), c.AmendTerms(AREA, who, 20_000, self.chance.randint(10, 30), "review"),
            c.AmendSettings(AREA, msgspec.structs.replace(self.settings, **bounds), "review"),
            c.ChangeRows(AREA, start, pick(ROWS).content_hash, limit_w, "refresh", "", raise_w=(0, 10, 0, 0, 0, 20)),
            c.Uncross(AREA, start, pick(ROWS).content_hash, (), True),
        ))  # fmt: skip

    def withhold(self) -> c.Command:
        pick, start, name = self.chance.choice, self.chance.choice(STARTS), f"w{self.chance.randint(0, 5)}"
        label = pick(LABELS)
        side: c.Side = pick(("buy", "sell"))
        price_mct = 10 * self.chance.randint(880, 920)
        return pick((
            c.Withhold(AREA, name, start, label.kind, label.element, label.phase, side, 100, price_mct, "reserve"),
            c.Release(AREA, name, start, "done"),
        ))  # fmt: skip


@pytest.mark.parametrize("matching", ["one_to_one", "exchange_rate"])
@pytest.mark.parametrize("seed", range(3))
def test_a_state_that_came_back_goes_on_as_the_one_that_was_never_written(seed: int, matching: str) -> None:
    stream = Stream(seed, MarketSettings(matching=matching, call_auctions=bool(seed % 2), requests_free=bool(seed % 2) * 200))
    straight, met = Engine(), Counter[str]()
    for command in stream.opening():
        straight.apply(command)
    again = load(dump(straight))
    for number in range(400):
        command = stream.next()
        events = straight.apply(command)
        assert again.apply(command) == events
        met.update(type(event).__name__ for event in events)
        if number % 10 == 0:
            raw = dump(straight)
            again = load(raw)
            assert dump(again) == raw
    straight.check()
    assert {"Traded", "Withheld", "Released", "PhaseEntered", "Shown", "Raised", "Suspended", "Uncrossed"} <= met.keys()
    for start in STARTS:
        straight.apply(c.CloseGate(None, start))
        straight.apply(c.RetireInterval(AREA, start))
    assert (straight.expiries, straight.areas[AREA].blocks, straight.areas[AREA].intervals) == ([], [], {})
    assert sum(straight.areas[AREA].settled_mct) == 0
