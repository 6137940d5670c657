"""What the naive model remembers of a market: only what was said. Every figure is computed from it anew at each question."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.rejects import Reason

Refusal = Reason | None


class Rows(msgspec.Struct, frozen=True):
    """`takes[right]` lists what one watt of the right takes from every row."""

    slack: int
    takes: list[list[int]]
    labels: tuple[tuple[str, str, str], ...]


class Order(msgspec.Struct):
    owner: int
    order_id: str
    interval_ms: int
    direction: c.Direction
    side: c.Side
    price_mct: int
    total_w: int
    open_w: int
    born: int
    came: int
    until_ms: int | None = None
    told_row: int | None = None
    live: bool = False


class Candidate(msgspec.Struct):
    """A resting order that the incoming one crosses: how much was wanted, is secure in whole lots, and the row that blocks more."""

    maker: Order
    wanted_w: int
    secure_w: int
    row: int | None


class Interval(msgspec.Struct):
    start_ms: int
    rows: Rows
    allocation: tuple[int, ...]
    changes: list[tuple[int, int]] = []
    payments: list[tuple[int, int]] = []
    orders: list[Order] = []
    closed: bool = False
    prices: list[tuple[str, int]] = []
    settings: tuple[c.DeviceSetting, ...] = ()

    def holding(self) -> list[int]:
        held = list(self.allocation)
        for right, change_w in self.changes:
            held[right] += change_w
        return held

    def residual(self) -> list[int]:
        held = self.holding()
        used = [[take * w for take in takes] for takes, w in zip(self.rows.takes, held, strict=True)]
        return [self.rows.slack - sum(column[row] for column in used) for row in range(len(self.rows.labels))]

    def live(self, direction: str, side: str) -> list[Order]:
        """By priority: the better price, then who came first."""
        sign = 1 if side == "sell" else -1
        found = [order for order in self.orders if order.live and order.direction == direction and order.side == side]
        return sorted(found, key=lambda order: (sign * order.price_mct, order.came))

    def all_live(self) -> Iterator[Order]:
        for direction in ("export", "import"):
            for side in ("buy", "sell"):
                yield from self.live(direction, side)


class Area(msgspec.Struct):
    name: str
    settings: MarketSettings
    terms: tuple[CustomerTerms, ...]
    rows: dict[str, Rows] = {}
    intervals: dict[int, Interval] = {}
    settled: list[tuple[int, int]] = []  # the operator is the owner after the last customer

    def owner(self, customer: str) -> int | None:
        return next((position for position, term in enumerate(self.terms) if term.customer == customer), None)

    def right(self, owner: int, direction: str) -> int:
        return owner if direction == "export" else owner + len(self.terms)

    def limits(self, owner: int, direction: str) -> tuple[int, int]:
        """(failsafe, rating)."""
        term = self.terms[owner]
        return (term.failsafe_export_w, term.rating_export_w) if direction == "export" else (term.failsafe_import_w, term.rating_import_w)

    def refuse_quantity(self, owner: int, price_mct: int, quantity_w: int) -> Refusal:
        settings = self.settings
        if price_mct % settings.tick_mct != 0:
            return Reason.OFF_TICK
        if price_mct < settings.price_mct_min or price_mct > settings.price_mct_max:
            return Reason.PRICE_OUT_OF_BAND
        return Reason.QUANTITY_OVER_BOUND if quantity_w > self.terms[owner].order_w_max else None

    def refuse_cover(self, interval: Interval, owner: int, direction: str, side: str, quantity_w: int, without: Order | None) -> Refusal:
        """A sale stays above the failsafe, a purchase below the rating, with all other open orders of the right filled."""
        failsafe, rating = self.limits(owner, direction)
        held = interval.holding()[self.right(owner, direction)]
        book = (owner, direction, side)
        rest = sum(o.open_w for o in interval.orders if o.live and o is not without and (o.owner, o.direction, o.side) == book)
        if side == "sell":
            return Reason.NOT_COVERED if held - rest - quantity_w < failsafe else None
        return Reason.ABOVE_RATING if held + rest + quantity_w > rating else None

    def open_orders(self, owner: int) -> int:
        return sum(order.live and order.owner == owner for interval in self.intervals.values() for order in interval.orders)


def refuse_change(command: c.ChangeRows, area: Area, interval: Interval, in_force: str) -> Refusal:
    """What speaks against new rows of an interval, once area and interval are known."""
    rows = area.rows.get(command.rows_hash)
    if rows is None:
        return Reason.UNKNOWN_ROWS
    if command.replaces_hash and command.replaces_hash != in_force:
        return Reason.STALE_ROWS
    bounds = [area.limits(owner, direction) for direction in ("export", "import") for owner in range(len(area.terms))]
    if len(command.limit_w) != len(bounds):
        return Reason.INVALID_LIMITS
    if any(limit < low or limit > high for limit, (low, high) in zip(command.limit_w, bounds, strict=True)):
        return Reason.LIMIT_OUT_OF_BOUNDS
    for limits, reason in ((tuple(low for low, _ in bounds), Reason.INSECURE_FAILSAFE), (command.limit_w, Reason.INSECURE_LIMITS)):
        if any(left < 0 for left in Interval(0, rows, limits).residual()):
            return reason
    resting = [(area.terms[order.owner].customer, order.order_id) for order in interval.orders if order.live]
    if not all((ref.customer, ref.order_id) in resting for ref in command.wake):
        return Reason.UNKNOWN_WOKEN
    customers, devices = [term.customer for term in area.terms], [(setting.kind, setting.device) for setting in command.settings]
    known = all(setting.device in customers if setting.kind == "reactive_var" else setting.device != "" for setting in command.settings)
    sound = known and len(set(devices)) == len(devices) and all(abs(setting.value) < 2**31 for setting in command.settings)
    return None if sound else Reason.INVALID_DEVICE_SETTING
