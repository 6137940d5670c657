"""What was only tried is taken back: the lines and residuals of an interval as they were, for walks that come to nothing."""

from __future__ import annotations

from exchange.book import Line, Order
from exchange.market import Interval


class Undo:
    """The state of an interval's lines and residuals as it was before whatever touches it next.

    Its `version`, too: what was only tried must leave no trace that a later command could see, for replay tries nothing.
    """

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.residual = interval.headroom.residual.copy()
        self.arrivals = interval.arrivals
        self.version = interval.version
        self._lines: dict[int, tuple[Line, list[tuple[int, int, Order]]]] = {}
        self._orders: dict[int, tuple[Order, tuple[int, int, int, bool]]] = {}

    def keep(self, order: Order) -> None:
        line = order.line
        if id(line) not in self._lines:
            self._lines[id(line)] = line, line.entries.copy()
        if id(order) not in self._orders:
            self._orders[id(order)] = order, (order.open_w, order.shown_w, order.arrival, order.is_live)

    def take_back(self) -> None:
        self.interval.headroom.residual[:] = self.residual
        self.interval.arrivals = self.arrivals
        self.interval.version = self.version
        for order, (open_w, shown_w, arrival, is_live) in self._orders.values():
            if is_live and not order.is_live:
                order.account.open_orders += 1
            order.open_w, order.shown_w, order.arrival, order.is_live = open_w, shown_w, arrival, is_live
        for line, entries in self._lines.values():
            line.entries = entries
            self.interval.side(line.side).show(line)
