"""The part of the naive model that trades: walks, their events, wakes, block orders, proposals. What can trade is `model_match`'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from exchange import commands as c
from exchange import events as e
from exchange.rejects import Reason
from tests.model_market import Area, Interval, Order
from tests.model_match import Fill, Scene, ceil_div
from tests.model_proposals import (
    Deals,
    Payments,
    as_bid,
    deal,
    greedy,
    is_secure,
    paid_at_rest,
    paid_by,
    sign,
    welfare,
)

Saying = tuple[Any, ...]  # kind of event, fields
Halt = tuple[str | None, int | None, str | None]


class Trading:
    """`Model` has the state and says."""

    areas: dict[str, Area]
    halts: list[Halt]
    _say: Callable[..., None]
    _refuse: Callable[..., None]

    # what trades now

    def _is_halted(self, area: str, start_ms: int, direction: str | None = None) -> bool:
        return any(name in (None, area) and at in (None, start_ms) and book in (None, direction) for name, at, book in self.halts)

    def _closed(self, area: Area, interval: Interval) -> tuple[str, ...]:
        return tuple(direction for direction in ("export", "import") if self._is_halted(area.name, interval.start_ms, direction))

    def _trades(self, area: Area, interval: Interval) -> bool:
        return interval.phase == "continuous" and not self._is_halted(area.name, interval.start_ms)

    def _scene(self, area: Area, interval: Interval) -> Scene:
        return Scene(area, interval, self._closed(area, interval))

    # a walk

    def _come(self, area: Area, interval: Interval, order: Order, force: str) -> None:
        """An order that has just come, or a replaced one: it walks where trading goes on, else it joins its line."""
        if self._trades(area, interval):
            return self._meet(area, interval, order, force)
        order.show()
        return interval.join(order)

    def _meet(self, area: Area, interval: Interval, order: Order, force: str = "gate") -> None:
        scene, wanted_w = self._scene(area, interval), order.open_w
        fills, met_self = scene.walk(order, wanted_w, order.price_mct)
        traded_w = sum(fill.taker_w for fill in fills)
        is_killed = force == "fok" and traded_w < wanted_w
        before = interval.residual()
        if not is_killed:
            for fill in fills:
                self._fill(area, interval, order, fill)
        blame = scene.blame(order) if traded_w < wanted_w and not met_self else None
        if blame is not None:
            self._tell(area, interval, order, blame[1], wanted_w, traded_w)
            if not is_killed:
                self._tell(area, interval, blame[0].order, blame[1], blame[0].order.open_w, 0)
        self._rest(area, interval, order, force, met_self)
        self._mark(area, interval, before)
        if not is_killed and any(fill.maker is not None for fill in fills):
            self._pause(area, interval)

    def _rest(self, area: Area, interval: Interval, order: Order, force: str, met_self: bool) -> None:
        """What is left of an incoming order rests or is cancelled."""
        causes = ((order.open_w < area.settings.lot_w, "remainder"), (met_self, "self_trade"), (force in ("ioc", "fok"), force))
        cause = next((name for holds, name in causes if holds), None)
        if order.open_w == 0:
            interval.leave(order)
        elif cause is not None:
            self._end(area, order, cause)
        elif order not in interval.orders:
            order.show()
            interval.join(order)

    def _fill(self, area: Area, interval: Interval, taker: Order, fill: Fill) -> None:
        way = sign(taker)
        if fill.maker is None:
            leg = self._leg(area, interval, taker, fill.taker_w, 0, 0, True)
            return self._say(e.Traded, area.name, interval.start_ms, (leg,), "leftover", 0)
        price = fill.maker.price_mct
        total = price * fill.maker_w
        mine = ceil_div(total, fill.taker_w) if way > 0 else total // fill.taker_w
        legs = [self._leg(area, interval, taker, way * fill.taker_w, mine, -way * fill.mct, True)]
        legs.append(self._leg(area, interval, fill.maker, -way * fill.maker_w, price, way * fill.mct))
        if taker.right == fill.maker.right:
            legs[0] = msgspec.structs.replace(legs[0], holding_w=legs[1].holding_w)
        self._price(interval, legs[1:])
        self._say(e.Traded, area.name, interval.start_ms, tuple(legs), "pair", 0)
        return self._refill(area, interval, fill.maker)

    def _leg(
        self, area: Area, interval: Interval, order: Order, change_w: int, price_mct: int, cash_mct: int, is_incoming: bool = False
    ) -> e.Leg:
        order.open_w -= abs(change_w)
        interval.is_stirred = True
        if is_incoming:
            order.show()
        else:
            order.shown_w = max(0, order.shown_w - abs(change_w))
            order.shown_w = order.shown_w if order.shown_w >= area.settings.lot_w else 0
        interval.cash[order.owner] += cash_mct
        if order.row is not None:
            order.withheld_w += change_w
            held_w = order.withheld_w
        else:
            interval.legs[order.owner] += 1
            (interval.bought if change_w > 0 else interval.sold)[order.right] += abs(change_w)
            held_w = interval.holding()[order.right]
        mine = (area.name_of(order), order.order_id, order.side, order.direction)
        return e.Leg(*mine, change_w, price_mct, cash_mct, order.open_w, held_w, order.shown_w)

    @staticmethod
    def _price(interval: Interval, legs: Sequence[e.Leg]) -> None:
        for leg in legs:
            interval.first_mct.setdefault(leg.direction, leg.price_mct)
            interval.last_mct[leg.direction] = leg.price_mct

    def _refill(self, area: Area, interval: Interval, order: Order) -> None:
        for kind, *fields in self._refilled(area, interval, order):
            self._say(kind, *fields)

    def _refilled(self, area: Area, interval: Interval, order: Order) -> list[Saying]:
        """What becomes of a resting order that has traded, and what is to be said of it."""
        if order.open_w < area.settings.lot_w:
            interval.leave(order)
            return [self._cancelled(area, order, "remainder", "")] if order.open_w else []
        if order.shown_w > 0:
            return []
        order.show()
        interval.join(order)
        whose = (area.name, area.name_of(order), order.order_id, interval.start_ms)
        return [(e.Shown, *whose, order.direction, order.side, order.price_mct, order.shown_w)]

    def _tell(self, area: Area, interval: Interval, order: Order, row: int, wanted_w: int, secure_w: int) -> None:
        if order.told_row != row:
            order.told_row = row
            self._say(
                e.Blocked, area.name, area.name_of(order), order.order_id, interval.start_ms, order.direction, *interval.rows.labels[row],
                wanted_w, secure_w,
            )  # fmt: skip

    def _end(self, area: Area, order: Order, cause: str, request_id: str = "") -> None:
        area.intervals[order.interval_ms].leave(order)
        if order in area.blocks:
            area.blocks.remove(order)
        kind, *fields = self._cancelled(area, order, cause, request_id)
        self._say(kind, *fields)

    @staticmethod
    def _cancelled(area: Area, order: Order, cause: str, request_id: str) -> Saying:
        whose = (area.name, area.name_of(order), request_id, order.order_id, order.interval_ms)
        return e.Cancelled, *whose, order.direction, order.side, order.open_w, cause

    def _pause(self, area: Area, interval: Interval) -> None:
        first, last, settings = interval.first_mct, interval.last_mct, area.settings
        moved = any(abs(last[direction] - first[direction]) > settings.pause_mct for direction in first)
        if interval.phase == "continuous" and settings.pause_mct and moved:
            self._enter(area, interval, "auction", f"prices moved by more than {settings.pause_mct} mct/kWh")

    def _enter(self, area: Area, interval: Interval, phase: c.Phase, reason: str) -> None:
        interval.phase, interval.auction_since_ms = phase, None
        self._say(e.PhaseEntered, area.name, interval.start_ms, phase, reason)
        if phase == "continuous":
            interval.first_mct = {}
            self._mark_all(area, interval)

    # wakes

    def _mark(self, area: Area, interval: Interval, before: list[int]) -> None:
        after = interval.residual()
        interval.is_stirred = interval.is_stirred or before != after
        columns = interval.columns()
        lot, to_one = area.settings.lot_w, area.settings.matching == "one_to_one"
        for order in interval.orders:
            rows = zip(before, after, columns[order.right], strict=True)
            if order.side == "buy" and any(old < take * lot and (new > old if to_one else new >= take * lot) for old, new, take in rows):
                interval.marked.add(order.right)

    def _mark_all(self, area: Area, interval: Interval) -> None:
        interval.marked |= {order.right for order in interval.orders if order.side == "buy"}
        interval.is_stirred = True

    def _settle(self) -> None:
        """After a command's own trades, area by area: wakes, then block orders, and again while one of them trades."""
        for name in sorted(self.areas):
            area = self.areas[name]
            self._wake_all(area)
            while self._try_blocks(area):
                self._wake_all(area)
            for interval in area.intervals.values():
                interval.is_stirred = False

    def _wake_all(self, area: Area) -> None:
        for start in sorted(area.intervals):
            self._wake(area, area.intervals[start])

    def _wake(self, area: Area, interval: Interval) -> None:
        while interval.marked and self._trades(area, interval):
            closed = self._closed(area, interval)
            lines = [interval.in_line(right, "buy") for right in interval.marked]
            firsts = [line[0] for line in lines if line and not line[0].stands_in(closed)]
            if not firsts:
                break
            right = min(firsts, key=Order.rank).right
            interval.marked.discard(right)
            first = interval.in_line(right, "buy")[0]
            self._meet(area, interval, first)
            if first not in interval.orders:
                interval.marked.add(right)
        interval.marked = set()

    # block orders

    def _try_blocks(self, area: Area) -> bool:
        """Whether one traded. Purchases before sales; better price first, then earlier."""
        for block in sorted(area.blocks, key=lambda order: (order.side == "sell", order.rank()[0], order.born)):
            intervals = [area.intervals[start] for start in area.span(block.interval_ms, block.intervals)]
            if any(interval.is_stirred for interval in intervals) and self._try_block(area, block, intervals):
                return True
        return False

    def _try_block(self, area: Area, block: Order, intervals: list[Interval]) -> bool:
        if not all(self._trades(area, interval) and not self._closed(area, interval) for interval in intervals):
            return False
        edge = area.settings.price_mct_max if block.side == "buy" else area.settings.price_mct_min
        walks = [self._scene(area, interval).walk(block, block.open_w, edge, True)[0] for interval in intervals]
        if any(sum(fill.taker_w for fill in fills) < block.open_w for fills in walks):
            return False
        total, limit = sum(fill.mct for fills in walks for fill in fills), area.cash_of(block.open_w * block.intervals, block.price_mct)
        if total > limit if block.side == "buy" else total < limit:
            return False
        area.blocks.remove(block)
        before, watts = [interval.residual() for interval in intervals], block.open_w
        for interval, fills, old in zip(intervals, walks, before, strict=True):
            self._fill_block(area, interval, block, watts, fills)
            self._mark(area, interval, old)
        for interval in intervals:
            self._pause(area, interval)
        return True

    def _fill_block(self, area: Area, interval: Interval, block: Order, watts: int, fills: list[Fill]) -> None:
        """One Traded, then what comes of the resting orders."""
        way, block.open_w = sign(block), watts
        met = [(fill.maker, fill.maker_w, fill.mct) for fill in fills if fill.maker is not None]
        total = sum(mct for _, _, mct in met)
        legs = [self._leg(area, interval, block, way * watts, area.price_of(block, total, watts), -way * total)]
        later: list[tuple[Order, Saying]] = []
        for maker, given, mct in met:
            legs.append(self._leg(area, interval, maker, -way * given, maker.price_mct, way * mct))
            told = self._refilled(area, interval, maker)
            is_news = told or not maker.open_w
            later = [saying for saying in later if not is_news or saying[0] is not maker] + [(maker, saying) for saying in told]
        self._price(interval, legs[1:])
        self._say(e.Traded, area.name, interval.start_ms, tuple(legs), "block", 0)
        for maker, (kind, *fields) in later:
            self._say(kind, *(fields if kind is not e.Shown else [*fields[:-1], maker.shown_w]))

    # proposals

    def _sweep_proposal(self, area: Area, interval: Interval, order: Order, changes: Sequence[c.Change], force: str) -> Reason | None:
        """Takes the proposal, or says why not."""
        if self._closed(area, interval):
            return Reason.HALTED
        deals = deal(area, interval, changes, order)
        mine = next((watts for dealt, watts in deals if dealt is order), 0) if deals is not None else 0
        if deals is None or (force == "fok" and mine < order.open_w):
            return Reason.INVALID_PROPOSAL
        if not is_secure(interval, deals):
            return Reason.INSECURE_PROPOSAL
        payments = paid_by(area, deals, order)
        if payments is None:
            return Reason.UNPAID_PROPOSAL
        if welfare(deals) <= max(0, self._walk_welfare(area, interval, order, force)):
            return Reason.WORSE_PROPOSAL
        before = interval.residual()
        self._trade_together(area, interval, "sweep", deals, payments, order)
        self._mark(area, interval, before)
        if order.open_w >= area.settings.lot_w:
            self._meet(area, interval, order, force)
        elif order.open_w:
            self._end(area, order, "remainder")
        self._pause(area, interval)
        return None

    def _walk_welfare(self, area: Area, interval: Interval, order: Order, force: str) -> int:
        scene = self._scene(area, interval)
        fills, _ = scene.walk(order, order.open_w, order.price_mct)
        is_killed = force == "fok" and sum(fill.taker_w for fill in fills) < order.open_w
        return 0 if is_killed else scene.welfare(order, fills)

    def _trade_together(
        self, area: Area, interval: Interval, kind: e.TradeKind, deals: Deals, payments: Payments, incoming: Order | None = None
    ) -> None:
        parts = zip(deals, payments, strict=True)
        legs = [
            self._leg(area, interval, order, sign(order) * watts, price, cash, order is incoming) for (order, watts), (price, cash) in parts
        ]
        over = -sum(leg.cash_mct for leg in legs)
        interval.cash[-1] += over
        self._price(interval, legs[1:] if incoming is not None and deals[0][0] is incoming else legs)
        self._say(e.Traded, area.name, interval.start_ms, tuple(legs), kind, over)
        for order, _ in deals:
            if order is not incoming:
                self._refill(area, interval, order)

    def _uncross_proposal(self, area: Area, interval: Interval, command: c.Uncross, least: int) -> Deals | Reason:
        deals = deal(area, interval, command.changes, None)
        prices = command.row_price_mct
        if prices and (len(prices) != len(interval.rows.labels) or min(prices) < 0):
            return Reason.INVALID_PROPOSAL
        if deals is None:
            return Reason.INVALID_PROPOSAL
        if not is_secure(interval, deals):
            return Reason.INSECURE_PROPOSAL
        if sum(cash for _, cash in as_bid(area, deals)) > 0:
            return Reason.UNPAID_PROPOSAL
        return deals if welfare(deals) > least else Reason.WORSE_PROPOSAL

    def _uncross_all(self, area: Area, interval: Interval, command: c.Uncross) -> None:
        alternative = greedy(area, interval) if command.ends_auction else []
        found = self._uncross_proposal(area, interval, command, welfare(alternative))
        if isinstance(found, Reason):
            if command.changes or command.row_price_mct or not command.ends_auction:
                self._refuse(command, found)
            if not command.ends_auction:
                return None
        deals, before = alternative if isinstance(found, Reason) else found, interval.residual()
        worth = area.cash_of(welfare(deals), 1)
        self._say(e.Uncrossed, area.name, interval.start_ms, not isinstance(found, Reason), command.ends_auction, worth)
        if deals:
            prices = () if isinstance(found, Reason) else command.row_price_mct
            self._trade_together(area, interval, "uncross", deals, paid_at_rest(area, interval, deals, prices))
        if command.ends_auction:
            self._enter(area, interval, "continuous", "the auction has ended")
        self._mark(area, interval, before)
        return self._pause(area, interval)
