"""What the operator fixes before anyone trades: the market's settings and each customer's bounds. Facts only, no behaviour
but their own check."""

from __future__ import annotations

import msgspec

POWER_W_MAX = 2**31 - 1
PRICE_MCT_MAX = 10**9
LOT_W_MAX = 2**20
REQUESTS_MAX = 10**6
MS_PER_HOUR = 3_600_000
SELF_TRADE = ("cancel_incoming", "allow")
MATCHING = ("one_to_one", "exchange_rate")
PRICING = ("pay_as_bid", "uniform")
FIXED_SETTINGS = ("interval_ms", "tick_mct", "lot_w", "self_trade", "matching")  # what cannot be amended while an area lives


class MarketSettings(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rules of one area's market. Prices in milli-cents per kWh of envelope, power in watts, time in milliseconds.

    `compensation_mct` is the most that the operator pays for a holding that it has to lower, and what it pays where the book has no
    trade to tell a price. `matching`: watts against as many watts of the same direction, or at network exchange rates (docs/market.md).
    `sweeps`: the node asks the solver for joint fills. `call_auctions`: a halt, a freeze and a volatility pause end in an auction,
    which clears at `auction_pricing`. `collar_mct`: how far an order's price may lie from the book's last trade; `pause_mct`: how far
    trades may move from the first one before the interval goes back to an auction. A customer may send `requests_free` orders and
    replacements in an interval, and `requests_per_trade` more for each of its trades. 0 switches these four off. `requests_max`: how many
    requests of a customer an interval remembers; it decides no more.
    """

    interval_ms: int = 900_000
    tick_mct: int = 10
    lot_w: int = 10
    price_mct_min: int = 0
    price_mct_max: int = 100_000
    self_trade: str = "cancel_incoming"
    compensation_mct: int = 10_000
    matching: str = "one_to_one"
    sweeps: bool = False
    call_auctions: bool = False
    auction_pricing: str = "pay_as_bid"
    collar_mct: int = 0
    pause_mct: int = 0
    requests_free: int = 0
    requests_per_trade: int = 0
    requests_max: int = 10_000

    def problems(self) -> list[str]:
        found = []
        if not 0 < self.interval_ms <= 24 * MS_PER_HOUR:
            found.append(f"interval_ms {self.interval_ms} is outside (0, one day]")
        if self.tick_mct <= 0 or self.lot_w <= 0:
            found.append(f"tick_mct {self.tick_mct} and lot_w {self.lot_w} must be positive")
        if self.lot_w > LOT_W_MAX:
            found.append(f"lot_w {self.lot_w} is above {LOT_W_MAX}")
        if not 0 <= self.price_mct_min <= self.price_mct_max <= PRICE_MCT_MAX:
            found.append(f"price band [{self.price_mct_min}, {self.price_mct_max}] is not inside [0, {PRICE_MCT_MAX}] mct")
        if not 0 <= self.compensation_mct <= PRICE_MCT_MAX:
            found.append(f"compensation_mct {self.compensation_mct} is outside [0, {PRICE_MCT_MAX}]")
        if self.self_trade not in SELF_TRADE:
            found.append(f"self_trade {self.self_trade!r} is none of {', '.join(SELF_TRADE)}")
        if self.matching not in MATCHING:
            found.append(f"matching {self.matching!r} is none of {', '.join(MATCHING)}")
        if self.auction_pricing not in PRICING:
            found.append(f"auction_pricing {self.auction_pricing!r} is none of {', '.join(PRICING)}")
        if not 0 < self.requests_max <= REQUESTS_MAX:
            found.append(f"requests_max {self.requests_max} is outside [1, {REQUESTS_MAX}]")
        for name in ("collar_mct", "pause_mct", "requests_free", "requests_per_trade"):
            value = getattr(self, name)
            found += [f"{name} {value} is outside [0, {PRICE_MCT_MAX}]"] if not 0 <= value <= PRICE_MCT_MAX else []
        return found


class CustomerTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One metering point as the market knows it. Ratings bound what it may hold; below the failsafe it may not sell.

    `order_w_max` bounds one order's quantity, `open_orders_max` how many of its orders may rest at once, a
    block counted in each of its intervals.
    """

    customer: str
    rating_export_w: int
    rating_import_w: int
    failsafe_export_w: int
    failsafe_import_w: int
    order_w_max: int = 100_000
    open_orders_max: int = 200

    def problems(self) -> list[str]:
        found = []
        if not self.customer:
            found.append("a customer has an empty name")
        for direction, failsafe, rating in (
            ("export", self.failsafe_export_w, self.rating_export_w),
            ("import", self.failsafe_import_w, self.rating_import_w),
        ):
            if not 0 <= failsafe <= rating <= POWER_W_MAX:
                limits = f"{direction} failsafe {failsafe} W and rating {rating} W"
                found.append(f"customer {self.customer}: {limits} are not 0 <= failsafe <= rating")
        if self.order_w_max <= 0 or self.open_orders_max <= 0:
            found.append(f"customer {self.customer}: order_w_max and open_orders_max must be positive")
        return found
