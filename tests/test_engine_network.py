"""Matching under network rows, with numbers derived by hand.

Three homes on one phase of a feeder: alice near the transformer, bob in the middle, carol at the far end. All slacks are 40,000.

    row            per exported watt            at 5,000 W each           left
    far end        1 alice  2 bob  4 carol      5,000 * 7 = 35,000        5,000
    transformer    2        2      2            5,000 * 6 = 30,000       10,000
    neutral        1 bob exported and 4 alice imported                   15,000

So alice -> carol takes 3 per watt of the far end: 5,000 / 3 = 1,666 W, of which 1,660 W are whole lots of 10 W.
   alice -> bob takes 1 per watt of the far end and 1 of the neutral: 5,000 W; bob -> carol takes 2: 2,500 W.
   Whoever buys nearer than the seller takes nothing of the far end and gives something back.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange.events import Blocked, Traded
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, OPEN, SETTINGS, Market

SLACK = 40_000
LABELS = [RowLabel("voltage_max", "far-end", "a"), RowLabel("thermal", "transformer", "abc"), RowLabel("voltage_min", "neutral", "n")]
#               alice      bob        carol      imports: alice, bob, carol
COLUMNS = [[1, 2, 0], [2, 2, 1], [4, 2, 0], [0, 0, 4], [0, 0, 0], [0, 0, 0]]


def feeder(columns: list[list[int]] = COLUMNS, labels: list[RowLabel] = LABELS) -> Polytope:
    return Polytope(np.array(columns, dtype=np.int32), SLACK, labels)


RULES = {
    "the largest secure part trades, in whole lots, and both owners learn the row": """
        place A1 alice sell 4000 @ 10000      rested 4000
        place C1 carol buy 2000 @ 10000       traded 1660 @ 10000 maker A1; blocked C1 1660 of 2000 by far-end
            ; blocked A1 0 of 2340 by far-end; rested 340
        asks                                  10000: A1 2340
        bids                                  10000: C1 340
        """,
    "a blocked candidate is skipped and stays: the next one trades": """
        place A1 alice sell 4000 @ 10000      rested 4000
        place C1 carol buy 1660 @ 10000       traded 1660 @ 10000 maker A1
        place B1 bob sell 2000 @ 10000        rested 2000
        place C2 carol buy 100 @ 10000        traded 10 @ 10000 maker B1; blocked C2 10 of 100 by far-end
            ; blocked A1 0 of 2340 by far-end; rested 90
        asks                                  10000: A1 2340, B1 1990
        """,
    "who buys nearer than the seller frees headroom, and is never blocked": """
        place C1 carol sell 4000 @ 10000      rested 4000
        place A1 alice buy 4000 @ 10000       traded 4000 @ 10000 maker C1
        place A2 alice sell 4000 @ 10000      rested 4000
        place C2 carol buy 4000 @ 10000       traded 4000 @ 10000 maker A2
        """,
    "headroom freed by one trade is there for the next, in the same walk": """
        place A1 alice sell 1660 @ 10000      rested 1660
        place C1 carol buy 1660 @ 10000       traded 1660 @ 10000 maker A1
        place C2 carol buy 300 @ 10000        rested 300
        place B1 bob sell 300 @ 10000 fok     blocked B1 10 of 300 by far-end; cancelled B1 300 fok
        place A2 alice buy 1000 @ 10010       rested 1000
        place B2 bob sell 1300 @ 10000 fok    traded 1000 @ 10010 maker A2; traded 300 @ 10000 maker C2
        """,
    "the incoming order and the best that it crosses are told, each when the row is news to it": """
        place A1 alice sell 1660 @ 10000      rested 1660
        place C1 carol buy 1660 @ 10000       traded 1660 @ 10000 maker A1
        place A2 alice sell 500 @ 10000       rested 500
        place A3 alice sell 500 @ 10010       rested 500
        place C2 carol buy 100 @ 10010        blocked C2 0 of 100 by far-end; blocked A2 0 of 500 by far-end; rested 100
        place C3 carol buy 100 @ 10010        blocked C3 0 of 100 by far-end; rested 100
        replace r1 carol C2 to 200 @ 10010    replaced 200 of 200 lost; rested 200
        """,
    "an IOC order that the network blocks is cancelled, and knows why": """
        place A1 alice sell 4000 @ 10000      rested 4000
        place C1 carol buy 2000 @ 10000 ioc   traded 1660 @ 10000 maker A1; blocked C1 1660 of 2000 by far-end
            ; blocked A1 0 of 2340 by far-end; cancelled C1 340 ioc
        """,
    "a FOK order that the network cuts short is killed, knows why, and nobody else is told": """
        place A1 alice sell 4000 @ 10000      rested 4000
        place C1 carol buy 1670 @ 10000 fok   blocked C1 1660 of 1670 by far-end; cancelled C1 1670 fok
        place C2 carol buy 1660 @ 10000 fok   traded 1660 @ 10000 maker A1
        asks                                  10000: A1 2340
        """,
    "an order goes round a blocked candidate, and comes back to it when a trade has freed headroom": """
        place A1 alice sell 1660 @ 10000      rested 1660
        place C1 carol buy 1660 @ 10000       traded 1660 @ 10000 maker A1
        place A2 alice sell 100 @ 10000       rested 100
        place C2 carol sell 100 @ 10010       rested 100
        place B1 bob buy 210 @ 10010 fok      cancelled B1 210 fok
        place B2 bob buy 130 @ 10010 fok      traded 20 @ 10000 maker A2; traded 100 @ 10010 maker C2
            ; traded 10 @ 10000 maker A2
        """,
    "a row couples both directions: imports bought leave less for exports": """
        place B1 bob sell 3750 @ 10000 import     rested 3750
        place A1 alice buy 3760 @ 10000 import    traded 3750 @ 10000 maker B1; rested 10
        place C1 carol sell 500 @ 10000 import    blocked C1 0 of 500 by neutral; blocked A1 0 of 10 by neutral; rested 500
        place A2 alice sell 100 @ 10000           rested 100
        place B2 bob buy 100 @ 10000              blocked B2 0 of 100 by neutral; blocked A2 0 of 100 by neutral; rested 100
        """,
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    Market(feeder()).play(RULES[rule])


def residual(market: Market) -> list[int]:
    return market.engine.areas[AREA].intervals[OPEN].headroom.residual.tolist()


def test_the_numbers_at_the_top_of_this_file() -> None:
    market = Market(feeder())
    assert residual(market) == [5_000, 10_000, 15_000]
    market.play("""
        place A1 alice sell 4000 @ 10000      rested 4000
        place C1 carol buy 1000 @ 10000       traded 1000 @ 10000 maker A1
        """)
    assert residual(market) == [2_000, 10_000, 15_000]


def test_the_blocked_event_names_kind_element_and_phase() -> None:
    market = Market(feeder())
    market.play("place A1 alice sell 4000 @ 10000      rested 4000")
    events = market.do(c.Place(AREA, "carol", "C1", OPEN, "export", "buy", 2_000, 10_000))
    told = [(event.customer, event.kind, event.element, event.phase) for event in events if isinstance(event, Blocked)]
    assert told == [("carol", "voltage_max", "far-end", "a"), ("alice", "voltage_max", "far-end", "a")]


def test_a_killed_fok_order_leaves_everything_bit_for_bit_as_it_was() -> None:
    market = Market(feeder())
    market.play("""
        place A1 alice sell 900 @ 10000       rested 900
        place B1 bob sell 900 @ 10010         rested 900
        place A2 alice sell 2000 @ 10020      rested 2000
        """)

    def state() -> tuple[object, ...]:
        engine = market.engine
        asks = engine.queue(AREA, OPEN, "export", "sell")
        return residual(market), engine.holdings(AREA, OPEN), engine.cash(AREA), asks, engine.open_orders(AREA, "carol")

    # 900 * 3 of the far end, then 900 * 2: 500 are left, 166 W of the last 200.
    before = state()
    market.play("place C1 carol buy 2000 @ 10020 fok   blocked C1 1960 of 2000 by far-end; cancelled C1 2000 fok")
    assert state() == before
    market.play("""
        place C2 carol buy 1960 @ 10020 fok   traded 900 @ 10000 maker A1; traded 900 @ 10010 maker B1; traded 160 @ 10020 maker A2
        """)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_no_row_overrules_another_whatever_their_order(order: tuple[int, ...]) -> None:
    """A published prototype lets the last corner's verdict overwrite the first's."""
    rows = feeder([[column[row] for row in order] for column in COLUMNS], [LABELS[row] for row in order])
    Market(rows).play(RULES["the largest secure part trades, in whole lots, and both owners learn the row"])


@pytest.mark.parametrize(("lot_w", "secure_w"), [(1, 3), (2, 2), (3, 3), (4, 0), (10, 0)])
def test_a_quantity_is_never_shrunk_and_then_executed_unchecked(lot_w: int, secure_w: int) -> None:
    """A published prototype halves five times and then executes whatever it has: here 1 / 1,024 of the order is secure, or nothing."""
    one_watt_takes = [[0, 0, 0], [0, 0, 0], [1_250, 0, 0], *[[0, 0, 0]] * 3]
    rows = Polytope(np.array(one_watt_takes, dtype=np.int32), 1_250 * 5_003, LABELS)
    market = Market(rows, msgspec.structs.replace(SETTINGS, lot_w=lot_w))
    wanted_w = 3_072 // lot_w * lot_w
    market.do(c.Place(AREA, "alice", "A1", OPEN, "export", "sell", wanted_w, 10_000))
    events = market.do(c.Place(AREA, "carol", "C1", OPEN, "export", "buy", wanted_w, 10_000))
    assert sum(event.legs[0].change_w for event in events if isinstance(event, Traded)) == secure_w
    assert [(event.customer, event.secure_w) for event in events if isinstance(event, Blocked)] == [("carol", secure_w), ("alice", 0)]


def test_an_allocation_that_is_secure_at_both_joint_corners_only_is_refused() -> None:
    """A ring of three buses with equal reactances carries (p1 - p2) / 3 on line 1-2, rated 0.5. With boxes of +-1 at buses 1
    and 2 both joint corners give 0, but the corner (+1, -1) gives 2/3: the row is (export 1 + import 2) / 3 <= 0.5."""
    columns = np.array([[2, 0], [0, 2], [0, 2], [2, 0]], dtype=np.int32)  # exports 1, 2, imports 1, 2; in sixths of 1,000 W
    rows = Polytope(columns, 3 * 5_000, [RowLabel("thermal", "line 1-2", "abc"), RowLabel("thermal", "line 2-1", "abc")])
    with pytest.raises(AssertionError, match="breaks overload of line 1-2"):
        Market(rows, terms=Market().terms[:2])
    half = Polytope(columns, 4 * 5_000, rows.labels)
    Market(half, terms=Market().terms[:2])
