"""The proposing side: what it asks the solver, when it does not, and that the engine takes what it proposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exchange import proposer as module
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Command, EnterPhase, Halt, InstallRows, OpenArea, OpenInterval, Place, Sweep, Uncross
from exchange.engine import Engine
from exchange.events import Event, Refused, Traded, Uncrossed
from exchange.proposer import Proposer
from riskcheck.polytope import Polytope, RowLabel

NAMES = ("ann", "ben", "cat", "dan")
SETTINGS = MarketSettings(matching="exchange_rate", sweeps=True)
# Two rows, both filled by the envelopes of 5,000 W that everybody holds; ann gives to one, ben to the other, cat takes from both.
TAKES = {"ann": (2, 0), "ben": (0, 2), "cat": (1, 1), "dan": (1, 1)}
HELD = 5_000
SLACK = HELD * 1_200  # the rows of all tests divide it


def rows(takes: dict[str, tuple[int, int]] = TAKES) -> Polytope:
    """On the export side only; full at HELD."""
    used = [sum(of[row] for of in takes.values()) for row in (0, 1)]
    unit = [SLACK // (HELD * use) for use in used]
    columns = np.array([[of[row] * unit[row] for row in (0, 1)] for of in takes.values()] + [[0, 0]] * len(takes), dtype=np.int32)
    return Polytope(columns, SLACK, [RowLabel("thermal", name, "abc") for name in ("west", "east")])


def market(settings: MarketSettings = SETTINGS, *, phase: str = "continuous", polytope: Polytope | None = None) -> Engine:
    engine, polytope = Engine(), polytope or rows()
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 0, 0) for name in NAMES)
    held = (HELD,) * len(NAMES)
    for command in (
        OpenArea("lv", settings, terms), InstallRows("lv", polytope.to_bytes()),
        OpenInterval("lv", 0, polytope.content_hash, held, held, phase),  # type: ignore[arg-type]
    ):  # fmt: skip
        assert not any(isinstance(event, Refused) for event in engine.apply(command))
    return engine


def place(who: str, side: str, watts: int, price: int, number: int = 1, **more: Any) -> Place:
    return Place("lv", who, f"{who}{number}", 0, more.pop("direction", "export"), side, watts, price, **more)  # type: ignore[arg-type]


def apply(engine: Engine, command: Command) -> list[Event]:
    events = engine.apply(command)
    engine.areas["lv"].check()
    return events


def resting_offers(engine: Engine) -> None:
    """One seller at each row: nobody can trade with either of them alone."""
    apply(engine, place("ann", "sell", 1_000, 1_000))
    apply(engine, place("ben", "sell", 1_000, 2_000))


def not_asked(*_: object, **__: object) -> None:
    raise AssertionError("the solver was asked")


# --- an order that comes ------------------------------------------------------------------------------------------


def test_a_sweep_buys_from_two_sellers_what_no_pair_can_trade() -> None:
    engine = market()
    resting_offers(engine)
    order = place("cat", "buy", 800, 5_000)
    proposal = Proposer().propose(engine, order)
    assert isinstance(proposal, Sweep)
    assert proposal.place is order
    assert {change.right: change.change_w for change in proposal.changes} == {0: -400, 1: -400, 2: 800}
    traded = [event for event in apply(engine, proposal) if isinstance(event, Traded)]
    assert [trade.kind for trade in traded] == ["sweep"]
    assert list(engine.holdings("lv", 0)[0]) == [HELD - 400, HELD - 400, HELD + 800, HELD]


def test_a_sale_completes_a_blocked_purchase() -> None:
    engine = market()
    apply(engine, place("ann", "sell", 1_000, 1_000))
    apply(engine, place("cat", "buy", 800, 5_000))
    proposal = Proposer().propose(engine, place("ben", "sell", 300, 2_000))
    assert proposal is not None
    assert [change.change_w for change in proposal.changes] == [-300, -300, 600]
    assert any(isinstance(event, Traded) and event.kind == "sweep" for event in apply(engine, proposal))


@pytest.mark.parametrize("order", [
    place("cat", "buy", 800, 5_000, intervals=2), place("cat", "buy", 800, 5_000, time_in_force="fok"),
    place("cat", "buy", 16_000, 5_000), place("cat", "buy", 800, 10**6), place("eve", "buy", 800, 5_000),
    Place("lv", "cat", "x", 900_000, "export", "buy", 800, 5_000), Place("mv", "cat", "x", 0, "export", "buy", 800, 5_000),
])  # fmt: skip
def test_orders_that_are_no_business_of_the_solver(order: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, fill or kill, and whatever the engine will reject."""
    engine = market()
    resting_offers(engine)
    monkeypatch.setattr(module.sweep, "best", not_asked)
    assert Proposer().propose(engine, order) is None


def test_nothing_is_asked_in_a_market_without_sweeps_nor_in_an_auction_nor_when_halted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sweep, "best", not_asked)
    order = place("cat", "buy", 800, 5_000)
    for engine in (market(MarketSettings(matching="exchange_rate")), market(phase="auction"), market()):
        resting_offers(engine)
        if engine.areas["lv"].intervals[0].phase == "continuous":
            engine.apply(Halt("lv", 0, "test", "import"))
        assert Proposer().propose(engine, order) is None


def test_an_order_that_finds_room_takes_it_without_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sweep, "best", not_asked)
    engine = market()
    resting_offers(engine)
    assert Proposer().propose(engine, place("cat", "buy", 800, 5_000, direction="import")) is None


def test_prices_of_the_last_solution_tell_which_orders_cannot_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """ann and ben ask 1,000 and 2,000 for rows of which cat takes half as much as they: 1,500 is what a watt costs her."""
    engine, proposer = market(), Proposer()
    resting_offers(engine)
    proposal = proposer.propose(engine, place("cat", "buy", 100, 5_000))
    assert proposal is not None
    apply(engine, proposal)
    monkeypatch.setattr(module.sweep, "best", not_asked)
    assert proposer.propose(engine, place("dan", "buy", 100, 1_400)) is None
    with pytest.raises(AssertionError, match="asked"):
        proposer.propose(engine, place("dan", "buy", 100, 1_600))


def test_what_a_pair_trades_as_well_is_left_to_it() -> None:
    """One seller can serve the whole order at once: no proposal is worth more."""
    engine = market(polytope=rows({"ann": (2, 0), "ben": (1, 0), "cat": (1, 0), "dan": (1, 1)}))
    apply(engine, place("ann", "sell", 1_000, 1_000))
    assert Proposer().propose(engine, place("cat", "buy", 800, 5_000)) is None


def test_a_customer_does_not_sell_to_itself_at_the_right_that_it_buys() -> None:
    engine = market(polytope=rows({"ann": (1, 0), "ben": (1, 0), "cat": (0, 1), "dan": (0, 1)}))
    apply(engine, place("ann", "sell", 500, 1_000))
    assert Proposer().propose(engine, place("ann", "buy", 500, 5_000, 2)) is None


def test_other_rows_make_the_old_prices_worthless() -> None:
    engine, proposer = market(), Proposer()
    resting_offers(engine)
    proposer.propose(engine, place("cat", "buy", 100, 5_000))
    interval = engine.areas["lv"].intervals[0]
    assert proposer._outlook(interval) is not None
    interval.rows_hash = "other"
    assert proposer._outlook(interval) is None


# --- orders at rest -----------------------------------------------------------------------------------------------


def test_orders_at_rest_are_uncrossed_once_and_then_left_alone() -> None:
    engine, proposer = market(), Proposer()
    resting_offers(engine)
    apply(engine, place("cat", "buy", 800, 5_000))  # pairs: nothing
    assert proposer.may_uncross(engine, "lv", 0)
    uncross = proposer.uncross(engine, "lv", 0, ends_auction=False)
    assert isinstance(uncross, Uncross)
    assert [event.is_proposal for event in apply(engine, uncross) if isinstance(event, Uncrossed)] == [True]
    assert not proposer.may_uncross(engine, "lv", 0)
    assert proposer.uncross(engine, "lv", 0, ends_auction=False) is None


def test_what_is_worth_less_than_a_lot_is_not_uncrossed() -> None:
    """At 1,500 for a watt of dan's, his 100 W gain 100 for each that he bids more: ben's right is the dearest, a lot of it costs 20,000."""
    engine, proposer = market(), Proposer()
    resting_offers(engine)
    proposer.propose(engine, place("cat", "buy", 100, 5_000))
    for bid, is_asked in ((1_690, False), (1_710, True)):
        apply(engine, place("dan", "buy", 100, bid, bid))
        assert proposer.may_uncross(engine, "lv", 0) is is_asked


@pytest.mark.parametrize("pricing", ["pay_as_bid", "uniform"])
def test_an_auction_ends_with_the_joint_fills(pricing: str) -> None:
    settings = MarketSettings(matching="exchange_rate", sweeps=True, call_auctions=True, auction_pricing=pricing)
    engine, proposer = market(settings, phase="auction"), Proposer()
    resting_offers(engine)
    apply(engine, place("cat", "buy", 800, 5_000))
    uncross = proposer.uncross(engine, "lv", 0, ends_auction=True)
    assert uncross is not None
    assert bool(uncross.row_price_mct) == (pricing == "uniform")
    (trade,) = (event for event in apply(engine, uncross) if isinstance(event, Traded))
    paid = {leg.customer: leg.price_mct for leg in trade.legs}
    assert paid == ({"ann": 1_000, "ben": 2_000, "cat": 5_000} if pricing == "pay_as_bid" else {"ann": 1_000, "ben": 2_000, "cat": 1_500})
    assert engine.areas["lv"].intervals[0].phase == "continuous"


def test_an_auction_in_which_nothing_trades_ends_all_the_same() -> None:
    engine = market(phase="auction")
    uncross = Proposer().uncross(engine, "lv", 0, ends_auction=True)
    assert uncross == Uncross("lv", 0, rows().content_hash, (), ends_auction=True)
    apply(engine, uncross)
    assert engine.areas["lv"].intervals[0].phase == "continuous"


def ended(engine: Engine, *orders: Place) -> tuple[Uncrossed, list[Traded]]:
    """An auction over these orders that ends without a proposal: its result, and the trades of the whole command."""
    for order in orders:
        apply(engine, order)
    events = apply(engine, Uncross("lv", 0, engine.areas["lv"].intervals[0].rows_hash, (), ends_auction=True))
    (done,) = (event for event in events if isinstance(event, Uncrossed))
    return done, [event for event in events if isinstance(event, Traded)]


def test_a_greedy_match_that_the_operator_would_have_to_pay_for_is_none_and_its_pairs_trade_afterwards() -> None:
    """20 W at 1,030 are 5.15 mct, twice 10 W are 2.575 each: whole milli-cents, rounded down, would cost the operator 5 - 2 - 2 = 1."""
    alike = dict.fromkeys(NAMES, (1, 1))
    engine = market(MarketSettings(), phase="auction", polytope=rows(alike))
    orders = place("ann", "sell", 20, 1_030), place("cat", "buy", 10, 1_030), place("dan", "buy", 10, 1_030)
    done, trades = ended(engine, *orders)
    assert (done.is_proposal, done.welfare_mct) == (False, 0)
    assert [(trade.kind, [leg.cash_mct for leg in trade.legs]) for trade in trades] == [("pair", [-2, 2]), ("pair", [-2, 2])]
    assert engine.operator_cash("lv") == 0


def test_a_greedy_match_of_negative_welfare_is_none_and_its_pairs_trade_afterwards() -> None:
    """At 1.05 W for one, 10 W are 9 W and a rest that is lost: 9 x 1,100 - 10 x 1,000 < 0, though a lot pays: 10 x 1,100 = 11 x 1,000."""
    engine = market(phase="auction", polytope=rows({"ann": (20, 1), "ben": (19, 1), "cat": (21, 1), "dan": (0, 1)}))
    done, trades = ended(engine, place("ann", "sell", 10, 1_000), place("cat", "buy", 10, 1_100))
    assert done.welfare_mct == 0
    assert [(trade.kind, [leg.change_w for leg in trade.legs]) for trade in trades] == [("pair", [9, -10])]


def indicated(proposer: Proposer, engine: Engine) -> module.Indication | None:
    question = proposer.question(engine, "lv", 0)
    assert question is not None
    return proposer.indication(engine, question, question.answer())


def test_the_indicative_result_is_what_the_auction_then_does() -> None:
    engine, proposer = market(phase="auction"), Proposer()
    resting_offers(engine)
    apply(engine, place("cat", "buy", 800, 5_000))
    told = indicated(proposer, engine)
    assert told is not None
    export, of_import = told.matched
    assert (export.bought_w, export.sold_w, export.price_mct_min, export.price_mct_max) == (800, 800, 1_000, 2_000)
    assert (of_import.bought_w, of_import.sold_w) == (0, 0)
    assert told.row_price_mct == {0: 1_000, 1: 2_000}
    uncross = proposer.uncross(engine, "lv", 0, ends_auction=True)
    assert uncross is not None
    (done,) = (event for event in apply(engine, uncross) if isinstance(event, Uncrossed))
    assert told.welfare_mct == done.welfare_mct == (800 * 5_000 - 400 * 1_000 - 400 * 2_000) // 4_000


@pytest.mark.parametrize(("area", "interval_ms"), [("mv", 0), ("lv", 900_000)])
def test_what_is_not_open_has_no_indication(area: str, interval_ms: int) -> None:
    engine = market()
    assert Proposer().question(engine, area, interval_ms) is None
    assert Proposer().uncross(engine, area, interval_ms, ends_auction=True) is None
    assert not Proposer().may_uncross(engine, area, interval_ms)


def test_no_orders_no_result() -> None:
    assert indicated(Proposer(), market(phase="auction")) == module.Indication((), 0, {})


def test_what_is_retired_is_forgotten() -> None:
    engine, proposer = market(), Proposer()
    resting_offers(engine)
    proposer.propose(engine, place("cat", "buy", 100, 5_000))
    proposer.forget("lv", 0)
    assert proposer._outlooks == {}


def test_a_frozen_interval_is_not_uncrossed() -> None:
    engine = market()
    resting_offers(engine)
    apply(engine, place("cat", "buy", 800, 5_000))
    apply(engine, EnterPhase("lv", 0, "frozen", "test"))
    assert not Proposer().may_uncross(engine, "lv", 0)
