"""A market day on a network that binds, as commands and as a journal: what the tests of replay look at."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from exchange import node
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import (
    Advance,
    Cancel,
    ChangeRows,
    CloseGate,
    Command,
    InstallRows,
    MassCancel,
    OpenArea,
    OpenInterval,
    Place,
    Replace,
    RetireInterval,
    Withhold,
)  # fmt: skip
from riskcheck.polytope import Polytope, RowLabel
from tests.test_node import decide

HOMES = ("anna", "ben", "cleo", "dora")
LENGTH_MS, HOUR_MS = 900_000, 3_600_000
START_MS = 1_777_298_400_000  # 2026-04-27 14:00 UTC
LABELS = (RowLabel("thermal", "line 1", "a"), RowLabel("voltage_max", "bus 7", "b"))
ROWS = Polytope(np.array([[3, 1], [2, 4], [1, 2], [4, 1], [0, 2], [1, 0], [2, 1], [1, 1]], dtype=np.int32), 42_300, LABELS)
TIGHT = Polytope(ROWS.columns, 38_000, LABELS)
ALLOCATED = (3_000, 3_000, 3_000, 3_000)


def opening(**settings: object) -> list[Command]:
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 500, 500, 20_000, 50) for name in HOMES)
    return [OpenArea("lv", MarketSettings(**settings), terms), InstallRows("lv", ROWS.to_bytes())]  # type: ignore[arg-type]


def orders(seed: int, count: int = 40, intervals: int = 2) -> list[Command]:
    """Requests of all kinds for the intervals from START_MS on; some name orders that have gone, or want too much."""
    random, asked = Random(seed), []
    for number in range(count):
        who, start_ms = random.choice(HOMES), START_MS + LENGTH_MS * random.randrange(intervals)
        direction, side = random.choice(("export", "import")), random.choice(("buy", "sell"))
        price, watts = random.randrange(200, 900) * 10, random.randrange(2, 150) * 10
        extra = random.choice(({}, {}, {}, {"display_w": 80}, {"time_in_force": "ioc"}, {"time_in_force": "until", "until_ms": START_MS}))
        asked.append(Place("lv", who, f"o{number}", start_ms, direction, side, watts, price, **extra))  # type: ignore[arg-type]
        if number % 7 == 3:
            asked.append(Replace("lv", who, f"r{number}", f"o{number}", watts + 50, price + 100))
        if number % 9 == 5:
            asked.append(Cancel("lv", who, f"c{number}", f"o{number - 2}"))
    block = Place("lv", "ben", "block", START_MS, "export", "buy", 100, 9_000, intervals=intervals)
    return [*asked, block, MassCancel("lv", "dora", "m1"), MassCancel("lv", "cleo", "m2", START_MS, "disconnect")]


def day(seed: int = 1, *, operator: bool = True, **settings: object) -> list[Command]:
    """Two intervals; the first is closed, delivered and settled, the second still trades."""
    first, second = (OpenInterval("lv", START_MS + k * LENGTH_MS, ROWS.content_hash, ALLOCATED, ALLOCATED) for k in range(2))
    asked = orders(seed)
    limits = (2_500,) * 8
    lowered = [
        InstallRows("lv", TIGHT.to_bytes()),
        ChangeRows("lv", START_MS, TIGHT.content_hash, limits, "limits", "a hot day", (), (0,) * 7 + (50,)),
        Withhold("lv", "w1", START_MS + LENGTH_MS, *(LABELS[0].kind, LABELS[0].element, LABELS[0].phase), "sell", 200, 1_000, "reserve"),
    ]
    return [
        *opening(**settings), Advance(START_MS - HOUR_MS), first, second, *asked[:20], Advance(START_MS - HOUR_MS + 60_000), *asked[20:35],
        *(lowered if operator else []), Advance(START_MS - 600_000), *asked[35:], Advance(START_MS - 300_000), CloseGate(None, START_MS),
        Advance(START_MS + LENGTH_MS), RetireInterval("lv", START_MS),
    ]  # fmt: skip


def record(path: Path, commands: list[Command], batch: int = 9) -> Path:
    """A journal of these commands in batches of so many, however slow the machine; a snapshot after each run of the node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "DECIDING_S_MAX", float("inf"))
        for start in range(0, len(commands), batch):
            decide(path, commands[start : start + batch])
    return path
