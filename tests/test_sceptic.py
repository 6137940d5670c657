"""Faults that random streams did not reach, each as the shortest story that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import encode_events
from exchange.commands import (
    AmendSettings,
    Cancel,
    CloseGate,
    Command,
    EnterPhase,
    InstallRows,
    MassCancel,
    OpenArea,
    OpenInterval,
    Place,
    Replace,
    RetireInterval,
    Withhold,
)
from exchange.engine import Engine
from exchange.events import Accepted, Cancelled, Event, MassCancelled, Refused, Rejected, Repeated, Replaced, Shown, Traded
from exchange.proposer import Proposer
from exchange.snapshot import dump, load
from gateway.marketdata import MarketData
from gateway.mirror import Mirror
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.whole import Classes, settled

NAMES = ("ann", "ben", "cat", "dan", "eve")
LENGTH = 900_000
HELD = 5_000


def market(settings: MarketSettings, coefficient: int | Sequence[int] = 1, held_w: int = HELD) -> Engine:
    """Three intervals; the one row is full, and everybody's export takes (as much) of it."""
    engine, n = Engine(), len(NAMES)
    takes = [coefficient] * n if isinstance(coefficient, int) else list(coefficient)
    columns = np.array([[take] for take in takes + [0] * n], dtype=np.int32)
    rows = Polytope(columns, held_w * sum(takes), [RowLabel("thermal", "feeder", "abc")])
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 0, 0) for name in NAMES)
    intervals = [OpenInterval("lv", LENGTH * number, rows.content_hash, (held_w,) * n, (held_w,) * n) for number in (1, 2, 3)]
    opening: list[Command] = [OpenArea("lv", settings, terms), InstallRows("lv", rows.to_bytes()), *intervals]
    for command in opening:
        assert not any(isinstance(event, Refused) for event in engine.apply(command))
    return engine


def place(who: str, side: str, watts: int, price: int, interval: int = 1, request: str = "", **more: Any) -> Place:
    return Place("lv", who, f"{who}-{interval}{request}", LENGTH * interval, "export", side, watts, price, **more)  # type: ignore[arg-type]


def refused(engine: Engine, command: Command) -> str:
    (event,) = engine.apply(command)
    return event.reason if isinstance(event, Rejected) else ""


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


def test_who_is_met_by_an_order_that_is_taken_back_is_found_by_the_next() -> None:
    """Fill or kill finds 10 W, then nobody, and gives them back; a block order does so in one interval and finds nothing in the other."""
    engine = market(MarketSettings(lot_w=10))
    engine.apply(place("ann", "sell", 10, 1_000))
    whole, block = place("eve", "buy", 20, 1_000, time_in_force="fok"), place("cat", "buy", 10, 1_000, intervals=2, time_in_force="ioc")
    for tried in (whole, block):
        assert [type(event) for event in engine.apply(tried)] == [Accepted, Cancelled]
        engine.check()
    assert [type(event) for event in engine.apply(place("dan", "buy", 10, 1_000))] == [Accepted, Traded]


# --- money --------------------------------------------------------------------------------------------------------


def legs(events: list[Event]) -> list[tuple[str, int, int]]:
    """(whose order, watts, cash) of what was traded."""
    return [(leg.customer, leg.change_w, leg.cash_mct) for event in events if isinstance(event, Traded) for leg in event.legs]


@pytest.mark.parametrize(
    ("takes", "orders", "trades", "left_w"),
    [
        pytest.param(
            (9_990, 9_500, 10_000),
            [("ann", "sell", 2_000, 10_000), ("ben", "sell", 10, 9_000), ("cat", "buy", 10, 11_100)],
            [("cat", 9, -22), ("ben", -10, 22)],
            1,
            id="ben's ten leave cat one short of a lot; ann would give two for it, and cat's bid pays for one",
        ),
        pytest.param(
            (1_000, 545, 1_090),
            [("ann", "sell", 2_000, 10_000), ("ben", "sell", 10, 100), ("cat", "buy", 20, 11_000)],
            [("cat", 5, 0), ("ben", -10, 0), ("cat", 10, -27), ("ann", -11, 27)],
            5,
            id="fifteen would take seventeen of ann's, and cat bids for sixteen and a half; for ten she gives eleven, as bid",
        ),
        pytest.param(
            (10_000, 17_000, 10_001),
            [("ben", "buy", 10, 20_000), ("cat", "buy", 100, 11_000), ("ann", "sell", 20, 10_000)],
            [("ann", -18, 50), ("ben", 10, -50)],
            2,
            id="ben takes eighteen of ann's; the two left make one of cat's, who bids for one",
        ),
    ],
)
def test_nobody_gives_two_watts_for_the_price_of_one(
    takes: tuple[int, int, int], orders: list[tuple[str, str, int, int]], trades: list[tuple[str, int, int]], left_w: int
) -> None:
    engine = market(MarketSettings(matching="exchange_rate"), (*takes, 0, 0))
    told = [engine.apply(place(*order)) for order in orders]
    assert not any(isinstance(event, Traded) for event in told[0] + told[1])
    assert legs(told[2]) == trades
    assert [(event.quantity_w, event.cause) for event in told[2] if isinstance(event, Cancelled)] == [(left_w, "remainder")]
    engine.check()


def test_a_proposal_does_not_sell_to_a_customer_what_is_its_own() -> None:
    """Ann bids and offers, ben offers: her watts come from him, though her own offer is cheaper."""
    for matching in ("one_to_one", "exchange_rate"):
        engine = market(MarketSettings(matching=matching, sweeps=True))
        engine.apply(EnterPhase("lv", LENGTH, "auction", ""))
        for order in (place("ann", "buy", 200, 10_000, request="b"), place("ann", "sell", 100, 5_000), place("ben", "sell", 100, 6_000)):
            engine.apply(order)
        uncross = Proposer().uncross(engine, "lv", LENGTH, ends_auction=True)
        assert uncross is not None
        assert [(who, watts) for who, watts, _ in legs(engine.apply(uncross))] == [("ann", 100), ("ben", -100)]
        engine.check()


def test_a_block_that_trades_pauses_all_its_intervals_before_it_wakes_anybody() -> None:
    """It takes from ann, who relieves the row, so cat can have dan's in the first interval; in the second ann's price is far off."""
    engine = market(MarketSettings(pause_mct=200), (2, 1, 1, 0, 0))
    engine.apply(place("dan", "sell", 10, 100, 2))
    engine.apply(place("eve", "buy", 10, 100, 2))
    engine.apply(place("cat", "buy", 100, 450))
    for order in (place("dan", "sell", 100, 420), place("ann", "sell", 100, 600), place("ann", "sell", 100, 600, 2)):
        assert not any(isinstance(event, Traded) for event in engine.apply(order))
    told = engine.apply(place("ben", "buy", 100, 700, intervals=2))
    assert [event.kind if isinstance(event, Traded) else type(event).__name__ for event in told] == [
        "Accepted", "block", "block", "PhaseEntered", "pair",
    ]  # fmt: skip
    engine.check()


# --- extremes -----------------------------------------------------------------------------------------------------


def test_purchases_of_the_operator_without_bounds_leave_orders_to_the_walk() -> None:
    """Twice all the watts that a number can name, at a steep row: a sum of changes that no 64 bits hold is no question for the solver."""
    engine = market(MarketSettings(matching="exchange_rate", sweeps=True), 2**31 - 1, 1_000)
    for name in ("first", "second"):
        engine.apply(Withhold("lv", name, LENGTH, "thermal", "feeder", "abc", "buy", 2_000_000_000, 1_000, "congestion"))
    order, proposer = place("ann", "sell", 100, 500), Proposer()
    assert proposer.propose(engine, order) is None
    question = proposer.question(engine, "lv", LENGTH)
    assert question is not None
    assert question.answer() is None
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


# --- bounds on what one customer can cause ------------------------------------------------------------------------


def test_an_iceberg_has_at_most_twenty_parts() -> None:
    """One purchase uses up all of them: twenty trades, nineteen parts that follow, and no way to ask for more."""
    engine = market(MarketSettings(lot_w=10))
    assert refused(engine, place("ann", "sell", 210, 1_000, display_w=10)) == "invalid_order"
    engine.apply(msgspec.structs.replace(place("ann", "sell", 200, 1_000, display_w=10), request_id="ice"))
    assert refused(engine, Replace("lv", "ann", "more", "ice", 210, 1_000)) == "invalid_order"
    told = engine.apply(place("ben", "buy", 200, 1_000))
    assert [type(event) for event in told] == [Accepted, *([Traded, Shown] * 19), Traded]


def test_what_is_open_of_an_iceberg_bounds_its_parts_not_what_it_has_traded() -> None:
    engine = market(MarketSettings(lot_w=10))
    engine.apply(place("ann", "sell", 200, 1_000, display_w=10))
    engine.apply(place("ben", "buy", 100, 1_000))
    assert refused(engine, Replace("lv", "ann", "r1", "ann-1", 310, 1_000)) == "invalid_order"
    assert isinstance(engine.apply(Replace("lv", "ann", "r2", "ann-1", 300, 1_000))[0], Replaced)


def test_an_interval_remembers_so_many_requests_of_a_customer_and_decides_no_more() -> None:
    engine = market(MarketSettings(requests_max=3))
    rests, later = place("ann", "sell", 100, 1_000), place("ann", "buy", 10, 1_000, 2)
    off_lot = [msgspec.structs.replace(rests, request_id=f"off{number}", quantity_w=5) for number in range(50)]
    engine.apply(rests)
    assert [refused(engine, request) for request in off_lot] == ["off_lot"] * 2 + ["too_many_requests"] * 48
    for again in range(2):
        engine = load(dump(engine))
        assert isinstance(engine.apply(rests)[0], Repeated)
        assert isinstance(engine.apply(off_lot[1])[0], Repeated)
        assert [refused(engine, request) for request in off_lot[2:]] == ["too_many_requests"] * 48
        assert refused(engine, Replace("lv", "ann", f"r{again}", "ann-1", 50, 1_000)) == "too_many_requests"
        assert len(engine.areas["lv"].accounts["ann"].receipts) == 3
    assert isinstance(engine.apply(later)[0], Accepted), "another interval has a memory of its own"
    assert isinstance(engine.apply(place("ben", "buy", 10, 900))[0], Accepted), "and so has another customer"


def test_cancels_that_find_an_order_work_and_are_remembered_however_much_was_asked() -> None:
    engine = market(MarketSettings(requests_max=2))
    engine.apply(place("ann", "sell", 100, 1_000))
    engine.apply(msgspec.structs.replace(place("ann", "sell", 50, 1_000), request_id="second"))
    cancel, all_of_them = Cancel("lv", "ann", "x1", "second"), MassCancel("lv", "ann", "x2", LENGTH)
    assert isinstance(engine.apply(cancel)[0], Cancelled)
    assert [type(event) for event in engine.apply(all_of_them)] == [Cancelled, MassCancelled]
    assert [type(engine.apply(again)[0]) for again in (cancel, all_of_them)] == [Repeated, Repeated]
    assert refused(engine, MassCancel("lv", "ann", "x3", LENGTH)) == "too_many_requests", "there is nothing left"


def test_what_names_nothing_known_is_remembered_with_the_last_interval_and_no_more_of_it() -> None:
    engine = market(MarketSettings(requests_max=2))
    unknown = [Cancel("lv", "ann", f"x{number}", "never") for number in range(4)]
    assert [refused(engine, cancel) for cancel in unknown] == ["unknown_order"] * 2 + ["too_many_requests"] * 2
    everything = MassCancel("lv", "ann", "m1")
    assert refused(engine, everything) == "too_many_requests"
    assert isinstance(engine.apply(place("ann", "sell", 10, 1_000))[0], Accepted)
    (rows,) = engine.areas["lv"].rows
    engine.apply(OpenInterval("lv", 4 * LENGTH, rows, (HELD,) * 5, (HELD,) * 5))
    assert refused(engine, unknown[2]) == "unknown_order", "it was not decided; a later interval has room for it"
    assert [type(event) for event in engine.apply(everything)] == [Cancelled, MassCancelled]
    for start in (4 * LENGTH, 3 * LENGTH):
        engine.apply(CloseGate("lv", start))
        engine.apply(RetireInterval("lv", start))
    assert list(engine.areas["lv"].accounts["ann"].receipts) == ["ann-1"]


def test_nothing_is_remembered_where_there_is_no_interval() -> None:
    engine = market(MarketSettings(requests_max=1))
    for start in (LENGTH, 2 * LENGTH, 3 * LENGTH):
        engine.apply(CloseGate("lv", start))
        engine.apply(RetireInterval("lv", start))
    for number in range(5):
        assert refused(engine, Cancel("lv", "ann", f"x{number}", "never")) == "unknown_order"
        assert isinstance(engine.apply(MassCancel("lv", "ann", f"m{number}"))[0], MassCancelled)
    assert engine.areas["lv"].accounts["ann"].receipts == {}


# --- block orders and icebergs ------------------------------------------------------------------------------------


def test_an_iceberg_that_a_block_uses_up_in_parts_is_shown_once_as_it_is_in_the_end() -> None:
    """Of ann's 60 W, 20 W at a time, the block takes 20, then ben's 20, then 20 and 10 of ann's again: 10 W are open and shown. In the
    second interval cat's last 20 W of 60 go with a third part: nothing is shown of what is gone."""
    engine = market(MarketSettings(lot_w=10))
    for order in (
        place("ann", "sell", 80, 1_000, display_w=20), place("ben", "sell", 20, 1_000), place("cat", "sell", 70, 1_000, 2, display_w=20)
    ):  # fmt: skip
        engine.apply(order)
    mirror = Mirror.of(engine)
    public, block = MarketData(mirror), place("eve", "buy", 70, 1_000, intervals=2)
    told = engine.apply(block)
    first, second = (event for event in told if isinstance(event, Traded))
    assert [(leg.order_id, leg.change_w, leg.open_w, leg.shown_w) for leg in first.legs[1:]] == [
        ("ann-1", -20, 60, 0), ("ben-1", -20, 0, 0), ("ann-1", -20, 40, 0), ("ann-1", -10, 30, 10),
    ]  # fmt: skip
    assert [leg.open_w for leg in second.legs[1:]] == [50, 30, 10, 0]
    assert [(event.order_id, event.shown_w) for event in told if isinstance(event, Shown)] == [("ann-1", 10)]
    assert [type(event) for event in told] == [Accepted, Traded, Shown, Traded]
    for event in told:
        public.fold(event)
        mirror.fold(block, event)
    mirror.check(engine)
    assert [public.books["lv", LENGTH * number, "export"].levels["sell"] for number in (1, 2)] == [{1_000: [10, 1]}, {}]
