"""One home's own orders, as its private reports tell them: what rests, what has filled, at what price it last traded. Pure."""

from __future__ import annotations

from collections import Counter

from demo.trading import Block, Resting, Wish
from exchange.commands import Direction
from gateway import wire


class Blotter:
    """Feed it every report in the order of arrival. Order ids carry the slot: see `order_id`."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.last_mct: dict[Direction, int | None] = {"export": None, "import": None}
        self._orders: dict[str, tuple[int, Resting]] = {}
        self._blocks: dict[str, wire.Accepted] = {}
        self._numbered = 0

    def order_id(self, interval_ms: int, wish: Wish) -> str:
        """A fresh id that says which slot of which interval the order fills."""
        self._numbered += 1
        return f"{interval_ms // 60_000}:{wish.direction}:{wish.side}:{wish.slot}:{self._numbered}"

    def block_id(self, block: Block) -> str:
        self._numbered += 1
        return f"{block.interval_ms // 60_000}:block:{self._numbered}"

    def take(self, report: wire.AnyReport) -> None:
        """Folds one report; anything that is not about own orders is only counted."""
        self.answers[type(report).__name__.lower()] += 1
        match report:
            case wire.Accepted() if report.intervals > 1:
                self._blocks[report.order_id] = report
            case wire.Accepted():
                wish = Wish(report.direction, report.side, int(report.order_id.split(":")[3]), report.quantity_w, report.price_mct)
                self._orders[report.order_id] = (report.interval_ms, Resting(report.order_id, wish, 0))
            case wire.Replaced():
                self._update(report.order_id, report.open_w, report.quantity_w - report.open_w, report.price_mct)
            case wire.Filled():
                if report.kind != "leftover":  # which costs nothing, and is no price
                    self.last_mct[report.direction] = report.price_mct
                self._blocks.pop(report.order_id, None)
                if report.order_id in self._orders:
                    filled = self._orders[report.order_id][1].filled_w + report.quantity_w
                    self._update(report.order_id, report.open_w, filled, None)
            case wire.Cancelled():
                self._orders.pop(report.order_id, None)
                self._blocks.pop(report.order_id, None)
            case wire.Rejected():
                self.refusals[report.reason] += 1
            case _:
                pass

    def _update(self, order_id: str, open_w: int, filled_w: int, price_mct: int | None) -> None:
        interval_ms, order = self._orders[order_id]
        if open_w == 0:
            del self._orders[order_id]
            return
        wish = order.wish._replace(quantity_w=open_w, price_mct=order.wish.price_mct if price_mct is None else price_mct)
        self._orders[order_id] = (interval_ms, Resting(order_id, wish, filled_w))

    def resting(self, interval_ms: int) -> list[Resting]:
        """What rests in the two books of an interval."""
        return [order for at_ms, order in self._orders.values() if at_ms == interval_ms]

    def is_in_block(self, interval_ms: int, length_ms: int) -> bool:
        """Whether an order for several intervals waits that covers this one."""
        spans = (range(block.interval_ms, block.interval_ms + block.intervals * length_ms) for block in self._blocks.values())
        return any(interval_ms in span for span in spans)

    def forget(self, interval_ms: int) -> None:
        """The interval is over."""
        self._orders = {order_id: entry for order_id, entry in self._orders.items() if entry[0] != interval_ms}
