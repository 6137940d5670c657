"""The proposing side: from an interval and the order that comes to a problem for `riskcheck/sweep.py`, and back to a command.

What leaves here is a proposal: the engine deals it, verifies it in integers and compares it with what pairs would trade
(`exchange/proposals.py`). So nothing here has to be right, repeatable or kept: floats and a memory of prices are fine, and replay
reads the commands that came of it. It only reads the engine, but for a walk that it tries and takes back.

**When is it worth asking?** The last solution of an interval left a price on each row. While nobody at rest bids more than these
make its right cost (or asks less), no set of resting orders can gain anything; and an order that comes can gain at most

    (its limit - price of its right) * watts  +  sum of row price * residual

by duality, whatever it is combined with. Where its limit is no better than the price, or the pairwise walk alone brings (nearly) that
much, the solver is not asked: most orders rest, or take what is left over, or meet exactly the marginal order. With no prices yet,
or other rows, it is asked. What room that came since would be worth to others is left to `may_uncross`: it asks where the first orders
at rest and that room could together gain as much as one lot costs, by the same bound.

Orders in force over several intervals are left out, and so are those of halted books. Whole open quantities count, not only what
is shown. One to one, the operator's orders for rows have no counterpart and are left out, too.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from exchange import dealing, guards, proposals
from exchange.book import Lines, Order
from exchange.commands import Change, Direction, Place, Sweep, Uncross
from exchange.dealing import LAST
from exchange.ledger import MCT_W_MS_PER_KWH
from exchange.market import DIRECTIONS, Area, Interval
from exchange.search import NONE, PRICE, SHOWN
from riskcheck import sweep
from riskcheck.sweep import Fills, Offers

if TYPE_CHECKING:
    import numpy.typing as npt

    from exchange.engine import Engine

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

NEARLY_ALL = 0.999  # of what could be gained: then pairs may as well trade by themselves
OFFERS_MAX = 2_000  # more in one interval, and pairs trade by themselves


class Matched(NamedTuple):
    """One book of an indicative result: watts bought and sold, and the lowest and highest price of a right that trades."""

    direction: Direction
    bought_w: int
    sold_w: int
    price_mct_min: int
    price_mct_max: int


class Indication(NamedTuple):
    """What an auction would do if it ended now. `welfare_mct` over the interval; `row_price_mct` of the rows that bind, by row."""

    matched: tuple[Matched, ...]
    welfare_mct: int
    row_price_mct: dict[int, int]


class _Outlook(NamedTuple):
    """Prices that the last solution of an interval left, valid for these rows."""

    rows_hash: str
    row_price_mct: Floats
    priced: Indices
    price_per_unit: Floats  # of residual, rows `priced`
    right_price_mct: Floats


class Question(NamedTuple):
    """What the solver is asked, by itself: all is as it was at that moment, so `answer` may run in another thread while the engine goes
    on. Without offers there is nothing to match."""

    area: str
    interval_ms: int
    rows_hash: str
    columns: npt.NDArray[np.int32]
    residual: Indices
    offers: Offers | None
    class_of: Indices
    hint_mct: Floats | None
    is_quick: bool

    def answer(self) -> Fills | None:
        if self.offers is None:
            return None
        return sweep.best(
            self.columns, self.residual, self.offers, class_of=self.class_of, hint_mct=self.hint_mct, is_quick=self.is_quick
        )  # fmt: skip


class Proposer:
    """Keeps what it knows of prices by interval; forgets what is retired."""

    def __init__(self) -> None:
        self._outlooks: dict[tuple[str, int], _Outlook] = {}

    def propose(self, engine: Engine, place: Place) -> Sweep | None:
        """The joint fills for an order that comes, where there is more in them than in trading pair by pair."""
        found = _meets(engine, place)
        if found is None:
            return None
        area, interval, right = found
        outlook = self._outlook(interval)
        if outlook is not None and _edge(place, outlook.right_price_mct[right]) <= 0:
            return None
        taker = _order(engine, area, interval, right, place)
        if taker is None or not _may_gain(area, interval, taker, outlook):
            return None
        walked = proposals.walk_worth(area, interval, taker, place.time_in_force, 0)
        if outlook is not None and walked >= NEARLY_ALL * _gain_max(interval, place, right, outlook):
            return None
        question = self._question(area, interval, taker)
        fills = question.answer()
        if question.offers is None or fills is None:
            return None
        self._learn(interval, fills)
        return Sweep(place, _changes(question.offers, fills)) if fills.welfare_mct_w >= walked + _least_gain(area) else None

    def question(self, engine: Engine, area_name: str, interval_ms: int) -> Question | None:
        """What the orders at rest ask of the solver; None where no such interval is open."""
        found = _open_interval(engine, area_name, interval_ms)
        return None if found is None else self._question(*found, None)

    def uncross(self, engine: Engine, area_name: str, interval_ms: int, *, ends_auction: bool) -> Uncross | None:
        """The joint fills of the orders at rest, solved here and now."""
        question = self.question(engine, area_name, interval_ms)
        return None if question is None else self.uncrossing(engine, question, question.answer(), ends_auction=ends_auction)

    def uncrossing(self, engine: Engine, question: Question, fills: Fills | None, *, ends_auction: bool) -> Uncross | None:
        """The joint fills as a command; where they end an auction always one, since the greedy match may do. None where the interval
        is not open any more, or other rows are in force than those that were asked about."""
        found = _as_asked(engine, question)
        if found is None:
            return None
        area, interval = found
        changes, prices = tuple[Change, ...](), tuple[int, ...]()
        if question.offers is not None and fills is not None:
            self._learn(interval, fills)
            if fills.welfare_mct_w >= (1 if ends_auction else _least_gain(area)):
                changes = _changes(question.offers, fills)
                prices = _row_prices(fills) if area.settings.auction_pricing == "uniform" and ends_auction else ()
        if not changes and not ends_auction:
            return None
        return Uncross(area.name, interval.start_ms, interval.rows_hash, changes, ends_auction, prices)

    def indication(self, engine: Engine, question: Question, fills: Fills | None) -> Indication | None:
        """What an `Uncross` would have done when it was asked; None as for `uncrossing`."""
        found = _as_asked(engine, question)
        if found is None:
            return None
        if question.offers is None or fills is None:
            return Indication((), 0, {})
        self._learn(found[1], fills)
        return _indication(*found, question.offers, fills)

    def may_uncross(self, engine: Engine, area_name: str, interval_ms: int) -> bool:
        """Whether the orders at rest could gain together, by the prices of the last solution, as much as a lot of the dearest right."""
        found = _open_interval(engine, area_name, interval_ms)
        if found is None or found[1].phase != "continuous" or not found[0].settings.sweeps:
            return False
        area, interval = found
        outlook = self._outlook(interval)
        if outlook is None:
            return bool((interval.buys.heads[PRICE] != NONE).any())
        worth: float = _edges_worth(interval.buys.heads, interval.sells.heads, outlook.right_price_mct) + _freed_worth(interval, outlook)
        return worth >= max(_least_gain(area), area.settings.lot_w * float(outlook.right_price_mct.max(initial=0.0)))

    def forget(self, area_name: str, interval_ms: int) -> None:
        """An interval was retired."""
        self._outlooks.pop((area_name, interval_ms), None)

    def _outlook(self, interval: Interval) -> _Outlook | None:
        known = self._outlooks.get((interval.area.name, interval.start_ms))
        same = known is not None and known.rows_hash == interval.rows_hash and len(known.right_price_mct) == len(interval.owners)
        return known if same else None

    def _question(self, area: Area, interval: Interval, taker: Order | None) -> Question:
        headroom, outlook = interval.headroom, self._outlook(interval)
        return Question(
            area.name, interval.start_ms, interval.rows_hash, headroom.columns, headroom.residual.copy(), _offers(area, interval, taker),
            dealing.classes(interval).of_all(len(headroom.columns)), None if outlook is None else outlook.row_price_mct,
            interval.phase == "continuous",
        )  # fmt: skip

    def _learn(self, interval: Interval, fills: Fills) -> None:
        """Prices, for the next who asks."""
        self._outlooks[interval.area.name, interval.start_ms] = _outlook(interval, fills)


# --- is it worth asking? ------------------------------------------------------------------------------------------


def _meets(engine: Engine, place: Place) -> tuple[Area, Interval, int] | None:
    """Where the order would come, and its right, if it is one for which proposals are made."""
    area = engine.areas.get(place.area)
    if area is None or not area.settings.sweeps or place.intervals != 1 or place.time_in_force == "fok":
        return None
    account, interval = area.accounts.get(place.customer), area.intervals.get(place.interval_ms)
    if account is None or interval is None or interval.phase != "continuous" or engine.shut(area.name, interval.start_ms):
        return None
    return area, interval, area.right(account.position, place.direction)


def _order(engine: Engine, area: Area, interval: Interval, right: int, place: Place) -> Order | None:
    """The order as it would stand there; None where the engine will say no anyway."""
    account = area.accounts[place.customer]
    is_known = place.request_id in account.receipts
    if is_known or guards.refuse_place(engine, place, area, account, [interval], right) is not None:
        return None
    line = interval.side(place.side).lines[right]
    return Order(
        account, place.request_id, line, right, place.quantity_w, place.quantity_w, place.price_mct, place.until_ms, 0, place.display_w
    )  # fmt: skip


def _edge(place: Place, price_mct: float) -> float:
    """By how much its limit is better than the price of its right: at most that, a watt of it can gain."""
    return place.price_mct - price_mct if place.side == "buy" else price_mct - place.price_mct


def _may_gain(area: Area, interval: Interval, taker: Order, outlook: _Outlook | None) -> bool:
    """Whether rows stand in the way of a purchase, or purchases wait for a sale; and more than a crumb may be gained."""
    if taker.line.side == "buy":
        if interval.headroom.room_w(taker.right) >= taker.open_w:
            return False
    elif not (interval.buys.heads[PRICE] != NONE).any():
        return False
    if outlook is None:
        return True
    price = float(outlook.right_price_mct[taker.right])
    return abs(taker.price_mct - price) * taker.open_w >= _least_gain(area)


def _least_gain(area: Area) -> int:
    """One lot at a price that is better by one tick: less is not worth a proposal. In mct/kWh times watts."""
    return area.settings.lot_w * area.settings.tick_mct


def _gain_max(interval: Interval, place: Place, right: int, outlook: _Outlook) -> float:
    """An upper bound of what the order can gain in any company, in mct/kWh times watts."""
    return max(0.0, _edge(place, outlook.right_price_mct[right])) * place.quantity_w + _freed_worth(interval, outlook)


def _freed_worth(interval: Interval, outlook: _Outlook) -> float:
    """What room that came since would be worth at the old prices. Less than a lot of a row is always there, and nobody's."""
    lot_w, residual = interval.area.settings.lot_w, interval.headroom.residual
    worth: float = _spare_worth(residual, interval.row_largest, lot_w, outlook.priced, outlook.price_per_unit)
    return worth


@njit(cache=True)  # type: ignore[untyped-decorator]
def _spare_worth(residual: Indices, row_largest: Indices, lot_w: int, priced: Indices, price_per_unit: Floats) -> Any:
    worth = 0.0
    for place, row in enumerate(priced):
        worth += price_per_unit[place] * max(residual[row] - lot_w * row_largest[row], 0)
    return worth


@njit(cache=True)  # type: ignore[untyped-decorator]
def _edges_worth(bids: Indices, asks: Indices, right_price_mct: Floats) -> Any:
    """What the first orders of all lines would gain, filled whole at these prices."""
    worth = 0.0
    for right, price in enumerate(right_price_mct):
        if bids[PRICE, right] != NONE:
            worth += max(bids[PRICE, right] - price, 0.0) * bids[SHOWN, right]
        if asks[PRICE, right] != NONE:
            worth += max(price - asks[PRICE, right], 0.0) * asks[SHOWN, right]
    return worth


# --- the problem and the answer -----------------------------------------------------------------------------------


def _open_interval(engine: Engine, area_name: str, interval_ms: int) -> tuple[Area, Interval] | None:
    area = engine.areas.get(area_name)
    interval = area.intervals.get(interval_ms) if area is not None else None
    if area is None or interval is None or interval.is_closed or engine.shut(area_name, interval_ms):
        return None
    return area, interval


def _as_asked(engine: Engine, question: Question) -> tuple[Area, Interval] | None:
    """Where it was asked, if rows (and the operator's rights) are those of then."""
    found = _open_interval(engine, question.area, question.interval_ms)
    if found is None or found[1].rows_hash != question.rows_hash or len(found[1].owners) != len(question.columns):
        return None
    return found


def _offers(area: Area, interval: Interval, taker: Order | None) -> Offers | None:
    """All orders by arrival, the incoming one last; None where there is nothing to match, or too much."""
    bids, asks = _resting(interval.buys), _resting(interval.sells)
    if taker is not None:
        (bids if taker.line.side == "buy" else asks).append(taker)
    count, rights = len(bids) + len(asks), 2 * len(area.terms)
    if not 0 < count <= OFFERS_MAX:
        return None
    terms = [term for o in bids + asks for term in (o.right, o.open_w, o.price_mct, o.arrival or LAST)]
    table = np.frombuffer(array("q", terms), dtype=np.int64).reshape(count, 4)
    order = np.argsort(table[:, 3], kind="stable")
    if not area.at_rates:
        order = order[table[order, 0] < rights]
    column, open_w, price, _ = table[order].T.copy()
    group = np.full(len(order), -1) if area.at_rates else column // len(area.terms)
    offers = Offers(column, order < len(bids), open_w, price, group)
    return offers if len(order) and sweep.is_countable(offers) else None


def _resting(side: Lines) -> list[Order]:
    lines = side.lines
    return [order for right in np.flatnonzero(side.heads[PRICE] != NONE).tolist() for order in lines[right]]


def _outlook(interval: Interval, fills: Fills) -> _Outlook:
    n, columns = len(interval.area.terms), interval.headroom.columns
    priced = np.flatnonzero(fills.row_price_mct)
    price = sweep.right_price_mct(columns, fills.row_price_mct)
    for group, more in fills.group_price_mct.items():
        price[group * n : (group + 1) * n] += more
    per_unit = fills.row_price_mct[priced] / np.maximum(interval.row_largest[priced], 1)
    return _Outlook(interval.rows_hash, fills.row_price_mct, priced, per_unit, price)


def _changes(offers: Offers, fills: Fills) -> tuple[Change, ...]:
    """Net watts by right, in the order of rights."""
    is_filled = np.flatnonzero(fills.filled_w)
    rights, filled_w, is_buy = (of[is_filled].tolist() for of in (offers.column, fills.filled_w, offers.is_buy))
    net = dict.fromkeys(sorted(rights), 0)
    for right, watts, bought in zip(rights, filled_w, is_buy, strict=True):
        net[right] += watts if bought else -watts
    return tuple(Change(right, change_w) for right, change_w in net.items() if change_w)


def _row_prices(fills: Fills) -> tuple[int, ...]:
    return tuple(np.rint(fills.row_price_mct).astype(np.int64).tolist())


def _indication(area: Area, interval: Interval, offers: Offers, fills: Fills) -> Indication:
    n, outlook = len(area.terms), _outlook(interval, fills)
    matched = tuple(_matched(offers, fills, direction, n, outlook.right_price_mct.tolist()) for direction in DIRECTIONS)
    welfare = fills.welfare_mct_w * area.settings.interval_ms // MCT_W_MS_PER_KWH
    prices = _row_prices(fills)
    return Indication(matched, welfare, {row: prices[row] for row in outlook.priced.tolist() if prices[row]})


def _matched(offers: Offers, fills: Fills, direction: Direction, n: int, right_price_mct: Sequence[float]) -> Matched:
    """One book. Rights of the operator are no book's."""
    filled = fills.filled_w
    book = DIRECTIONS.index(direction)
    here = (offers.column // n == book) & (filled > 0)
    prices = [round(right_price_mct[right]) for right in offers.column[here].tolist()]
    bought, sold = int(filled[here & offers.is_buy].sum()), int(filled[here & ~offers.is_buy].sum())
    return Matched(direction, bought, sold, min(prices, default=0), max(prices, default=0))


def warm() -> None:
    """Compiles (or loads from the cache) everything that a proposal needs, so that no order has to wait for it."""
    sweep.warm()
    none = np.zeros(0, dtype=np.int64)
    _spare_worth(none, none, 10, none, np.zeros(0))
    _edges_worth(np.full((3, 1), NONE), np.full((3, 1), NONE), np.zeros(1))
