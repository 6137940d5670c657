"""The proposing side: from an interval and the order that comes to a problem for `riskcheck/sweep.py`, and back to a command.

What leaves here is a proposal: the engine deals it, verifies it in integers and compares it with what pairs would trade
(`exchange/proposals.py`). So nothing here has to be right, repeatable or kept: floats and a memory of prices are fine, and replay
reads the commands that came of it. It only reads the engine, but for a walk that it tries and takes back.

**When is it worth asking?** The last solution of an interval left a price on each row. While nobody at rest bids more than these
make its right cost (or asks less), no set of resting orders can gain anything; and an order that comes can gain at most

    (its limit - price of its right) * watts  +  sum of row price * residual

by duality, whatever it is combined with. Where its limit is no better than the price, or the pairwise walk alone brings (nearly) that
much, the solver is not asked: most orders rest, or take what is left over, or meet exactly the marginal order. With no prices yet,
or other rows, it is asked. What room that came since would be worth to others is left to `may_uncross`.

Orders in force over several intervals are left out, and so are those of halted books. Whole open quantities count, not only what
is shown. One to one, the operator's orders for rows have no counterpart and are left out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exchange import matching
from exchange.book import Order
from exchange.commands import Change, Direction, Place, Sweep, Uncross
from exchange.ledger import MCT_W_MS_PER_KWH
from exchange.market import DIRECTIONS, Area, Interval
from riskcheck import sweep
from riskcheck.sweep import Fills, Offers

if TYPE_CHECKING:
    import numpy.typing as npt

    from exchange.engine import Engine

    Floats = npt.NDArray[np.float64]

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
    priced: npt.NDArray[np.int64]
    price_per_unit: Floats  # of residual, rows `priced`
    right_price_mct: list[float]


class _Asked(NamedTuple):
    """A problem and the right of each of its offers."""

    offers: Offers
    fills: Fills


class Proposer:
    """Keeps what it knows of prices by interval; forgets what is retired."""

    def __init__(self, *, ask_osqp: bool = True) -> None:
        self._ask_osqp = ask_osqp
        self._outlooks: dict[tuple[str, int], _Outlook] = {}
        self._classes: dict[str, npt.NDArray[np.int64]] = {}

    def propose(self, engine: Engine, place: Place) -> Sweep | None:
        """The joint fills for an order that comes, where there is more in them than in trading pair by pair."""
        found = _meets(engine, place)
        if found is None:
            return None
        area, interval, right = found
        outlook = self._outlook(interval)
        if outlook is not None and _edge(place, outlook.right_price_mct[right]) <= 0:
            return None
        taker = _order(area, interval, right, place)
        if taker is None or not _may_gain(area, interval, taker, outlook):
            return None
        walked = _walk_worth(area, interval, taker)
        if outlook is not None and walked >= NEARLY_ALL * _gain_max(interval, place, right, outlook):
            return None
        asked = self._ask(area, interval, taker)
        if asked is None or asked.fills.welfare_mct_w < walked + _least_gain(area):
            return None
        return Sweep(place, _changes(asked))

    def uncross(self, engine: Engine, area_name: str, interval_ms: int, *, ends_auction: bool) -> Uncross | None:
        """The joint fills of the orders at rest; where they end an auction always a command, since the greedy match may do."""
        found = _open_interval(engine, area_name, interval_ms)
        if found is None:
            return None
        area, interval = found
        asked = self._ask(area, interval, None)
        is_worth_it = asked is not None and asked.fills.welfare_mct_w >= (1 if ends_auction else _least_gain(area))
        if asked is None or not is_worth_it:
            return Uncross(area_name, interval_ms, interval.rows_hash, (), ends_auction) if ends_auction else None
        prices = _row_prices(asked.fills) if area.settings.auction_pricing == "uniform" and ends_auction else ()
        return Uncross(area_name, interval_ms, interval.rows_hash, _changes(asked), ends_auction, prices)

    def indicative(self, engine: Engine, area_name: str, interval_ms: int) -> Indication | None:
        """What an `Uncross` would do now; None where there is no such interval open."""
        found = _open_interval(engine, area_name, interval_ms)
        if found is None:
            return None
        area, interval = found
        asked = self._ask(area, interval, None)
        return Indication((), 0, {}) if asked is None else _indication(area, interval, asked)

    def may_uncross(self, engine: Engine, area_name: str, interval_ms: int) -> bool:
        """Whether the orders at rest could gain together, by the prices of the last solution: a purchase above, a sale below them."""
        found = _open_interval(engine, area_name, interval_ms)
        if found is None or found[1].phase != "continuous" or not found[0].settings.sweeps:
            return False
        interval = found[1]
        bids, asks = (side.heads[0, : len(interval.owners)] for side in (interval.buys, interval.sells))
        outlook = self._outlook(interval)
        if outlook is None:
            return bool((bids >= 0).any())
        prices = np.array(outlook.right_price_mct)
        is_off = ((bids >= 0) & (bids > prices + 1)).any() or ((asks >= 0) & (asks < prices - 1)).any()
        return bool(is_off) or _freed_worth(interval, outlook) >= _least_gain(found[0])

    def forget(self, area_name: str, interval_ms: int) -> None:
        """An interval was retired."""
        self._outlooks.pop((area_name, interval_ms), None)
        if not self._outlooks:
            self._classes.clear()

    def _outlook(self, interval: Interval) -> _Outlook | None:
        known = self._outlooks.get((interval.area.name, interval.start_ms))
        same = known is not None and known.rows_hash == interval.rows_hash and len(known.right_price_mct) == len(interval.owners)
        return known if same else None

    def _ask(self, area: Area, interval: Interval, taker: Order | None) -> _Asked | None:
        offers = _offers(area, interval, taker)
        if offers is None:
            return None
        columns, residual, outlook = interval.headroom.columns, interval.headroom.residual, self._outlook(interval)
        hint = None if outlook is None else outlook.row_price_mct
        ask_osqp = self._ask_osqp and taker is None  # for one order the vertex alone finds the same, in a third of the time
        fills = sweep.best(columns, residual, offers, class_of=self._class_of(interval), hint_mct=hint, ask_osqp=ask_osqp)
        self._outlooks[area.name, interval.start_ms] = _outlook(interval, fills)
        return _Asked(offers, fills)

    def _class_of(self, interval: Interval) -> npt.NDArray[np.int64]:
        """Rights with equal columns are one class; each of the operator's is its own."""
        n, columns = 2 * len(interval.area.terms), interval.headroom.columns
        known = self._classes.get(interval.rows_hash)
        if known is None:
            known = self._classes[interval.rows_hash] = sweep.classes(columns[:n])
        return np.append(known, np.arange(n, len(columns)))


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


def _order(area: Area, interval: Interval, right: int, place: Place) -> Order | None:
    """The order as it would stand there; None where the engine will say no anyway."""
    account, settings, ledger = area.accounts[place.customer], area.settings, interval.ledger
    free_w = ledger.buyable_w(right) if place.side == "buy" else ledger.sellable_w(right)
    most_w = min(free_w, area.terms[account.position].order_w_max)
    is_sound = 0 < place.quantity_w <= most_w and settings.price_mct_min <= place.price_mct <= settings.price_mct_max
    if not is_sound or place.request_id in account.receipts:
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
    elif not (interval.buys.heads[0] >= 0).any():
        return False
    if outlook is None:
        return True
    price = outlook.right_price_mct[taker.right]
    return abs(taker.price_mct - price) * taker.open_w >= _least_gain(area)


def _least_gain(area: Area) -> int:
    """One lot at a price that is better by one tick: less is not worth a proposal. In mct/kWh times watts."""
    return area.settings.lot_w * area.settings.tick_mct


def _gain_max(interval: Interval, place: Place, right: int, outlook: _Outlook) -> float:
    """An upper bound of what the order can gain in any company, in mct/kWh times watts."""
    return max(0.0, _edge(place, outlook.right_price_mct[right])) * place.quantity_w + _freed_worth(interval, outlook)


def _freed_worth(interval: Interval, outlook: _Outlook) -> float:
    """What room that came since would be worth at the old prices. Less than a lot of a row is always there, and nobody's."""
    spare = interval.headroom.residual[outlook.priced] - interval.area.settings.lot_w * interval.row_largest[outlook.priced]
    return float(outlook.price_per_unit @ np.maximum(spare, 0))


def _walk_worth(area: Area, interval: Interval, taker: Order) -> int:
    """What pairs would trade by themselves, at the orders' limits. Tried and taken back."""
    undo, open_w = matching.Undo(interval), taker.open_w
    fills = matching.walk(area, interval, taker, 0, undo).fills
    undo.take_back()
    taker.open_w = open_w
    is_buy, worth = taker.line.side == "buy", 0
    for fill in fills:
        other = fill.maker.price_mct if fill.maker is not None else 0
        bid, ask = (taker.price_mct, other) if is_buy else (other, taker.price_mct)
        worth += bid * fill.bought_w - ask * fill.sold_w
    return worth


# --- the problem and the answer -----------------------------------------------------------------------------------


def _open_interval(engine: Engine, area_name: str, interval_ms: int) -> tuple[Area, Interval] | None:
    area = engine.areas.get(area_name)
    interval = area.intervals.get(interval_ms) if area is not None else None
    if area is None or interval is None or interval.is_closed or engine.shut(area_name, interval_ms):
        return None
    return area, interval


def _offers(area: Area, interval: Interval, taker: Order | None) -> Offers | None:
    """All orders by arrival, the incoming one last; None where there is nothing to match, or too much."""
    n, orders = len(area.terms), _resting(interval)
    if taker is not None:
        orders.append(taker)
    if not area.at_rates:
        orders = [order for order in orders if order.right < 2 * n]
    if not orders or len(orders) > OFFERS_MAX:
        return None
    table = np.array([(o.right, o.line.side == "buy", o.open_w, o.price_mct) for o in orders], dtype=np.int64)
    column, is_buy, open_w, price = table.T
    group = np.full(len(orders), -1, dtype=np.int64) if area.at_rates else column // n
    offers = Offers(column.copy(), is_buy == 1, open_w.copy(), price.copy(), group)
    is_countable = sweep.is_countable(int(interval.row_largest.max(initial=0)), interval.headroom.residual, offers)
    return offers if is_countable else None


def _resting(interval: Interval) -> list[Order]:
    """All orders at rest, by arrival."""
    lines = [*interval.buys.lines, *interval.sells.lines]
    return sorted((entry[2] for line in lines for entry in line.entries), key=_arrival)


def _arrival(order: Order) -> int:
    return order.arrival


def _outlook(interval: Interval, fills: Fills) -> _Outlook:
    n, columns = len(interval.area.terms), interval.headroom.columns
    priced = np.flatnonzero(fills.row_price_mct)
    price = sweep.right_price_mct(columns, fills.row_price_mct)
    for group, more in fills.group_price_mct.items():
        price[group * n : (group + 1) * n] += more
    per_unit = fills.row_price_mct[priced] / np.maximum(interval.row_largest[priced], 1)
    return _Outlook(interval.rows_hash, fills.row_price_mct, priced, per_unit, price.tolist())


def _changes(asked: _Asked) -> tuple[Change, ...]:
    """Net watts by right, in the order of rights."""
    offers = asked.offers
    net = np.zeros(int(offers.column.max()) + 1, dtype=np.int64)
    np.add.at(net, offers.column, np.where(offers.is_buy, asked.fills.filled_w, -asked.fills.filled_w))
    return tuple(Change(right, int(net[right])) for right in np.flatnonzero(net).tolist())


def _row_prices(fills: Fills) -> tuple[int, ...]:
    return tuple(np.rint(fills.row_price_mct).astype(np.int64).tolist())


def _indication(area: Area, interval: Interval, asked: _Asked) -> Indication:
    n, outlook = len(area.terms), _outlook(interval, asked.fills)
    matched = tuple(_matched(asked, direction, n, outlook.right_price_mct) for direction in DIRECTIONS)
    welfare = asked.fills.welfare_mct_w * area.settings.interval_ms // MCT_W_MS_PER_KWH
    prices = _row_prices(asked.fills)
    return Indication(matched, welfare, {row: prices[row] for row in outlook.priced.tolist() if prices[row]})


def _matched(asked: _Asked, direction: Direction, n: int, right_price_mct: Sequence[float]) -> Matched:
    """One book. Rights of the operator are no book's."""
    offers, filled = asked.offers, asked.fills.filled_w
    book = DIRECTIONS.index(direction)
    here = (offers.column // n == book) & (filled > 0)
    prices = [round(right_price_mct[right]) for right in offers.column[here].tolist()]
    bought, sold = int(filled[here & offers.is_buy].sum()), int(filled[here & ~offers.is_buy].sum())
    return Matched(direction, bought, sold, min(prices, default=0), max(prices, default=0))
