"""The rule book of matching, as tables: what is asked on the left, what comes of it on the right. See tests/rulebook.py."""

from __future__ import annotations

import msgspec
import pytest

from tests.rulebook import SETTINGS, Market, terms_of

RULES = {
    "an order that meets nobody rests": """
        place A1 alice sell 2500 @ 12300              rested 2500
        asks                                          12300: A1 2500
        bids                                          none
        """,
    "a trade is at the resting order's price, whoever is the better off": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place B1 bob buy 400 @ 12400                  traded 400 @ 12300 maker A1
        place B2 bob buy 1000 @ 12300                 traded 600 @ 12300 maker A1; rested 400
        place A2 alice sell 400 @ 12000               traded 400 @ 12300 maker B2
        """,
    "prices that do not cross do not trade": """
        place A1 alice sell 1000 @ 12310              rested 1000
        place B1 bob buy 1000 @ 12300                 rested 1000
        bids                                          12300: B1 1000
        asks                                          12310: A1 1000
        """,
    "the better price goes first, then who came first": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place C1 carol sell 1000 @ 12200              rested 1000
        place A2 alice sell 1000 @ 12200              rested 1000
        place B1 bob buy 2500 @ 12300  traded 1000 @ 12200 maker C1; traded 1000 @ 12200 maker A2; traded 500 @ 12300 maker A1
        """,
    "purchases: the higher price goes first, then who came first": """
        place A1 alice buy 1000 @ 12200               rested 1000
        place C1 carol buy 1000 @ 12300               rested 1000
        place A2 alice buy 1000 @ 12300               rested 1000
        place B1 bob sell 2500 @ 12200  traded 1000 @ 12300 maker C1; traded 1000 @ 12300 maker A2; traded 500 @ 12200 maker A1
        """,
    "a partial fill leaves the rest of both orders as it was, in its place": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place C1 carol sell 1000 @ 12300              rested 1000
        place B1 bob buy 300 @ 12300                  traded 300 @ 12300 maker A1
        asks                                          12300: A1 700, C1 1000
        place B2 bob buy 800 @ 12300                  traded 700 @ 12300 maker A1; traded 100 @ 12300 maker C1
        asks                                          12300: C1 900
        """,
    "the smaller of the two quantities trades, from either side": """
        place A1 alice sell 300 @ 12300               rested 300
        place B1 bob buy 1000 @ 12300                 traded 300 @ 12300 maker A1; rested 700
        place A2 alice sell 200 @ 12300               traded 200 @ 12300 maker B1
        place A3 alice sell 900 @ 12300               traded 500 @ 12300 maker B1; rested 400
        """,
    "export and import are books of their own": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place B1 bob buy 1000 @ 12300 import          rested 1000
        place C1 carol sell 600 @ 12300 import        traded 600 @ 12300 maker B1
        holding bob                                   export 5000 import 5600
        holding carol                                 export 5000 import 4400
        bids import                                   12300: B1 400
        asks                                          12300: A1 1000
        """,
    "what is not traded at once of an IOC order is cancelled": """
        place A1 alice sell 300 @ 12300               rested 300
        place B1 bob buy 1000 @ 12300 ioc             traded 300 @ 12300 maker A1; cancelled B1 700 ioc
        place B2 bob buy 1000 @ 12300 ioc             cancelled B2 1000 ioc
        bids                                          none
        """,
    "a FOK order trades whole or not at all": """
        place A1 alice sell 300 @ 12300               rested 300
        place C1 carol sell 300 @ 12400               rested 300
        place B1 bob buy 610 @ 12400 fok              cancelled B1 610 fok
        place B2 bob buy 600 @ 12390 fok              cancelled B2 600 fok
        place B3 bob buy 600 @ 12400 fok              traded 300 @ 12300 maker A1; traded 300 @ 12400 maker C1
        place B4 bob buy 600 @ 12400 fok              cancelled B4 600 fok
        """,
    "an order in force until a time expires when the clock reaches it, the earliest first": """
        advance 1000                                  advanced
        place A1 alice sell 300 @ 12300 until 3000    rested 300
        place A2 alice sell 300 @ 12200 until 2000    rested 300
        place A3 alice sell 300 @ 12100               rested 300
        advance 1999                                  advanced
        advance 3000                                  cancelled A2 300 expired; cancelled A1 300 expired; advanced
        asks                                          12100: A3 300
        """,
    "an order that was replaced still expires at its time; one that was filled does not": """
        place A1 alice sell 300 @ 12300 until 2000    rested 300
        place A2 alice sell 300 @ 12300 until 2000    rested 300
        replace r1 alice A1 to 200 @ 12500            replaced 200 of 200 lost; rested 200
        place B1 bob buy 300 @ 12300                  traded 300 @ 12300 maker A2
        advance 2000                                  cancelled A1 200 expired; advanced
        """,
    "less at the same price keeps priority": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place C1 carol sell 1000 @ 12300              rested 1000
        replace r1 alice A1 to 400 @ 12300            replaced 400 of 400 kept
        asks                                          12300: A1 400, C1 1000
        replace r2 alice A1 to 400 @ 12300            replaced 400 of 400 kept
        asks                                          12300: A1 400, C1 1000
        """,
    "more, or another price and back, loses priority": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place C1 carol sell 1000 @ 12300              rested 1000
        replace r1 alice A1 to 1010 @ 12300           replaced 1010 of 1010 lost; rested 1010
        asks                                          12300: C1 1000, A1 1010
        replace r2 carol C1 to 1000 @ 12400           replaced 1000 of 1000 lost; rested 1000
        replace r3 carol C1 to 1000 @ 12300           replaced 1000 of 1000 lost; rested 1000
        asks                                          12300: A1 1010, C1 1000
        """,
    "a replacing price may trade at once, at the resting order's price": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place B1 bob buy 1500 @ 12000                 rested 1500
        replace r1 bob B1 to 1500 @ 12400             replaced 1500 of 1500 lost; traded 1000 @ 12300 maker A1; rested 500
        bids                                          12400: B1 500
        """,
    "a replacement names the total, so a fill on its way cannot add to it": """
        place A1 alice sell 1000 @ 12300              rested 1000
        place B1 bob buy 600 @ 12300                  traded 600 @ 12300 maker A1
        replace r1 alice A1 to 900 @ 12300            replaced 300 of 900 kept
        replace r2 alice A1 to 600 @ 12400            cancelled A1 300 replace
        replace r3 alice A1 to 700 @ 12400            rejected unknown_order
        """,
    "a replacement to nothing cancels": """
        place A1 alice sell 1000 @ 12300              rested 1000
        replace r1 alice A1 to 0 @ 12300              cancelled A1 1000 replace
        asks                                          none
        """,
    "a customer's own order stops the incoming one; those ahead of it still trade": """
        place C1 carol sell 300 @ 12200               rested 300
        place A1 alice sell 300 @ 12300               rested 300
        place C2 carol sell 300 @ 12300               rested 300
        place A2 alice buy 1000 @ 12300               traded 300 @ 12200 maker C1; cancelled A2 700 self_trade
        asks                                          12300: A1 300, C2 300
        """,
    "an order filled before it reaches the customer's own one is just filled": """
        place C1 carol sell 300 @ 12200               rested 300
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice buy 300 @ 12300                traded 300 @ 12200 maker C1
        place C2 carol sell 300 @ 12200               rested 300
        place A3 alice buy 300 @ 12300 fok            traded 300 @ 12200 maker C2
        place A4 alice buy 300 @ 12300 fok            cancelled A4 300 self_trade
        place A5 alice buy 300 @ 12300 ioc            cancelled A5 300 self_trade
        """,
    "the same customer in the other direction is no self-trade": """
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice buy 300 @ 12300 import         rested 300
        """,
    "cancelling takes exactly one order": """
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice sell 300 @ 12300               rested 300
        cancel x1 alice A1                            cancelled A1 300 request
        cancel x2 alice A1                            rejected unknown_order
        cancel x3 bob A2                              rejected unknown_order
        asks                                          12300: A2 300
        """,
    "a mass cancellation takes all of one customer, book by book in priority": """
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice sell 300 @ 12200               rested 300
        place A3 alice buy 300 @ 12100 import         rested 300
        place A4 alice buy 300 @ 12000                rested 300
        place C1 carol sell 300 @ 12300               rested 300
        cancel_all m1 alice  cancelled A4 300 mass; cancelled A2 300 mass; cancelled A1 300 mass; cancelled A3 300 mass; 4 orders
        cancel_all m2 carol disconnect                cancelled C1 300 disconnect; 1 orders
        cancel_all m3 carol silence                   0 orders
        """,
    "what an order reserved is free again when it ends": """
        place A1 alice sell 4000 @ 12300              rested 4000
        place A2 alice sell 10 @ 12300                rejected not_covered
        cancel x1 alice A1                            cancelled A1 4000 request
        place A3 alice sell 4000 @ 12300 ioc          cancelled A3 4000 ioc
        place A4 alice sell 4000 @ 12300 fok          cancelled A4 4000 fok
        place A5 alice sell 4000 @ 12300              rested 4000
        replace r1 alice A5 to 3000 @ 12300           replaced 3000 of 3000 kept
        place A6 alice sell 1000 @ 12300              rested 1000
        place A7 alice sell 10 @ 12300                rejected not_covered
        """,
    "what was bought can be sold on, what was sold can not": """
        place A1 alice sell 4000 @ 12300              rested 4000
        place B1 bob buy 4000 @ 12300                 traded 4000 @ 12300 maker A1
        place A2 alice sell 10 @ 12300                rejected not_covered
        place B2 bob sell 8000 @ 12400                rested 8000
        place B3 bob sell 10 @ 12400                  rejected not_covered
        holding alice                                 export 1000 import 5000
        holding bob                                   export 9000 import 5000
        """,
    "cash is quantity, price and duration, and sums to zero": """
        place A1 alice sell 1000 @ 10000              rested 1000
        place B1 bob buy 1000 @ 10000                 traded 1000 @ 10000 maker A1
        cash                                          alice +2500 bob -2500
        place C1 carol buy 10 @ 30                    rested 10
        place A2 alice sell 10 @ 30                   traded 10 @ 30 maker C1
        cash                                          alice +2500 bob -2500
        """,
    "a gate closure cancels what rests and leaves holdings and cash": """
        place A1 alice sell 1000 @ 10000              rested 1000
        place B1 bob buy 400 @ 10000                  traded 400 @ 10000 maker A1
        place C1 carol buy 500 @ 9000 import          rested 500
        close 2700000                                 cancelled A1 600 gate; cancelled C1 500 gate; closed
        place B2 bob buy 400 @ 10000                  rejected gate_closed
        holding bob                                   export 5400 import 5000
        cash                                          alice +1000 bob -1000
        retire 2700000                                retired
        cash                                          alice +1000 bob -1000
        place B3 bob buy 400 @ 10000                  rejected unknown_interval
        """,
    "a halt stops placing and replacing; cancelling, expiry and closing go on": """
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice sell 300 @ 12300 until 50      rested 300
        place A3 alice sell 300 @ 12300               rested 300
        halt all                                      halted
        place B1 bob buy 300 @ 12300                  rejected halted
        replace r1 alice A1 to 300 @ 12200            rejected halted
        cancel x1 alice A1                            cancelled A1 300 request
        advance 50                                    cancelled A2 300 expired; advanced
        close 2700000                                 cancelled A3 300 gate; closed
        """,
    "each halt is taken back by the resume of its own scope": """
        halt all 2700000                              halted
        halt feeder                                   halted
        resume all                                    refused not_halted
        resume all 2700000                            resumed
        place A1 alice sell 300 @ 12300               rejected halted
        resume feeder                                 resumed
        place A2 alice sell 300 @ 12300               rested 300
        halt all 900000                               halted
        place A3 alice sell 300 @ 12300               rested 300
        """,
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    Market().play(RULES[rule])


def test_where_self_trades_are_allowed_owners_never_block_a_match() -> None:
    market = Market(settings=msgspec.structs.replace(SETTINGS, self_trade="allow"))
    market.play("""
        place A1 alice sell 300 @ 12300               rested 300
        place A2 alice buy 500 @ 12300                traded 300 @ 12300 maker A1; rested 200
        holding alice                                 export 5000 import 5000
        cash
        """)


def test_the_open_order_bound_counts_what_rests_everywhere() -> None:
    Market(terms=terms_of("alice", "bob", open_orders_max=2)).play("""
        place A1 alice sell 100 @ 12300               rested 100
        place A2 alice buy 100 @ 12300 import         rested 100
        place A3 alice sell 100 @ 12300               rejected too_many_open_orders
        place A4 alice sell 100 @ 12300 ioc           rejected too_many_open_orders
        replace r1 alice A1 to 200 @ 12400            replaced 200 of 200 lost; rested 200
        place B1 bob buy 200 @ 12400                  traded 200 @ 12400 maker A1
        place A5 alice sell 100 @ 12300               rested 100
        cancel_all m1 alice                           cancelled A5 100 mass; cancelled A2 100 mass; 2 orders
        place A6 alice sell 100 @ 12300               rested 100
        place A7 alice sell 100 @ 12300               rested 100
        """)


def test_a_purchase_at_rest_counts_as_if_it_were_filled() -> None:
    Market().play("""
        place B1 bob buy 3000 @ 12300                 rested 3000
        place B2 bob buy 2010 @ 12300                 rejected above_rating
        place B3 bob buy 2000 @ 12300                 rested 2000
        replace r1 bob B1 to 3010 @ 12300             rejected above_rating
        replace r2 bob B1 to 2000 @ 12300             replaced 2000 of 2000 kept
        place A1 alice sell 1000 @ 12300              traded 1000 @ 12300 maker B1
        place B4 bob buy 1000 @ 12200                 rested 1000
        place B5 bob buy 10 @ 12200                   rejected above_rating
        place B6 bob sell 500 @ 12400                 rested 500
        place B7 bob buy 10 @ 12200                   rejected above_rating
        """)


def test_a_buyer_never_pays_more_than_its_limit_when_cash_is_rounded() -> None:
    """33 W at 10 mct/kWh for a quarter of an hour are 0.0825 mct: nobody pays or earns a fraction, and it is always the same."""
    market = Market(settings=msgspec.structs.replace(SETTINGS, lot_w=1, tick_mct=1))
    market.play("""
        place A1 alice sell 33 @ 10                   rested 33
        place B1 bob buy 33 @ 10                      traded 33 @ 10 maker A1
        cash
        place B2 bob buy 399 @ 11                     rested 399
        place A2 alice sell 399 @ 11                  traded 399 @ 11 maker B2
        cash                                          alice +1 bob -1
        """)
