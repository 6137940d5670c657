"""Single watts, zeros and minus ones: edges that random streams seldom hit, found by mutants that survived them (docs/proof.md)."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange import events as e
from exchange import search
from exchange.bounds import MarketSettings
from exchange.dealing import deal, refuse_insecure
from exchange.guards import INTERVALS_MAX
from exchange.proposals import right_price
from exchange.snapshot import dump, load
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, CUSTOMERS, OPEN, SETTINGS, Market, terms_of

LINE = RowLabel("thermal", "line", "a")
AT_RATES = MarketSettings(lot_w=1, tick_mct=1, price_mct_max=3_000, matching="exchange_rate", auction_pricing="uniform")


def market(columns: list[float], slack: float, settings: MarketSettings = AT_RATES) -> Market:
    """One row; everybody was given 5,000 W each way. Half a watt of room is none for a lot."""
    return Market(Polytope.from_rows([columns], [slack], [LINE], [10_000] * 6), settings)


def place(name: str, customer: str, side: c.Side, quantity_w: int, price: int, **more: object) -> c.Place:
    return c.Place(AREA, customer, name, OPEN, "export", side, quantity_w, price, **more)  # type: ignore[arg-type]


def reason(events: list[e.Event]) -> str:
    assert isinstance(events[0], e.Rejected | e.Refused), events
    return events[0].reason


@pytest.mark.parametrize(("side", "most"), [("sell", 4_000), ("buy", 5_000)])
def test_cover_and_rating_count_every_watt(side: c.Side, most: int) -> None:
    """5,000 W of 10,000 W, 1,000 W of them below the failsafe."""
    bare = Market(settings=msgspec.structs.replace(SETTINGS, lot_w=1))
    assert reason(bare.do(place("a", "alice", side, most + 1, 100))) in ("not_covered", "above_rating")
    assert isinstance(bare.do(place("b", "alice", side, most, 100))[0], e.Accepted)


def test_a_block_has_a_most_of_intervals() -> None:
    terms = terms_of(*CUSTOMERS)
    bare = Market(terms=terms)
    assert reason(bare.do(place("a", "alice", "buy", 10, 100, intervals=INTERVALS_MAX + 1))) == "invalid_order"
    assert reason(bare.do(place("b", "alice", "buy", 10, 100, intervals=INTERVALS_MAX))) == "unknown_interval"


@pytest.mark.parametrize("quantity_w", [0, -10])
def test_nothing_is_withheld_for_no_watt(quantity_w: int) -> None:
    row = market([1.0] * 3 + [0.0] * 3, 20_000)
    withhold = c.Withhold(AREA, "w", OPEN, LINE.kind, LINE.element, LINE.phase, "sell", quantity_w, 100, "")
    assert reason(row.do(withhold)) == "off_lot"


def crossing(row: Market) -> c.Uncross:
    """Two that a solver may join."""
    row.do(c.EnterPhase(AREA, OPEN, "auction", ""))
    row.do(place("s", "alice", "sell", 100, 100))
    row.do(place("b", "bob", "buy", 100, 900))
    rows_hash = row.engine.areas[AREA].intervals[OPEN].rows_hash
    return c.Uncross(AREA, OPEN, rows_hash, (c.Change(0, -100), c.Change(1, 100)), True)


@pytest.mark.parametrize("wrong", [{"changes": (c.Change(-1, 10),)}, {"row_price_mct": (-1,)}, {"row_price_mct": (1, 1)}])
def test_a_proposal_names_rights_and_prices_that_there_are(wrong: dict[str, object]) -> None:
    row = market([1.0] * 3 + [0.0] * 3, 15_000.5)
    assert reason(row.do(msgspec.structs.replace(crossing(row), **wrong))) == "invalid_proposal"


def test_a_proposal_may_fill_a_row_to_the_last_unit() -> None:
    """Full before and after: what one gives, another takes."""
    row = market([1.0] * 3 + [0.0] * 3, 15_000.5)
    asked, interval = crossing(row), row.engine.areas[AREA].intervals[OPEN]
    interval.headroom.residual[:] = 0
    dealt = deal(row.engine.areas[AREA], interval, asked.changes, None)
    assert isinstance(dealt, list)
    assert refuse_insecure(interval, dealt) is None
    interval.headroom.residual[:] = -1
    assert refuse_insecure(interval, dealt) is not None


def test_a_seller_that_asks_nothing_and_relieves_nothing_is_no_help() -> None:
    row = market([1.0, 0.0, 1.0, 0.0, 0.0, 0.0], 10_000.5)
    row.do(place("s", "bob", "sell", 100, 0))
    told = row.do(place("b", "alice", "buy", 100, 900))
    assert [type(event).__name__ for event in told] == ["Accepted", "Blocked", "Blocked"]


def test_at_equal_effective_prices_the_earlier_goes_first_whatever_its_right() -> None:
    row = market([1.0] * 3 + [0.0] * 3, 15_000.5)
    row.do(place("late-right", "carol", "sell", 100, 500))
    row.do(place("early-right", "alice", "sell", 100, 500))
    (traded,) = (event for event in row.do(place("b", "bob", "buy", 100, 900)) if isinstance(event, e.Traded))
    assert traded.legs[1].order_id == "late-right"


# --- the search ------------------------------------------------------------------------------------------------------


def row_of(*figures: int) -> np.ndarray:
    return np.array(figures, dtype=np.int64)


def test_what_nobody_takes_from_bounds_nobody_but_by_the_largest_holding() -> None:
    assert search._room(np.array([0, 3], dtype=np.int32), row_of(0, 3 * 2**31)) == 2**31 - 1
    assert search._room(np.array([0, 3], dtype=np.int32), row_of(0, 3 * 2**31 - 4)) == 2**31 - 2


@pytest.mark.parametrize(("wanted", "most"), [(65_536, 65_536), (65_537, 65_536), (200_000, 65_536)])
def test_a_rate_short_of_one_by_a_65536th_still_takes_from_a_row(wanted: int, most: int) -> None:
    """A slope of 1, the least that there is, and a single unit left in the row: 65,536 W cost the seller 65,535 W."""
    residual, out = row_of(1), row_of(0, 0, 0, 0)
    search.book_at_rate(np.array([1], dtype=np.int32), np.array([1], dtype=np.int32), residual, 65_535, wanted, 1, out)
    assert (out.tolist(), residual.tolist()) == ([0, most, most - 1, 0], [0])


@pytest.mark.parametrize("right", [-1, 0, 6, 2**29 - 2])
@pytest.mark.parametrize("watts", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("is_near", [False, True])
def test_an_answer_is_unpacked_as_it_was_packed(right: int, watts: int, is_near: bool) -> None:
    for found in (search.NOTHING, search.PAIR, search.OWN):
        assert search.unpacked(int(search._packed(found, is_near, right, watts))) == (found, is_near, right, watts)


@pytest.mark.parametrize(("left", "is_whole"), [((70, 0), True), ((69, 0), False), ((70, -30), True), ((70, -31), False)])
def test_a_pair_takes_all_or_leaves_every_row_as_it_was(left: tuple[int, int], is_whole: bool) -> None:
    """Ten watts take 7 each of the first row, and give back 3 each of the second."""
    residual, take, give = row_of(*left), np.array([9, 1], dtype=np.int32), np.array([2, 4], dtype=np.int32)
    assert bool(search._takes_whole(take, give, residual, 10)) == is_whole
    assert residual.tolist() == ([left[0] - 70, left[1] + 30] if is_whole else list(left))


@pytest.mark.parametrize(("left", "is_near"), [((70, 200), False), ((69, 200), True), ((70, 199), True)])
def test_a_row_is_nearly_full_below_a_lot_of_its_largest_user(left: tuple[int, int], is_near: bool) -> None:
    rows = np.array([[7, 20], [0, 0], [0, 0]], dtype=np.int64)
    assert not search._keep(row_of(*left), rows, 10, 1)
    assert rows[search.BEFORE].tolist() == [0, 0], "only before the first fill of a walk"
    assert bool(search._keep(row_of(*left), rows, 10, 0)) == is_near
    assert rows[search.BEFORE].tolist() == list(left)


@pytest.mark.parametrize(("taken", "given", "rate"), [(1, 5, 13_108), (1, 4, 16_384), (2, 1, 131_072), (1, 65_535, 2), (10, 1, 655_360)])
def test_a_rate_is_rounded_up_to_the_next_65536th(taken: int, given: int, rate: int) -> None:
    """Ten watts are a lot, and the most that one may cost."""
    columns, full = np.array([[taken], [given]], dtype=np.int32), row_of(0)
    assert search._rate(columns[0], columns[1], full, row_of(0), 1, 10, 0, 1) == rate
    assert tuple(search.rate_and_row(columns, full, 0, 1, 10)) == (rate, 0)


@pytest.mark.parametrize(("rate", "given"), [(1, 1), (65_535, 1), (65_536, 1), (65_537, 2), (131_072, 2)])
def test_what_a_seller_gives_is_rounded_up_to_the_next_watt(rate: int, given: int) -> None:
    residual, out, column = row_of(1_000), row_of(0, 0, 0), np.array([1], dtype=np.int32)
    search.book_at_rate(column, column, residual, rate, 1, 1, out)
    assert (out.tolist(), residual.tolist()) == ([0, 1, given], [1_000 - 1 + given])
    assert search.accepts(rate, 1, 5, 5 * given)
    assert not search.accepts(rate, 1, 5, 5 * given - 1)


def two_rows(first: list[int], second: list[int], slack: int, settings: MarketSettings) -> Market:
    """Of three customers' exports and imports, in integers, with one slack for both."""
    labels = [RowLabel("thermal", "line", "a"), RowLabel("thermal", "line", "b")]
    return Market(Polytope(np.array([first, second], dtype=np.int32).T.copy(), slack, labels), settings)


@pytest.mark.parametrize("lot", [1, 10])
def test_exactly_a_lot_of_room_is_room_for_a_lot(lot: int) -> None:
    """Bob takes 2, alice gives back 1, carol nothing: with room for a lot less alice's, carol's sale is blocked and alice's trades."""
    row = two_rows([1, 2, 0, 0, 0, 0], [0] * 6, 15_000 + lot, msgspec.structs.replace(SETTINGS, lot_w=lot))
    row.play(f"""
        place C1 carol sell 100 @ 100                 rested 100
        place A1 alice sell 100 @ 200                 rested 100
        place B1 bob buy 100 @ 300 ioc  traded {lot} @ 200 maker A1
        ; blocked B1 {lot} of 100 by line; blocked C1 0 of 100 by line; cancelled B1 {100 - lot} ioc
        place B2 bob buy 100 @ 300 ioc                blocked B2 0 of 100 by line; cancelled B2 100 ioc
        """)


def test_a_row_with_exactly_a_lot_of_room_is_not_tight_for_a_purchase_at_rest() -> None:
    """Row one is full, and carol gives as much of it as alice takes. Of row two she gives nothing, and it has room for a lot."""
    row = two_rows([1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1], 10_010, msgspec.structs.replace(SETTINGS, matching="exchange_rate"))
    row.play("""
        withhold w1 thermal/line/a sell 10 @ 90000    withheld 10
        place A1 alice buy 100 @ 200                  rested 100
        place C1 carol sell 100 @ 100 ioc  traded 10 @ 200 maker A1
        ; blocked C1 10 of 100 by line; blocked A1 0 of 90 by line; cancelled C1 90 ioc
        """)


# --- proposals -------------------------------------------------------------------------------------------------------


def exact(columns: list[int], slack: int, settings: MarketSettings = SETTINGS) -> Market:
    """One row in integers, one coefficient by right; everybody was given 5,000 W each way."""
    return Market(Polytope(np.array(columns, dtype=np.int32)[:, None], slack, [LINE]), settings, terms_of("alice", "bob", "carol", "dave"))


def sold_by_two() -> Market:
    """Alice and bob take 1 of a full row, carol nothing and dave 2; these two sell 50 W each."""
    return exact([1, 1, 0, 2, 0, 0, 0, 0], 20_000).play("""
        place S1 carol sell 50 @ 100                  rested 50
        place S2 dave sell 50 @ 950                   rested 50
        """)


def trades_of(told: list[e.Event]) -> list[list[tuple[str, int]]]:
    return [[(leg.order_id, leg.change_w) for leg in event.legs] for event in told if isinstance(event, e.Traded)]


def test_among_equals_in_a_proposal_the_order_that_comes_is_last() -> None:
    """Neither alice nor bob can have carol's watts alone; one can, with half of them dave's."""
    row = sold_by_two()
    row.play("""
        place B1 alice buy 100 @ 900                  blocked B1 0 of 100 by line; blocked S1 0 of 50 by line; rested 100
        """)
    told = row.do(c.Sweep(place("B2", "bob", "buy", 100, 900), (c.Change(1, 100), c.Change(2, -50), c.Change(3, -50))))
    assert trades_of(told) == [[("B1", 100), ("S1", -50), ("S2", -50)]]


def test_what_a_proposal_leaves_of_an_order_walks() -> None:
    """Carol and dave together, and then alice, whom the proposal does not name; 30 W find nobody."""
    row = sold_by_two()
    row.play("""
        place S3 alice sell 20 @ 800                  rested 20
        """)
    order = place("B1", "bob", "buy", 100, 900, time_in_force="ioc")
    told = row.do(c.Sweep(order, (c.Change(1, 50), c.Change(2, -25), c.Change(3, -25))))
    assert trades_of(told) == [[("B1", 50), ("S1", -25), ("S2", -25)], [("B1", 20), ("S3", -20)]]
    assert [(event.quantity_w, event.cause) for event in told if isinstance(event, e.Cancelled)] == [(30, "ioc")]


def test_a_proposal_wakes_those_to_whose_rows_it_gives_room() -> None:
    """It takes 30 W from dave, 60 of the row, and gives bob 50: there is room for ten of alice's watts."""
    row = sold_by_two()
    row.play("""
        place A1 alice buy 100 @ 300                  blocked A1 0 of 100 by line; blocked S1 0 of 50 by line; rested 100
        """)
    told = row.do(c.Sweep(place("B1", "bob", "buy", 50, 900), (c.Change(1, 50), c.Change(2, -20), c.Change(3, -30))))
    assert [event.kind for event in told if isinstance(event, e.Traded)] == ["sweep", "pair"]
    assert trades_of(told) == [[("B1", 50), ("S1", -20), ("S2", -30)], [("A1", 10), ("S1", -10)]]


def test_a_proposal_of_nothing_is_not_better_than_a_pair_that_rounding_makes_worth_less() -> None:
    """At 1.39 bob gives 10 W for alice's 7: a bid of 5,600 pays 14 W at 4,000 of a lot, but 7 W of it are worth less than 10 of his."""
    row = exact([139, 100, 0, 0, 0, 0, 0, 0], 239 * 5_000, msgspec.structs.replace(SETTINGS, matching="exchange_rate"))
    row.play("place A1 alice buy 100 @ 5600              rested 100")
    told = row.do(c.Sweep(place("S1", "bob", "sell", 10, 4_000), ()))
    assert [event.reason for event in told if isinstance(event, e.Refused)] == ["worse_proposal"]
    assert trades_of(told) == [[("S1", -10), ("A1", 7)]]


def test_one_to_one_no_proposal_moves_what_the_operator_withholds() -> None:
    row = exact([1] * 8, 41_000)
    row.play("""
        enter auction                                 auction
        place S1 alice sell 100 @ 100                 rested 100
        place B1 bob buy 100 @ 900                    rested 100
        withhold w1 thermal/line/a sell 100 @ 100     withheld 100
        withhold w2 thermal/line/a sell 100 @ 100     withheld 100
        """)
    rows_hash = row.engine.areas[AREA].intervals[OPEN].rows_hash
    for operators in (8, 9):
        changes = (c.Change(0, -100), c.Change(1, 100), c.Change(operators, -100))
        told = row.do(c.Uncross(AREA, OPEN, rows_hash, changes, ends_auction=True))
        assert row.told(told[:2]) == "refused invalid_proposal; uncrossed pair by pair"
        row.play("enter auction                                 auction")


def test_behind_a_closed_gate_nothing_is_uncrossed() -> None:
    row = market([1.0] * 3 + [0.0] * 3, 15_000.5)
    asked = crossing(row)
    row.do(c.CloseGate(AREA, OPEN))
    assert reason(row.do(asked)) == "gate_closed"


def test_a_row_that_nobody_takes_from_has_no_price_for_anybody() -> None:
    row = two_rows([1, 4, 0, 0, 0, 0], [0] * 6, 30_000, AT_RATES).engine.areas[AREA].intervals[OPEN]
    assert [right_price(row, (20, 7), right) for right in (0, 1, 2)] == [5, 20, 0]
    assert right_price(row, (0, 0), 1) == 0


# --- blocks and what is withheld -------------------------------------------------------------------------------------


def with_block(**settings: object) -> Market:
    """Alice sells 100 W at 400 in two intervals; bob's block of both takes them."""
    made = Market(settings=msgspec.structs.replace(SETTINGS, **settings))
    made.do(c.OpenInterval(AREA, OPEN + 900_000, made.rows.content_hash, made.allocation, made.allocation))
    return made.play("""
        place S1 alice sell 100 @ 400                 rested 100
        place S2 alice sell 100 @ 400 in 3600000      rested 100
        place B1 bob buy 100 @ 500 times 2            block B1 +100 @ 400, S1 -100 @ 400; block B1 +100 @ 400, S2 -100 @ 400
        """)


def test_prices_run_away_from_a_block_as_from_any_trade() -> None:
    with_block(pause_mct=100).play("""
        place S3 alice sell 10 @ 500                  rested 10
        place C1 carol buy 10 @ 500                   traded 10 @ 500 maker S3
        place S4 alice sell 10 @ 510                  rested 10
        place C2 carol buy 10 @ 510                   traded 10 @ 510 maker S4; auction
        """)


def test_a_block_counts_as_a_trade_of_both_in_each_of_its_intervals() -> None:
    """One request is free, and one more for each trade."""
    with_block(requests_free=1, requests_per_trade=1).play("""
        place S3 alice sell 10 @ 600                  rested 10
        place S4 alice sell 10 @ 600                  rejected order_to_trade
        place B2 bob buy 10 @ 500                     rested 10
        place B3 bob buy 10 @ 500                     rejected order_to_trade
        place B4 bob buy 10 @ 500 in 3600000          rested 10
        place B5 bob buy 10 @ 500 in 3600000          rested 10
        place B6 bob buy 10 @ 500 in 3600000          rejected order_to_trade
        """)


def test_a_block_that_trades_gives_those_before_it_another_chance() -> None:
    """Alice takes 2 of a full row, bob nothing, the sellers 1: what bob buys makes room for alice, who bids more and came first."""
    made = exact([2, 0, 1, 1, 0, 0, 0, 0], 20_000)
    made.do(c.OpenInterval(AREA, OPEN + 900_000, made.rows.content_hash, made.allocation, made.allocation))
    for start_ms in (OPEN, OPEN + 900_000):
        made.ask(f"place C{start_ms} carol sell 100 @ 400 in {start_ms}")
        made.ask(f"place D{start_ms} dave sell 100 @ 400 in {start_ms}")
    assert made.ask("place A1 alice buy 100 @ 600 times 2") == "rested 100"
    told = made.do(place("B1", "bob", "buy", 100, 500, intervals=2))
    assert [event.legs[0].order_id for event in told if isinstance(event, e.Traded)] == ["B1", "B1", "A1", "A1"]


def test_what_a_block_leaves_below_a_lot_is_cancelled() -> None:
    """Bob gives back 3 for each that alice takes: 34 W for her 100, and 6 of his 40 are too little to go on."""
    made = exact([1, 3, 0, 0, 0, 0, 0, 0], 20_000, msgspec.structs.replace(SETTINGS, matching="exchange_rate"))
    made.do(c.OpenInterval(AREA, OPEN + 900_000, made.rows.content_hash, made.allocation, made.allocation))
    for name, start_ms in (("S1", OPEN), ("S2", OPEN + 900_000)):
        made.ask(f"place {name} bob sell 40 @ 400 in {start_ms}")
    told = made.do(place("B1", "alice", "buy", 100, 400, intervals=2))
    assert [(event.order_id, event.quantity_w, event.cause) for event in told if isinstance(event, e.Cancelled)] == [
        ("S1", 6, "remainder"),
        ("S2", 6, "remainder"),
    ]


def test_the_operator_may_withhold_what_a_number_holds() -> None:
    exact([1] * 8, 41_000, msgspec.structs.replace(SETTINGS, lot_w=1)).play("""
        withhold w1 thermal/line/a buy 2147483648 @ 100  refused off_lot
        withhold w2 thermal/line/a buy 2147483647 @ 100  withheld 0
        withhold w3 thermal/line/a sell 2147483647 @ 100  withheld 1000
        """)


def test_the_operator_may_ask_any_price_of_the_band() -> None:
    settings = msgspec.structs.replace(SETTINGS, price_mct_min=100, price_mct_max=300)
    exact([1] * 8, 41_000, settings).play("""
        withhold w1 thermal/line/a sell 100 @ 90      refused price_out_of_band
        withhold w2 thermal/line/a sell 100 @ 100     withheld 100
        withhold w3 thermal/line/a sell 100 @ 300     withheld 100
        withhold w4 thermal/line/a sell 100 @ 310     refused price_out_of_band
        withhold w5 thermal/line/a sell 100 @ 105     refused off_tick
        withhold w6 thermal/line/a sell 800 @ 100     withheld 800
        withhold w7 thermal/line/a sell 10 @ 100      refused no_headroom
        """)


def test_who_is_suspended_is_told_why_the_own_reason_first() -> None:
    bare = Market()
    bare.do(c.Suspend(AREA, None, "storm"))
    bare.do(c.Suspend(AREA, "alice", "unpaid"))
    told = [bare.do(place(f"{name}1", name, "buy", 10, 100))[0].detail for name in ("alice", "bob")]  # type: ignore[union-attr]
    assert told == ["the operator takes no orders: unpaid", "the operator takes no orders: storm"]


def test_what_is_withheld_keeps_its_place_in_time_over_a_restart() -> None:
    row = exact([1] * 8, 41_000).play("""
        place A1 alice sell 100 @ 100                 rested 100
        withhold w1 thermal/line/a sell 100 @ 100     withheld 100
        """)
    again = load(dump(row.engine)).areas[AREA].intervals[OPEN]
    assert [order.arrival for order in again.orders()] == [1, 2]


def test_nothing_is_shown_of_no_watt() -> None:
    bare = Market(settings=msgspec.structs.replace(SETTINGS, lot_w=1))
    assert reason(bare.do(place("a", "alice", "sell", 0, 100, display_w=1))) == "invalid_order"
    assert reason(bare.do(place("b", "alice", "sell", 0, 100))) == "off_lot"


def test_a_replacement_that_is_not_covered_says_what_would_be() -> None:
    """Of 1,000 W 400 are sold: 4,600 W are held, 600 of them offered, 1,000 below the failsafe."""
    bare = Market().play("""
        place A1 alice sell 1000 @ 100                rested 1000
        place B1 bob buy 400 @ 100                    traded 400 @ 100 maker A1
        """)
    (rejected,) = bare.do(c.Replace(AREA, "alice", "r1", "A1", 4_010, 100))
    assert isinstance(rejected, e.Rejected)
    assert rejected.detail == "3610 W offered, 3600 W can be sold above the failsafe and earlier offers"
    assert bare.ask("replace r2 alice A1 to 4000 @ 100") == "replaced 3600 of 4000 lost; rested 3600"
