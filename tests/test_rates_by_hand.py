"""Matching at exchange rates, each rule of docs/market.md with numbers derived by hand: engine and naive model both have to tell them.

One feeder, 1 per exported watt of alice, 2 of bob, 4 of carol, nothing for imports. At 5,000 W each 35,000 are used. Lots are 10 W, so
the row is tight for alice below 10, for bob below 20, for carol below 40.

    carol from alice   4 W for 1 W      alice from carol   1 W for 4 W      bob from alice   2 W for 1 W      bob from carol   1 W for 2 W
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange.bounds import MarketSettings
from exchange.events import Event
from riskcheck.polytope import Polytope, RowLabel
from tests.model import Model
from tests.model_invariant import violations
from tests.model_views import without_details
from tests.rulebook import AREA, OPEN, SETTINGS, Market

AT_RATES = msgspec.structs.replace(SETTINGS, matching="exchange_rate")


class Both(Market):
    """Every command to the engine and to the model."""

    def __init__(self, left: int, takes: tuple[int, int, int] = (1, 2, 4), settings: MarketSettings = AT_RATES) -> None:
        self.model = Model()
        columns = np.array([[take] for take in (*takes, 0, 0, 0)], dtype=np.int32)
        super().__init__(Polytope(columns, 5_000 * sum(takes) + left, [RowLabel("thermal", "feeder", "abc")]), settings)

    def do(self, command: c.Command) -> list[Event]:
        events = super().do(command)
        assert without_details(events) == without_details(self.model.apply(command))
        assert violations(self.model) == []
        return events


FULL = {
    "carol's watt needs four of alice's, and her limit must pay for four": """
        place A1 alice sell 400 @ 1000                rested 400
        place C1 carol buy 50 @ 3990 ioc              blocked C1 0 of 50 by feeder; blocked A1 0 of 400 by feeder; cancelled C1 50 ioc
        place C2 carol buy 100 @ 4000                 traded 400 for 100 @ 1000 maker A1
        holding carol                                 export 5100 import 5000
        cash                                          alice +100 carol -100
        """,
    "who is nearer gets four watts for one": """
        place C1 carol sell 50 @ 1000                 rested 50
        place A1 alice buy 240 @ 240                  rested 240
        place A2 alice buy 100 @ 290                  rested 100
        place A3 alice buy 100 @ 300                  traded 25 for 100 @ 1000 maker C1
        asks                                          1000: C1 25
        """,
    "the least effective price goes first, not the least price": """
        place A1 alice sell 100 @ 1000                rested 100
        place C1 carol sell 100 @ 3000                rested 100
        place B1 bob buy 100 @ 2000                   traded 50 for 100 @ 3000 maker C1
        place B2 bob buy 120 @ 2000                   traded 50 for 100 @ 3000 maker C1; traded 40 for 20 @ 1000 maker A1
        """,
    "a sale goes to the purchase that pays most for its watt": """
        place B1 bob buy 100 @ 2000                   rested 100
        place C1 carol buy 100 @ 3000                 rested 100
        place A1 alice sell 300 @ 500                 traded 100 for 200 @ 2000 maker B1; traded 25 for 100 @ 3000 maker C1
        """,
    "a sale pays for the last watt's rounding itself, and the rest of less than a lot goes": """
        place C1 carol sell 10 @ 1000                 rested 10
        place A1 alice buy 30 @ 300                   traded 8 for 30 @ 1000 maker C1; cancelled C1 2 remainder
        """,
    "an iceberg trades part by part, and each part goes to the end of its price": """
        place A1 alice sell 300 @ 1000 show 100       rested 300
        place A2 alice sell 100 @ 1000                rested 100
        place C1 carol buy 80 @ 4000                  traded 100 for 25 @ 1000 maker A1; shown A1 100; traded 100 for 25 @ 1000 maker A2
            ; traded 100 for 25 @ 1000 maker A1; shown A1 100; traded 20 for 5 @ 1000 maker A1
        asks                                          1000: A1 80
        """,
    "imports take nothing of the row, so they come for nothing and their seller blocks it": """
        place B1 bob sell 100 @ 1000 import           rested 100
        place A1 alice buy 100 @ 2000                 blocked A1 0 of 100 by feeder; blocked B1 0 of 100 by feeder; rested 100
        place C1 carol buy 200 @ 2000 import          took 200 left over
        """,
    "orders of one customer pass each other": """
        place A1 alice sell 100 @ 1000                rested 100
        place A2 alice buy 100 @ 2000                 rested 100
        """,
    "an auction collects, and what it does not settle trades afterwards": """
        enter auction                                 auction
        place A1 alice sell 400 @ 1000                rested 400
        place C1 carol buy 100 @ 4000                 rested 100
        place C2 carol buy 100 @ 9000 ioc             rejected in_auction
        enter continuous                              refused wrong_phase
        enter frozen                                  frozen
        place B1 bob buy 10 @ 10                      rejected halted
        cancel x1 alice A1                            cancelled A1 400 request
        enter continuous                              continuous
        place A2 alice sell 400 @ 1000                traded 100 for 400 @ 4000 maker C1
        """,
}
ROOMY = {
    "what nobody holds costs nothing, in whole lots, until the row is tight": """
        place A1 alice buy 100 @ 10                   took 100 left over
        place C1 carol buy 300 @ 10                   took 220 left over; rested 80
        cash
        """,
    "headroom that the operator withholds has a price": """
        withhold W1 thermal/feeder/abc sell 300 @ 5000    withheld 250
        place C1 carol buy 100 @ 4990                 rested 100
        place C2 carol buy 100 @ 5000                 traded 100 @ 5000 maker W1
        place A1 alice buy 100 @ 1500                 traded 25 for 100 @ 5000 maker W1
        release W1                                    released W1 125 and 125; took 100 left over
        cash                                          alice -31 carol -125
        """,
    "the operator buys headroom back": """
        place A1 alice buy 1000 @ 10                  took 1000 left over
        place B1 bob sell 200 @ 1000                  rested 200
        withhold W1 thermal/feeder/abc buy 50 @ 2000  withheld 0; traded 100 for 50 @ 1000 maker B1
        withhold W2 thermal/feeder/abc buy 60 @ 1990  withheld 0; blocked W2 0 of 60 by feeder; blocked B1 0 of 100 by feeder
        release W1                                    released W1 50 and 0; took 50 left over
        """,
}  # fmt: skip


@pytest.mark.parametrize("rule", FULL)
def test_on_a_full_feeder(rule: str) -> None:
    Both(left=5).play(FULL[rule])


@pytest.mark.parametrize("rule", ROOMY)
def test_on_a_feeder_with_room_for_a_thousand_watts_of_alices(rule: str) -> None:
    Both(left=1_005).play(ROOMY[rule])


def test_no_rate_is_greater_than_the_lot() -> None:
    """Ten watts for one are the most with lots of 10 W: so the first of a line always has enough for a watt."""
    Both(left=5, takes=(1, 10, 11)).play("""
        place A1 alice sell 500 @ 100                 rested 500
        place C1 carol buy 10 @ 9000                  blocked C1 0 of 10 by feeder; blocked A1 0 of 500 by feeder; rested 10
        place B1 bob buy 10 @ 1000                    traded 100 for 10 @ 100 maker A1
        """)


def test_the_rounding_of_the_last_watt_costs_the_buyer_no_more_than_its_limit() -> None:
    """At 3 W for 2, twenty of alice's watts are 13 for bob, who owes 20 at 40,000: 200. His limit for 13 W is 195."""
    Both(left=5, takes=(2, 3, 4)).play("""
        place A1 alice sell 20 @ 40000                rested 20
        place B1 bob buy 20 @ 60000                   traded 20 for 13 @ 40000 maker A1; cancelled B1 7 remainder
        cash                                          alice +195 bob -195
        """)


@pytest.mark.parametrize(
    ("row_price_mct", "outcome"),
    [
        ((), "A1 +1000 @ 900, B1 -200 @ 100 operator +220"),
        ((400,), "A1 +1000 @ 100, B1 -200 @ 200 operator +15"),
        ((401,), "A1 +1000 @ 101, B1 -200 @ 200 operator +15"),
        ((4_000,), "A1 +1000 @ 900, B1 -200 @ 2000 operator +125"),
        ((0,), "A1 +1000 @ 900, B1 -200 @ 100 operator +220"),
    ],
    ids=[
        "as bid",
        "400 per carol's watt: 100 per alice's, 200 per bob's",
        "rounded up and down",
        "never above a limit",
        "nobody would pay",
    ],
)
def test_uniform_prices_of_an_auction(row_price_mct: tuple[int, ...], outcome: str) -> None:
    """Greedy gives carol, who bids more per watt, all 1,005 that are left: 250 W. Alice's thousand watts at 900 are worth more.

    Cash for a quarter of an hour: 1,000 W at 100 mct are 25, at 900 they are 225; 200 W at 100 are 5, at 2,000 they are 100.
    """
    market = Both(left=1_005, settings=msgspec.structs.replace(AT_RATES, auction_pricing="uniform"))
    market.play("""
        enter auction                                 auction
        place C1 carol buy 300 @ 1000                 rested 300
        place A1 alice buy 1000 @ 900                 rested 1000
        place B1 bob sell 200 @ 100                   rested 200
        """)
    proposed = (c.Change(0, 1_000), c.Change(1, -200))
    told = market.tell(c.Uncross(AREA, OPEN, market.rows.content_hash, proposed, True, row_price_mct))
    assert told.startswith(f"uncrossed as proposed; uncross {outcome}; continuous")
