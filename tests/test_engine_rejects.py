"""Every reason for a no, in the documented order: whenever two reasons hold, the earlier one of `rejects.Reason` is given.

A spoiler makes exactly one reason hold for a request that would otherwise be taken. Quantities and prices add up, so that
two spoilers make both reasons hold at once; what cannot hold together (an unknown interval is not closed) is left out.
"""

from __future__ import annotations

import re
from itertools import combinations

import msgspec
import pytest

from exchange import commands as c
from exchange.events import Accepted, Event, Rejected, Replaced
from exchange.rejects import Reason
from riskcheck.polytope import Polytope
from tests.rulebook import AREA, CLOSED, CUSTOMERS, OPEN, SETTINGS, UNKNOWN, Market, command_of, terms_of

ORDER = list(Reason)
NOW_MS = 5_000
NEXT, ANNOUNCED = OPEN + 900_000, OPEN + 1_800_000
BOUNDED = msgspec.structs.replace(SETTINGS, collar_mct=50_000, requests_free=4, requests_max=16)
TRADE = "place T1 bob sell 10 @ 12300\nplace T2 carol buy 10 @ 12300"
FULL = "\n".join(f"place m{n} alice buy 5 @ 10 in {start}" for start in (CLOSED, OPEN, ANNOUNCED) for n in range(start, start + 16))
BUSY = "\n".join(f"place q{n} alice buy 10 @ 12300\ncancel x{n} alice q{n}" for n in range(4))


class Spoiler(msgspec.Struct, frozen=True):
    """`sets` replaces fields, `adds` adds to them, `before` is played on the market first."""

    reason: Reason
    sets: dict[str, object] = {}
    adds: dict[str, int] = {}
    before: str = ""

    def clashes(self, other: Spoiler) -> bool:
        return any(other.sets[field] != value for field, value in self.sets.items() if field in other.sets)


PLACE = c.Place(AREA, "alice", "p1", OPEN, "export", "sell", 1_000, 12_300)
PLACE_SPOILERS = [
    Spoiler(Reason.UNKNOWN_AREA, {"area": "nowhere"}),
    Spoiler(Reason.UNKNOWN_CUSTOMER, {"customer": "mallory"}),
    Spoiler(Reason.ID_REUSED, {"request_id": "used"}, {}, "place used alice buy 10 @ 10"),
    Spoiler(Reason.TOO_MANY_REQUESTS, {}, {}, FULL),
    Spoiler(Reason.UNKNOWN_INTERVAL, {"interval_ms": UNKNOWN}),
    Spoiler(Reason.GATE_CLOSED, {"interval_ms": CLOSED}),
    Spoiler(Reason.NOT_YET_OPEN, {"interval_ms": ANNOUNCED}),
    Spoiler(Reason.HALTED, {}, {}, "halt all"),
    Spoiler(Reason.SUSPENDED, {}, {}, "suspend alice"),
    Spoiler(Reason.IN_AUCTION, {"time_in_force": "ioc"}, {}, "enter auction"),
    Spoiler(Reason.INVALID_ORDER, {"display_w": 5}),
    Spoiler(Reason.EXPIRED, {"time_in_force": "until", "until_ms": NOW_MS}),
    Spoiler(Reason.OFF_LOT, {}, {"quantity_w": 5}),
    Spoiler(Reason.OFF_TICK, {}, {"price_mct": 5}),
    Spoiler(Reason.PRICE_OUT_OF_BAND, {}, {"price_mct": 200_000}),
    Spoiler(Reason.OUTSIDE_COLLAR, {}, {"price_mct": 60_000}, TRADE),
    Spoiler(Reason.QUANTITY_OVER_BOUND, {}, {"quantity_w": 30_000}),
    Spoiler(Reason.TOO_MANY_OPEN_ORDERS, {}, {}, "\n".join(f"place o{n} alice buy 10 @ 10" for n in range(4))),
    Spoiler(Reason.ORDER_TO_TRADE, {}, {}, BUSY),
    Spoiler(Reason.NOT_COVERED, {"side": "sell"}, {"quantity_w": 3_010}),
    Spoiler(Reason.ABOVE_RATING, {"side": "buy"}, {"quantity_w": 4_010}),
]
REPLACE = c.Replace(AREA, "alice", "p1", "A0", 1_000, 12_300)
ICEBERG = "cancel x0 alice K0\nplace I0 alice sell 20 @ 12400 show 10"
REPLACE_SPOILERS = [
    Spoiler(Reason.INVALID_ORDER, {"order_id": "I0"}, {}, ICEBERG),
    *PLACE_SPOILERS[:4],
    Spoiler(Reason.UNKNOWN_ORDER, {"order_id": "A9"}),
    *(spoiler for spoiler in PLACE_SPOILERS if spoiler.reason in (Reason.HALTED, Reason.OFF_LOT, Reason.OFF_TICK)),
    Spoiler(Reason.BLOCK_ORDER, {"order_id": "K0"}),
    *(spoiler for spoiler in PLACE_SPOILERS if spoiler.reason in (Reason.PRICE_OUT_OF_BAND, Reason.OUTSIDE_COLLAR)),
    *(spoiler for spoiler in PLACE_SPOILERS if spoiler.reason in (Reason.QUANTITY_OVER_BOUND, Reason.ORDER_TO_TRADE)),
    Spoiler(Reason.NOT_COVERED, {}, {"quantity_w": 3_010}),
]
CANCEL = c.Cancel(AREA, "alice", "p1", "A0")
CANCEL_SPOILERS = [
    *PLACE_SPOILERS[:3],
    Spoiler(Reason.TOO_MANY_REQUESTS, {"order_id": "A9"}, {}, FULL),
    Spoiler(Reason.UNKNOWN_ORDER, {"order_id": "A9"}),
]
MASS = c.MassCancel(AREA, "alice", "p1", OPEN)
MASS_SPOILERS = [*PLACE_SPOILERS[:4], Spoiler(Reason.UNKNOWN_INTERVAL, {"interval_ms": UNKNOWN})]


def spoiled(command: c.Command, *spoilers: Spoiler) -> Event:
    """The first event of the command with its spoilers, in a market where four orders of a customer may rest, a block in each interval."""
    market = Market(settings=BOUNDED, terms=terms_of(*CUSTOMERS, open_orders_max=4))
    for start_ms, phase in ((NEXT, "continuous"), (ANNOUNCED, "announced")):
        market.do(c.OpenInterval(AREA, start_ms, market.rows.content_hash, market.allocation, market.allocation, phase))
    market.do(c.Advance(NOW_MS))
    if isinstance(command, c.Replace | c.Cancel):
        market.ask("place A0 alice sell 500 @ 12300")
        market.ask("place K0 alice sell 10 @ 12400 times 2")
    for spoiler in spoilers:
        for line in spoiler.before.splitlines():
            market.ask(line)
        added = {field: getattr(command, field) + more for field, more in spoiler.adds.items()}
        command = msgspec.structs.replace(command, **spoiler.sets, **added)
    return market.do(command)[0]


def pairs(spoilers: list[Spoiler]) -> list[tuple[Spoiler, Spoiler]]:
    """Both ways round in time: what is spoiled first must not matter."""
    met = [(one, two) for one, two in combinations(spoilers, 2) if not one.clashes(two)]
    return met + [(two, one) for one, two in met if not (one.before and two.before)]


def told(case: c.CustomerCommand | tuple[Spoiler, ...]) -> str:
    return "+".join(spoiler.reason for spoiler in case) if isinstance(case, tuple) else type(case).__name__


CASES = [
    *((PLACE, pair) for pair in pairs(PLACE_SPOILERS)),
    *((REPLACE, pair) for pair in pairs(REPLACE_SPOILERS)),
    *((CANCEL, pair) for pair in pairs(CANCEL_SPOILERS)),
    *((MASS, pair) for pair in pairs(MASS_SPOILERS)),
]
SINGLE = [(PLACE, (s,)) for s in PLACE_SPOILERS] + [(REPLACE, (s,)) for s in REPLACE_SPOILERS]
SINGLE += [(CANCEL, (s,)) for s in CANCEL_SPOILERS] + [(MASS, (s,)) for s in MASS_SPOILERS]


@pytest.mark.parametrize(("command", "spoilers"), SINGLE + CASES, ids=told)
def test_the_earlier_reason_is_given(command: c.CustomerCommand, spoilers: tuple[Spoiler, ...]) -> None:
    event = spoiled(command, *spoilers)
    assert isinstance(event, Rejected)
    assert event.reason == min((spoiler.reason for spoiler in spoilers), key=ORDER.index)
    assert event.detail


@pytest.mark.parametrize("command", [PLACE, REPLACE, CANCEL, MASS], ids=lambda command: type(command).__name__)
def test_without_a_spoiler_each_request_is_taken(command: c.CustomerCommand) -> None:
    assert not isinstance(spoiled(command), Rejected)


def test_the_reasons_of_customers_come_in_the_order_of_the_enumeration() -> None:
    reasons = [spoiler.reason for spoiler in PLACE_SPOILERS]
    assert reasons == sorted(reasons, key=ORDER.index)
    assert {*reasons, Reason.UNKNOWN_ORDER, Reason.BLOCK_ORDER} == set(ORDER[: ORDER.index(Reason.INVALID_SETTINGS)])


BOUNDS = {
    "a quantity is a positive multiple of the lot": """
        place A1 alice sell 0 @ 12300         rejected off_lot
        place A2 alice sell -10 @ 12300       rejected off_lot
        place A3 alice sell 5 @ 12300         rejected off_lot
        place A4 alice sell 10 @ 12300        rested 10
        replace r1 alice A4 to -10 @ 12300    rejected off_lot
        replace r2 alice A4 to 15 @ 12300     rejected off_lot
        asks                                  12300: A4 10
        """,
    "a price is a multiple of the tick inside the band, both edges included": """
        place A1 alice sell 10 @ -10          rejected price_out_of_band
        place A2 alice sell 10 @ -5           rejected off_tick
        place A3 alice sell 10 @ 0            rested 10
        place A4 alice sell 10 @ 100000       rested 10
        place A5 alice sell 10 @ 100010       rejected price_out_of_band
        replace r1 alice A4 to 10 @ 100010    rejected price_out_of_band
        replace r2 alice A4 to 10 @ 99995     rejected off_tick
        """,
    "a sale leaves the failsafe, a purchase stays within the rating, to the watt": """
        place A1 alice sell 4010 @ 12300      rejected not_covered
        place A2 alice sell 4000 @ 12300      rested 4000
        place B1 bob buy 5010 @ 12200         rejected above_rating
        place B2 bob buy 5000 @ 12200         rested 5000
        replace r1 alice A2 to 4010 @ 12300   rejected not_covered
        replace r2 bob B2 to 5010 @ 12200     rejected above_rating
        """,
    "each right has a cover of its own": """
        place A1 alice sell 4000 @ 12300           rested 4000
        place A2 alice sell 4000 @ 12300 import    rested 4000
        place B1 bob sell 4000 @ 12300             rested 4000
        """,
    "an order is in force until a time still to come": """
        advance 1000                              advanced
        place A1 alice sell 10 @ 10 until 1000    rejected expired
        place A2 alice sell 10 @ 10 until 1001    rested 10
        """,
    "a reject changes nothing": """
        place A1 alice sell 500 @ 12300       rested 500
        replace r1 alice A1 to 90000 @ 12300  rejected quantity_over_bound
        cancel x1 bob A1                      rejected unknown_order
        place A1 alice sell 600 @ 12300       rejected id_reused
        asks                                  12300: A1 500
        holding alice                         export 5000 import 5000
        """,
}


@pytest.mark.parametrize("rule", BOUNDS)
def test_bound(rule: str) -> None:
    Market().play(BOUNDS[rule])


REPEATS = {
    "the same request again gets the first answer again, and does nothing": """
        place A1 alice sell 500 @ 12300       rested 500
        place A1 alice sell 500 @ 12300       again accepted 6
        replace r1 alice A1 to 400 @ 12300    replaced 400 of 400 kept
        replace r1 alice A1 to 400 @ 12300    again replaced 8
        cancel x1 alice A1                    cancelled A1 400 request
        cancel x1 alice A1                    again cancelled 10
        place A1 alice sell 500 @ 12300       again accepted 6
        cancel_all m1 alice                   0 orders
        cancel_all m1 alice                   again masscancelled 13
        asks                                  none
        """,
    "the same id with another body is refused, whatever the body": """
        place A1 alice sell 500 @ 12300       rested 500
        place A1 alice sell 500 @ 12310       rejected id_reused
        cancel A1 alice A1                    rejected id_reused
        place A1 bob sell 500 @ 12300         rested 500
        """,
    "a refusal is an answer too": """
        place A1 alice sell 5000 @ 12300      rejected not_covered
        place B1 bob sell 1000 @ 12300        rested 1000
        place A2 alice buy 1000 @ 12300       traded 1000 @ 12300 maker B1
        place A1 alice sell 5000 @ 12300      again rejected 6
        place A3 alice sell 5000 @ 12300      rested 5000
        """,
    "a request that was rejected stays rejected, whatever opens or comes later": """
        cancel x1 alice A1                            rejected unknown_order
        place A1 alice sell 500 @ 12300               rested 500
        cancel x1 alice A1                            again rejected 6
        place A2 alice sell 500 @ 12300 in 1800000    rejected unknown_interval
        place A2 alice sell 500 @ 12300 in 1800000    again rejected 9
        place A3 alice sell 500 @ 12300 in 900000     rejected gate_closed
        place A3 alice sell 500 @ 12300 in 900000     again rejected 11
        place A3 alice sell 500 @ 12300               rejected id_reused
        """,
    "ids are remembered past the gate, until the interval is retired": """
        place A1 alice sell 500 @ 12300       rested 500
        close 2700000                         cancelled A1 500 gate; closed
        place A1 alice sell 500 @ 12300       again accepted 6
        cancel A1 alice A1                    rejected id_reused
        retire 2700000                        retired
        place A1 alice sell 500 @ 12300       rejected unknown_interval
        """,
    "a repeated order is told its acceptance, not what became of it": """
        place B1 bob sell 500 @ 12300         rested 500
        place A1 alice buy 500 @ 12300 fok    traded 500 @ 12300 maker B1
        place A1 alice buy 500 @ 12300 fok    again accepted 7
        holding alice                         export 5500 import 5000
        """,
}


@pytest.mark.parametrize("rule", REPEATS)
def test_repeat(rule: str) -> None:
    Market().play(REPEATS[rule])


def test_an_id_is_not_shared_between_customers_or_areas() -> None:
    market = Market()
    market.do(c.OpenArea("other", SETTINGS, terms_of("alice")))
    hashed = Polytope.unlimited(2)
    market.do(c.InstallRows("other", hashed.to_bytes()))
    market.do(c.OpenInterval("other", OPEN, hashed.content_hash, (5_000,), (5_000,)))
    for area, customer in ((AREA, "alice"), (AREA, "bob"), ("other", "alice")):
        assert isinstance(market.do(msgspec.structs.replace(PLACE, area=area, customer=customer))[0], Accepted)
    assert isinstance(market.do(c.Replace("other", "alice", "p2", "p1", 900, 12_300))[0], Replaced)
    assert [order.quantity_w for order in market.engine.open_orders(AREA, "alice")] == [1_000]


# --- the detail says what would have been accepted ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        ("place A1 alice sell 15 @ 12300", "15 W is not a positive multiple of the lot of 10 W"),
        ("place A1 alice sell 10 @ 12305", "multiple of the tick of 10 mct/kWh"),
        ("place A1 alice sell 10 @ 100010", "outside [0, 100000]"),
        ("place A1 alice sell 30000 @ 12300", "bound of 20000 W"),
        ("place A1 alice sell 4010 @ 12300", "4000 W can be sold"),
        ("place A1 alice buy 5010 @ 12300", "5000 W fit below the rating"),
        ("place A1 alice sell 10 @ 12300 until 0", "in force until 0, and it is 0"),
        ("cancel x1 alice A1", "order A1 is not known"),
    ],
)
def test_the_detail_says_what_was_wrong_in_numbers(request_line: str, said: str) -> None:
    market = Market()
    event = market.do(command_of(request_line))[0]
    assert isinstance(event, Rejected)
    assert said in event.detail


@pytest.mark.parametrize(("side", "ends"), [("sell", "can be sold"), ("buy", "fit below the rating")])
@pytest.mark.parametrize("resting_w", [0, 10, 1_500, 4_000])
def test_what_the_detail_offers_is_accepted_and_one_lot_more_is_not(side: c.Side, ends: str, resting_w: int) -> None:
    market = Market()
    if resting_w:
        market.ask(f"place A0 alice {side} {resting_w} @ 12300")
    refused = market.do(c.Place(AREA, "alice", "A1", OPEN, "export", side, 20_000, 12_300))[0]
    assert isinstance(refused, Rejected)
    (offered_w,) = re.findall(rf"(\d+) W {ends}", refused.detail)
    if int(offered_w):
        assert isinstance(market.do(c.Place(AREA, "alice", "A2", OPEN, "export", side, int(offered_w), 12_300))[0], Accepted)
    assert isinstance(market.do(c.Place(AREA, "alice", "A3", OPEN, "export", side, 10, 12_300))[0], Rejected)


@pytest.mark.parametrize(
    ("table", "fate"),
    [
        ("place A1 alice sell 100 @ 10        rested 100\ncancel x0 alice A1        cancelled A1 100 request", "cancelled"),
        ("place B1 bob sell 100 @ 10        rested 100\nplace A1 alice buy 100 @ 10        traded 100 @ 10 maker B1", "filled"),
        ("place A1 alice sell 100 @ 10 ioc        cancelled A1 100 ioc", "cancelled"),
    ],
)
def test_a_late_cancel_is_told_what_became_of_the_order(table: str, fate: str) -> None:
    event = Market().play(table).do(c.Cancel(AREA, "alice", "x1", "A1"))[0]
    assert isinstance(event, Rejected)
    assert event.detail == f"order A1 is {fate}"
