"""What a home is shown of the market is what it then gets: left-over headroom first, then the others, at the price of its own watts."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange import events as e
from exchange.view import Offer
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, OPEN, SETTINGS, Market

AT_RATES = msgspec.structs.replace(SETTINGS, matching="exchange_rate")


def market(room: int) -> Market:
    """Alice takes 1 of the row for an exported watt, bob 2; 5,000 W each. So a watt of alice's costs half of bob's."""
    columns = np.array([[1], [2], [0], [0], [0], [0]], dtype=np.int32)
    made = Market(Polytope(columns, 15_000 + room, [RowLabel("thermal", "line", "a")]), AT_RATES)
    made.play("""
        place S1 bob sell 100 @ 1600                  rested 100
        place S2 bob sell 100 @ 1200                  rested 100
        """)
    return made


@pytest.mark.parametrize(("room", "left_over_w"), [(0, 0), (9, 0), (10, 10), (1_009, 1_000)])
def test_offers_are_for_what_is_wanted_beyond_what_is_left_over(room: int, left_over_w: int) -> None:
    """Of each line the first order is shown."""
    made = market(room)
    view = made.engine.local_view(AREA, OPEN, "alice", "export")
    assert view.left_over_w == left_over_w
    assert view.offers == [Offer(600, 200, "export")]
    told = made.do(c.Place(AREA, "alice", "B1", OPEN, "export", "buy", left_over_w + 200, 700))
    legs = [event.legs[0] for event in told if isinstance(event, e.Traded)]
    assert [(leg.price_mct, leg.change_w) for leg in legs] == [(0, left_over_w)] * (left_over_w > 0) + [(600, 200)]


def test_one_to_one_nothing_is_left_over_and_each_is_at_its_own_price() -> None:
    made = market(1_000)
    plain = Market(made.rows, SETTINGS)
    plain.play("place S1 bob sell 100 @ 1600                  rested 100")
    view = plain.engine.local_view(AREA, OPEN, "alice", "export")
    assert (view.left_over_w, view.offers) == (0, [Offer(1600, 100, "export")])


def test_own_orders_are_nobody_to_trade_with() -> None:
    view = market(0).engine.local_view(AREA, OPEN, "bob", "export")
    assert view.offers == []
