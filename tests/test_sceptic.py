"""Faults that random streams did not reach, each as the shortest story that shows it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import encode_events
from exchange.commands import AmendSettings, Command, InstallRows, OpenArea, OpenInterval, Place, Withhold
from exchange.engine import Engine
from exchange.events import Refused, Traded
from exchange.proposer import Proposer
from exchange.snapshot import dump
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.whole import Classes, settled

NAMES = ("ann", "ben", "cat", "dan", "eve")
LENGTH = 900_000
HELD = 5_000


def market(settings: MarketSettings, coefficient: int = 1, held_w: int = HELD) -> Engine:
    """Three intervals; the one row is full, and everybody's export takes as much of it."""
    engine, n = Engine(), len(NAMES)
    columns = np.array([[coefficient]] * n + [[0]] * n, dtype=np.int32)
    rows = Polytope(columns, held_w * coefficient * n, [RowLabel("thermal", "feeder", "abc")])
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 0, 0) for name in NAMES)
    intervals = [OpenInterval("lv", LENGTH * number, rows.content_hash, (held_w,) * n, (held_w,) * n) for number in (1, 2, 3)]
    opening: list[Command] = [OpenArea("lv", settings, terms), InstallRows("lv", rows.to_bytes()), *intervals]
    for command in opening:
        assert not any(isinstance(event, Refused) for event in engine.apply(command))
    return engine


def place(who: str, side: str, watts: int, price: int, interval: int = 1, **more: Any) -> Place:
    return Place("lv", who, f"{who}-{interval}", LENGTH * interval, "export", side, watts, price, **more)  # type: ignore[arg-type]


# --- what is only tried leaves no trace ---------------------------------------------------------------------------


def test_a_proposal_that_is_only_thought_of_does_not_make_a_block_order_be_tried_again() -> None:
    """The proposer is not in the journal: a block that it wakes would trade live and rest in replay. Its trial walk shows an iceberg's
    next part; the order itself is off the tick, so the engine changes nothing."""
    settings = MarketSettings(sweeps=True)
    live, proposer = market(settings), Proposer()
    commands: list[Command] = [
        place("ann", "sell", 100, 1_000, display_w=20),
        place("ben", "sell", 20, 30_000, 2),
        AmendSettings("lv", msgspec.structs.replace(settings, price_mct_max=20_000), "out of the block's reach"),
        place("eve", "buy", 10, 16_000, intervals=2),
        AmendSettings("lv", settings, "within it, but nobody looks"),
        place("cat", "buy", 50, 5_001),
        place("dan", "sell", 10, 1_000, 3),
    ]
    journal, events = [], []
    for command in commands:
        proposal = proposer.propose(live, command) if isinstance(command, Place) else None
        journal.append(proposal or command)
        events.append(encode_events(live.apply(journal[-1])))
    replayed = market(settings)
    assert [encode_events(replayed.apply(command)) for command in journal] == events
    assert dump(replayed) == dump(live)


# --- extremes -----------------------------------------------------------------------------------------------------


def test_purchases_of_the_operator_without_bounds_leave_orders_to_the_walk() -> None:
    """Twice all the watts that a number can name, at a steep row: a sum of changes that no 64 bits hold is no question for the solver."""
    engine = market(MarketSettings(matching="exchange_rate", sweeps=True), 2**31 - 1, 1_000)
    for name in ("first", "second"):
        engine.apply(Withhold("lv", name, LENGTH, "thermal", "feeder", "abc", "buy", 2_000_000_000, 1_000, "congestion"))
    order, proposer = place("ann", "sell", 100, 500), Proposer()
    assert proposer.propose(engine, order) is None
    assert proposer.indicative(engine, "lv", LENGTH) is not None
    assert any(isinstance(event, Traded) for event in engine.apply(order))
    engine.check()


def test_whole_watts_one_to_one_take_no_longer_for_more_of_them() -> None:
    """One watt is missing, and two rows break each other in turn, a watt at a time: as many turns as there are watts."""
    take = np.array([[1, 1], [0, 3], [1, 3], [1, 1], [0, 3]], dtype=np.int64)
    is_buy, group = np.array([True, True, True, False, False]), np.zeros(5, dtype=np.int64)
    many = 10**6
    wanted = np.array([837_699 * many - 0.06, 2_436_308 * many - 0.96, 1_985_035 * many + 0.9, 837_699 * many, 2_436_308 * many])
    residual = np.zeros(2, dtype=np.int64)
    total = settled(Classes(take, is_buy, np.full(5, 4_000_000 * many), group), wanted, residual)
    assert (np.where(is_buy, total, -total) @ take <= residual).all()
    assert total[is_buy].sum() == total[~is_buy].sum() > 10**12
