"""Matching as docs/market.md writes it down, on a copy of an interval: what would trade with whom, and nothing is changed.

Two rules: one to one, where watts bought are watts sold in one book, and network exchange rates. Fractions of rates are 2^-16.
"""

from __future__ import annotations

import msgspec

from tests.model_market import Area, Interval, Order

ONE = 2**16


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


class Stand(msgspec.Struct, eq=False):
    """An order as it would stand after what has been played so far."""

    order: Order
    open_w: int
    shown_w: int
    arrival: int

    def rank(self) -> tuple[int, int]:
        return (-self.order.price_mct if self.order.side == "buy" else self.order.price_mct, self.arrival)


class Fill(msgspec.Struct, frozen=True):
    """`taker_w` and `maker_w` are what each receives or gives; without a maker it is what nobody held."""

    taker_w: int
    maker: Order | None = None
    maker_w: int = 0
    mct: int = 0


class Scene:
    """A copy to play on. `closed` are the directions whose book is halted."""

    def __init__(self, area: Area, interval: Interval, closed: tuple[str, ...] = ()) -> None:
        self.area, self.lot, self.columns = area, area.settings.lot_w, interval.columns()
        self.rate_max = min(self.lot, 64) * ONE
        self.is_one_to_one = area.settings.matching == "one_to_one"
        self.residual = interval.residual()
        self.arrivals = interval.arrivals
        self.stands = [Stand(o, o.open_w, o.shown_w, o.arrival) for o in interval.orders if not o.stands_in(closed)]

    # who stands first

    def firsts(self, taker: Order) -> list[Stand]:
        """The first order of every line of the other side: one to one of customers in the same book, else of both directions."""
        found: dict[int, Stand] = {}
        for stand in self.stands:
            order = stand.order
            is_met = not self.is_one_to_one or (order.direction == taker.direction and order.row is None and taker.row is None)
            if order.side != taker.side and is_met and (order.right not in found or stand.rank() < found[order.right].rank()):
                found[order.right] = stand
        return sorted(found.values(), key=Stand.rank)

    def is_own(self, taker: Order, other: Order) -> bool:
        return taker.owner == other.owner and self.area.settings.self_trade != "allow"

    @staticmethod
    def crosses(taker: Order, other: Order) -> bool:
        buyer, seller = (taker, other) if taker.side == "buy" else (other, taker)
        return buyer.price_mct >= seller.price_mct

    def tight(self, right: int) -> list[int]:
        """Rows without room for one lot of the right."""
        return [row for row, take in enumerate(self.columns[right]) if self.residual[row] < take * self.lot]

    # what two orders can do

    def most_one_to_one(self, buyer: int, seller: int) -> tuple[int, int] | None:
        """(watts, row) of the row with the least room, the first of equals; None where no row limits the pair."""
        takes = [b - s for b, s in zip(self.columns[buyer], self.columns[seller], strict=True)]
        return min(((self.residual[row] // take, row) for row, take in enumerate(takes) if take > 0), default=None)

    def worst(self, buyer: int, seller: int) -> tuple[float, int] | None:
        """The rate that a row tight for the buyer asks for, and the row; of the one that asks for most, the first of equals."""
        found: tuple[float, int] | None = None
        for row in self.tight(buyer):
            gives = self.columns[seller][row]
            rate = ceil_div(self.columns[buyer][row] * ONE, gives) if gives else float("inf")
            if found is None or rate > found[0]:
                found = rate, row
        return found

    def rate(self, buyer: int, seller: int) -> int | None:
        worst = self.worst(buyer, seller)
        return int(worst[0]) if worst is not None and worst[0] <= self.rate_max else None

    def accepts(self, rate: int, ask_mct: int, bid_mct: int) -> bool:
        """Whether a lot's bid pays for the whole watts that it takes."""
        return self.pays(self.lot, rate, ask_mct, bid_mct)

    @staticmethod
    def pays(watts: int, rate: int, ask_mct: int, bid_mct: int) -> bool:
        return ask_mct * ceil_div(watts * rate, ONE) <= bid_mct * watts

    def affordable(self, buyer_w: int, seller_w: int, rate: int, ask_mct: int, bid_mct: int) -> int:
        """What the buyer may have: whole lots, where all its watts are there and do not pay for the whole watts that they take."""
        is_whole = seller_w * ONE // rate >= buyer_w
        return buyer_w // self.lot * self.lot if is_whole and not self.pays(buyer_w, rate, ask_mct, bid_mct) else buyer_w

    def pair(self, buyer: int, seller: int, buyer_w: int, seller_w: int, rate: int) -> tuple[int, int]:
        """(watts received, watts given) at a rate."""
        q, is_limited = min(buyer_w, seller_w * ONE // rate), False
        tight = self.tight(buyer)
        for row, (b, s) in enumerate(zip(self.columns[buyer], self.columns[seller], strict=True)):
            slope = b * ONE - s * rate
            if row not in tight and slope > 0 and self.residual[row] * ONE // slope < q:
                q, is_limited = self.residual[row] * ONE // slope, True
        if is_limited:
            q = q // self.lot * self.lot
        return q, ceil_div(q * rate, ONE)

    def offers(self, taker: Order, maker: Stand, open_w: int, price_mct: int) -> tuple[tuple[int, int], int, int] | None:
        """((effective rank, arrival), received, given) of a pair that can trade; `price_mct` is the taker's limit."""
        buyer, seller = (taker, maker.order) if taker.side == "buy" else (maker.order, taker)
        rate = self.rate(buyer.right, seller.right)
        if rate is None or self.is_own(taker, maker.order):
            return None
        prices = (seller.price_mct, price_mct) if taker.side == "buy" else (price_mct, buyer.price_mct)
        is_accepted = self.accepts(rate, *prices)
        if taker.side == "buy":
            rank, watts = ceil_div(seller.price_mct * rate, ONE), (open_w, maker.shown_w)
        else:
            rank, watts = -(buyer.price_mct * ONE // rate), (maker.shown_w, open_w)
        if taker.side == "sell" and open_w < self.lot:
            is_accepted = is_accepted and self.pays(min(watts[0], open_w * ONE // rate), rate, *prices)
        q, g = self.pair(buyer.right, seller.right, self.affordable(*watts, rate, *prices), watts[1], rate)
        return ((rank, maker.arrival), q, g) if is_accepted and q >= 1 else None

    # the walk

    def walk(self, taker: Order, open_w: int, price_mct: int, passes_own: bool = False) -> tuple[list[Fill], bool]:
        """What the incoming order trades, and whether it ended at an order of its own customer."""
        if self.is_one_to_one:
            return self._one_to_one(taker, open_w, price_mct, passes_own)
        return self._at_rates(taker, open_w, price_mct), False

    def _one_to_one(self, taker: Order, open_w: int, price_mct: int, passes_own: bool) -> tuple[list[Fill], bool]:
        fills: list[Fill] = []
        passed: set[int] = set()
        while open_w > 0:
            maker = next((stand for stand in self.firsts(taker) if stand.order.right not in passed), None)
            if maker is None or (maker.order.price_mct - price_mct) * (1 if taker.side == "buy" else -1) > 0:
                break
            if self.is_own(taker, maker.order) and passes_own:
                passed.add(maker.order.right)
                continue
            if self.is_own(taker, maker.order):
                return fills, True
            wanted = min(open_w, maker.shown_w)
            rights = (taker.right, maker.order.right) if taker.side == "buy" else (maker.order.right, taker.right)
            most, _ = self.most_one_to_one(*rights) or (wanted, None)
            q = wanted if most >= wanted else most // self.lot * self.lot
            if q == 0:
                passed.add(maker.order.right)
                continue
            fills.append(Fill(q, maker.order, q, self.area.cash_of(q, maker.order.price_mct)))
            open_w -= q
            self._play(taker, maker, q, q)
            passed.clear()
        return fills, False

    def _at_rates(self, taker: Order, open_w: int, price_mct: int) -> list[Fill]:
        fills: list[Fill] = []
        while open_w > 0:
            if taker.side == "buy" and not self.tight(taker.right):
                fills.append(Fill(self._left_over(taker.right, open_w)))
                open_w -= fills[-1].taker_w
                continue
            found = [(offer, maker) for maker in self.firsts(taker) if (offer := self.offers(taker, maker, open_w, price_mct))]
            if not found:
                break
            (_, q, g), maker = min(found, key=lambda entry: entry[0][0])
            taker_w, maker_w = (q, g) if taker.side == "buy" else (g, q)
            mct = self.area.cash_of(maker_w, maker.order.price_mct)
            if taker.side == "buy":
                mct = min(mct, self.area.cash_of(q, price_mct))
            fills.append(Fill(taker_w, maker.order, maker_w, mct))
            open_w -= taker_w
            self._play(taker, maker, taker_w, maker_w)
        return fills

    def _left_over(self, right: int, wanted_w: int) -> int:
        room = min((left // take for left, take in zip(self.residual, self.columns[right], strict=True) if take), default=wanted_w)
        q = wanted_w if room >= wanted_w else room // self.lot * self.lot
        self._use(right, q)
        return q

    def _use(self, right: int, change_w: int) -> None:
        self.residual = [left - change_w * take for left, take in zip(self.residual, self.columns[right], strict=True)]

    def _play(self, taker: Order, maker: Stand, taker_w: int, maker_w: int) -> None:
        sign = 1 if taker.side == "buy" else -1
        self._use(taker.right, sign * taker_w)
        self._use(maker.order.right, -sign * maker_w)
        maker.open_w -= maker_w
        maker.shown_w -= maker_w
        if maker.open_w < self.lot:
            self.stands.remove(maker)
        elif maker.shown_w < self.lot:
            self.arrivals += 1
            maker.shown_w, maker.arrival = min(maker.open_w, maker.order.display_w or maker.open_w), self.arrivals

    # who is to blame

    def blame(self, taker: Order) -> tuple[Stand, int] | None:
        """The best-priced order that the taker still crosses, and the row that blocks the pair; None where no row does."""
        maker = next((stand for stand in self.firsts(taker) if not self.is_own(taker, stand.order)), None)
        if maker is None or not self.crosses(taker, maker.order):
            return None
        buyer, seller = (taker, maker.order) if taker.side == "buy" else (maker.order, taker)
        if self.is_one_to_one:
            most = self.most_one_to_one(buyer.right, seller.right)
            return (maker, most[1]) if most is not None else None
        worst = self.worst(buyer.right, seller.right)
        if worst is None or (worst[0] <= self.rate_max and self.accepts(int(worst[0]), seller.price_mct, buyer.price_mct)):
            return None
        return maker, worst[1]

    def welfare(self, taker: Order, fills: list[Fill]) -> int:
        """In mct * watts, at the orders' limits."""
        sign = 1 if taker.side == "buy" else -1
        return sign * sum(fill.taker_w * taker.price_mct - (fill.maker_w * fill.maker.price_mct if fill.maker else 0) for fill in fills)
