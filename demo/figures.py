"""A run in figures: folds the exchange's events and the homes' deliveries. Pure; knows nothing of files, pages or pictures.

The events are the only source for orders, trades, limits and money; the deliveries are the only source for energy. The same
homes lived through on the allocations (`counterfactual`) tell what would have been without the market. Two welfares are kept
apart: `surplus_mct`, what buyers bid above what sellers asked on the watts that traded, and the gain in worth of the energy
that really flowed. `problems` of the fold are contradictions between events: there must be none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from demo.homes import Connection, Delivered, fleet, live
from exchange.bounds import MS_PER_HOUR
from exchange.events import Accepted, Blocked, Cancelled, Event, IntervalOpened, Rebased, Rejected, Repeated, Replaced, Traded
from riskcheck.polytope import RowLabel

DIRECTIONS = ("export", "import")
WMIN_PER_KWH = 60_000

Limits = dict[str, int]  # watts by customer
Book = tuple[int, str]  # interval_ms, direction


@dataclass(frozen=True)
class Trade:
    """One trade as a person reads it. `received_w` is what its buyers got, `given_w` what its sellers gave."""

    sequence: int
    interval_ms: int
    direction: str
    buyer: str
    sellers: tuple[str, ...]
    received_w: int
    given_w: int
    price_mct: int


@dataclass
class Market:
    """Everything that the events tell, by kind."""

    interval_length_ms: int
    orders: int = 0
    replaced: int = 0
    repeated: int = 0
    trades: list[Trade] = field(default_factory=list)
    cancelled: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    blocked: int = 0
    blocked_rows: Counter[str] = field(default_factory=Counter)
    blocked_w: dict[Book, int] = field(default_factory=dict)
    allocation: dict[Book, Limits] = field(default_factory=dict)
    holding: dict[Book, Limits] = field(default_factory=dict)
    surplus_mct: float = 0.0
    turnover_mct: int = 0
    problems: list[str] = field(default_factory=list)

    def intervals_ms(self) -> list[int]:
        return sorted({interval_ms for interval_ms, _ in self.allocation})

    def traded_w(self, direction: str) -> int:
        return sum(trade.received_w for trade in self.trades if trade.direction == direction)

    def price_mean_mct(self, direction: str) -> int | None:
        """Mean price by watts, or None where nothing traded."""
        watts = self.traded_w(direction)
        paid = sum(trade.received_w * trade.price_mct for trade in self.trades if trade.direction == direction)
        return round(paid / watts) if watts else None

    def envelopes(self, interval_ms: int, customers: Sequence[str], traded: bool) -> list[tuple[int, int]]:
        """(export_w, import_w) by customer: the allocation, or what they held after trading."""
        limits = self.holding if traded else self.allocation
        return [(limits[interval_ms, "export"][name], limits[interval_ms, "import"][name]) for name in customers]


def fold(events: Iterable[Event], interval_length_ms: int) -> Market:
    """The whole run's events, in sequence, as figures."""
    market = Market(interval_length_ms)
    bids: dict[tuple[str, str], int] = {}  # limit price by (customer, order id)
    blocked: dict[tuple[Book, str, str], int] = {}
    for event in events:
        match event:
            case Accepted():
                market.orders += 1
                bids[event.customer, event.request_id] = event.price_mct
            case Replaced():
                market.replaced += 1
                bids[event.customer, event.order_id] = event.price_mct
            case Traded():
                _fold_trade(market, event, bids)
            case Cancelled():
                market.cancelled[event.cause] += 1
            case Rejected():
                market.refusals[event.reason] += 1
            case Repeated():
                market.repeated += 1
            case Blocked():
                market.blocked += 1
                market.blocked_rows[str(RowLabel(event.kind, event.element, event.phase))] += 1
                order = ((event.interval_ms, event.direction), event.customer, event.order_id)
                blocked[order] = max(blocked.get(order, 0), event.wanted_w - event.secure_w)
            case IntervalOpened():
                for direction, limits in zip(DIRECTIONS, (event.export_w, event.import_w), strict=True):
                    given = dict(zip(event.customers, limits, strict=True))
                    market.allocation[event.interval_ms, direction] = given
                    market.holding[event.interval_ms, direction] = dict(given)
            case Rebased():
                market.holding[event.interval_ms, event.direction][event.customer] = event.holding_w
            case _:
                pass
    totals: defaultdict[Book, int] = defaultdict(int)
    for (book, _, _), watts in blocked.items():
        totals[book] += watts
    market.blocked_w = dict(totals)
    return market


def _fold_trade(market: Market, event: Traded, bids: Mapping[tuple[str, str], int]) -> None:
    hours = market.interval_length_ms / MS_PER_HOUR
    if sum(leg.cash_mct for leg in event.legs):
        market.problems.append(f"trade {event.sequence}: cash does not sum to zero")
    for leg in event.legs:
        limits = market.holding[event.interval_ms, leg.direction]
        limits[leg.customer] += leg.change_w
        if limits[leg.customer] != leg.holding_w:
            market.problems.append(f"trade {event.sequence}: {leg.customer} holds {limits[leg.customer]} W, the leg says {leg.holding_w} W")
        market.surplus_mct += bids[leg.customer, leg.order_id] * leg.change_w * hours / 1000
        market.turnover_mct += max(0, leg.cash_mct)
    buyers = [leg for leg in event.legs if leg.change_w > 0]
    sellers = [leg for leg in event.legs if leg.change_w < 0]
    market.trades.append(
        Trade(
            event.sequence, event.interval_ms, buyers[0].direction, buyers[0].customer, tuple(leg.customer for leg in sellers),
            sum(leg.change_w for leg in buyers), -sum(leg.change_w for leg in sellers), event.legs[-1].price_mct,
        )
    )  # fmt: skip


def counterfactual(market: Market, connections: Sequence[Connection], seed: int, traded: bool = False) -> list[Delivered]:
    """The same homes, weather and appliances on the allocations; with `traded` on the holdings, which must repeat the run."""
    customers = [connection.customer for connection in connections]
    intervals = market.intervals_ms()
    limits = [market.envelopes(interval_ms, customers, traded) for interval_ms in intervals]
    return live(fleet(connections, seed), intervals[0], market.interval_length_ms, limits) if intervals else []


def energy_kwh(delivered: Iterable[Delivered]) -> dict[str, float]:
    """Totals of a set of deliveries in kWh, and their worth in EUR."""
    listed = list(delivered)
    names = ("solar", "curtailed", "load", "heat", "unserved", "car", "car_missing", "exported", "imported", "lost")
    totals = {name: round(sum(getattr(one, f"{name}_wmin") for one in listed) / WMIN_PER_KWH, 3) for name in names}
    return totals | {"value_eur": round(sum(one.value_mct for one in listed) / 100_000, 4)}


def per_interval_kwh(delivered: Iterable[Delivered], name: str, intervals_ms: Sequence[int]) -> list[float]:
    """One figure of `Delivered`, over all homes, by interval, in kWh."""
    totals: defaultdict[int, int] = defaultdict(int)
    for one in delivered:
        totals[one.interval_ms] += getattr(one, f"{name}_wmin")
    return [totals[interval_ms] / WMIN_PER_KWH for interval_ms in intervals_ms]


def spread_w(limits: Iterable[Limits]) -> dict[str, int]:
    """Smallest, median and largest of all limits, watts."""
    watts = sorted(value for one in limits for value in one.values())
    return {"smallest_w": watts[0], "median_w": round(median(watts)), "largest_w": watts[-1]} if watts else {}


def quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank quantile of an ordered sequence; NaN of none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1))]


def busiest_ms(market: Market, direction: str) -> int:
    """The interval in which most watts of this direction traded."""
    watts = Counter(dict.fromkeys(market.intervals_ms(), 0))
    for trade in market.trades:
        if trade.direction == direction:
            watts[trade.interval_ms] += trade.received_w
    return max(watts, key=lambda interval_ms: (watts[interval_ms], -interval_ms))
