"""Single watts, zeros and minus ones: edges that random streams seldom hit, found by mutants that survived them (docs/proof.md)."""

from __future__ import annotations

import msgspec
import pytest

from exchange import commands as c
from exchange import events as e
from exchange.bounds import MarketSettings
from exchange.guards import INTERVALS_MAX
from exchange.proposals import _secure, deal
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
    assert _secure(interval, dealt) is None
    interval.headroom.residual[:] = -1
    assert _secure(interval, dealt) is not None


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
