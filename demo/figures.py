"""A run in figures: folds the exchange's events and the homes' deliveries. Pure; knows nothing of files, pages or pictures.

The events are the only source for orders, trades, limits and money; the deliveries are the only source for energy. The same
homes lived through on the allocations (`counterfactual`) tell what would have been without the market. Two welfares are kept
apart: `surplus_mct`, what buyers bid above what sellers asked on the watts that traded, and the gain in worth of the energy
that really flowed. `problems` of the fold are contradictions between events: there must be none.

At exchange rates a trade is a list of legs in either direction, and watts bought are not watts sold: each leg counts for its own
direction. What nobody held and was taken for nothing (`leftover`) has no price and is kept out of means. An order is *woken* when it
trades after it was told that the network blocks it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from demo.homes import Connection, Delivered, fleet, live
from exchange.bounds import MS_PER_HOUR
from exchange.events import (
    Accepted,
    Blocked,
    Cancelled,
    Event,
    GateClosed,
    Halted,
    IntervalOpened,
    Leg,
    PhaseEntered,
    Raised,
    Rebased,
    Rejected,
    Released,
    Repeated,
    Replaced,
    Resumed,
    Settled,
    Traded,
    Uncrossed,
    Withheld,
)
from exchange.market import OPERATOR
from riskcheck.polytope import RowLabel

DIRECTIONS = ("export", "import")
WMIN_PER_KWH = 60_000

Limits = dict[str, int]  # watts by customer
Book = tuple[int, str]  # interval_ms, direction


@dataclass(frozen=True)
class Trade:
    """One trade as a person reads it."""

    sequence: int
    interval_ms: int
    kind: str
    legs: tuple[Leg, ...]

    def received_w(self, direction: str) -> int:
        return sum(leg.change_w for leg in self.legs if leg.direction == direction and leg.customer != OPERATOR and leg.change_w > 0)


@dataclass
class Auction:
    """How one ended. `received_w` in both directions together; `opening` tells the first of an interval from those after a halt."""

    interval_ms: int
    opening: bool
    is_proposal: bool
    welfare_mct: int
    received_w: int = 0


@dataclass
class Operator:
    """What the operator's own orders for headroom came to, and what it ordered of intervals, in words and in order."""

    withheld: list[Withheld] = field(default_factory=list)
    sold_w: int = 0
    released_w: int = 0
    earned_mct: int = 0
    raised_w: Counter[str] = field(default_factory=Counter)
    moves: list[str] = field(default_factory=list)


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
    woken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    leftover_w: Counter[str] = field(default_factory=Counter)
    icebergs: int = 0
    blocks_placed: int = 0
    auctions: list[Auction] = field(default_factory=list)
    operator: Operator = field(default_factory=Operator)
    settled: list[Settled] = field(default_factory=list)
    surplus_mct: float = 0.0
    turnover_mct: int = 0
    problems: list[str] = field(default_factory=list)

    def intervals_ms(self) -> list[int]:
        return sorted({interval_ms for interval_ms, _ in self.allocation})

    def bought(self, direction: str) -> list[Leg]:
        """What customers of one direction bought for money."""
        trades = (trade for trade in self.trades if trade.kind != "leftover")
        return [
            leg for trade in trades for leg in trade.legs if leg.change_w > 0 and leg.direction == direction and leg.customer != OPERATOR
        ]

    def traded_w(self, direction: str) -> int:
        return sum(leg.change_w for leg in self.bought(direction))

    def price_mean_mct(self, direction: str) -> int | None:
        """Mean price by watts, or None where nothing traded."""
        legs = self.bought(direction)
        watts = sum(leg.change_w for leg in legs)
        return round(sum(leg.change_w * leg.price_mct for leg in legs) / watts) if watts else None

    def envelopes(self, interval_ms: int, customers: Sequence[str], traded: bool) -> list[tuple[int, int]]:
        """(export_w, import_w) by customer: the allocation, or what they held after trading."""
        limits = self.holding if traded else self.allocation
        return [(limits[interval_ms, "export"][name], limits[interval_ms, "import"][name]) for name in customers]


class _Fold:
    """Orders by (customer, order id): limit prices, what was told to be blocked, and what of these has traded since."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.limits: dict[tuple[str, str], int] = {}
        self.blocked: dict[tuple[Book, str, str], int] = {}
        self.told: set[tuple[str, str]] = set()
        self.collecting: dict[int, bool] = {}  # interval -> whether its auction is the opening one

    def take(self, event: Event) -> None:
        market = self.market
        match event:
            case Accepted():
                market.orders += 1
                market.icebergs += 0 < event.shown_w < event.quantity_w
                market.blocks_placed += event.intervals > 1
                self.limits[event.customer, event.request_id] = event.price_mct
            case Replaced():
                market.replaced += 1
                self.limits[event.customer, event.order_id] = event.price_mct
            case Traded():
                self._trade(event)
            case Cancelled():
                market.cancelled[event.cause] += 1
            case Rejected():
                market.refusals[event.reason] += 1
            case Repeated():
                market.repeated += 1
            case Blocked():
                self._block(event)
            case IntervalOpened() | Rebased() | Raised():
                self._limits(event)
            case Settled():
                self._settle(event)
            case _:
                self._operate(event)

    def _block(self, event: Blocked) -> None:
        self.market.blocked += 1
        self.market.blocked_rows[str(RowLabel(event.kind, event.element, event.phase))] += 1
        order = ((event.interval_ms, event.direction), event.customer, event.order_id)
        self.blocked[order] = max(self.blocked.get(order, 0), event.wanted_w - event.secure_w)
        self.told.add((event.customer, event.order_id))

    def _limits(self, event: IntervalOpened | Rebased | Raised) -> None:
        market = self.market
        if isinstance(event, IntervalOpened):
            self.collecting[event.interval_ms] = True
            for direction, limits in zip(DIRECTIONS, (event.export_w, event.import_w), strict=True):
                given = dict(zip(event.customers, limits, strict=True))
                market.allocation[event.interval_ms, direction] = given
                market.holding[event.interval_ms, direction] = dict(given)
            return
        market.holding[event.interval_ms, event.direction][event.customer] = event.holding_w
        if isinstance(event, Raised):
            market.operator.raised_w[event.direction] += event.quantity_w

    def _trade(self, event: Traded) -> None:
        market, hours = self.market, self.market.interval_length_ms / MS_PER_HOUR
        if sum(leg.cash_mct for leg in event.legs) + event.operator_mct:
            market.problems.append(f"trade {event.sequence}: cash does not sum to zero")
        market.kinds[event.kind] += 1
        trade = Trade(event.sequence, event.interval_ms, event.kind, event.legs)
        market.trades.append(trade)
        for leg in event.legs:
            market.surplus_mct += self.limits[leg.customer, leg.order_id] * leg.change_w * hours / 1000
            market.turnover_mct += max(0, leg.cash_mct)
            market.woken += (leg.customer, leg.order_id) in self.told
            self.told.discard((leg.customer, leg.order_id))
            self._hold(event, leg)
        if event.kind == "leftover":
            market.leftover_w[event.legs[0].direction] += event.legs[0].change_w
        elif event.kind == "uncross" and market.auctions and not market.auctions[-1].received_w:
            market.auctions[-1].received_w = sum(trade.received_w(direction) for direction in DIRECTIONS)

    def _hold(self, event: Traded, leg: Leg) -> None:
        """The holding after a leg; the operator's are headroom, in no book of customers'."""
        market = self.market
        if leg.customer == OPERATOR:
            market.operator.sold_w += max(0, -leg.change_w)
            market.operator.earned_mct += leg.cash_mct
            return
        limits = market.holding[event.interval_ms, leg.direction]
        limits[leg.customer] += leg.change_w
        if limits[leg.customer] != leg.holding_w:
            market.problems.append(f"trade {event.sequence}: {leg.customer} holds {limits[leg.customer]} W, the leg says {leg.holding_w} W")

    def _settle(self, event: Settled) -> None:
        market = self.market
        market.settled.append(event)
        if sum(event.cash_mct) + event.operator_mct:
            market.problems.append(f"settlement of interval {event.interval_ms} does not sum to zero")
        holding = zip(event.allocation_w, event.raised_w, event.bought_w, event.sold_w, event.rebased_w, strict=True)
        settled = [given + raised + bought - sold - lowered for given, raised, bought, sold, lowered in holding]
        held = [market.holding[event.interval_ms, direction][name] for direction in DIRECTIONS for name in event.customers]
        if settled != held:
            market.problems.append(f"settlement of interval {event.interval_ms} is not what its events lead to")

    def _operate(self, event: Event) -> None:
        operator = self.market.operator
        match event:
            case Uncrossed() if event.ends_auction:
                is_opening = self.collecting.pop(event.interval_ms, False)
                self.market.auctions.append(Auction(event.interval_ms, is_opening, event.is_proposal, event.welfare_mct))
            case Withheld():
                operator.withheld.append(event)
                self.limits[OPERATOR, event.request_id] = event.price_mct
            case Released():
                operator.released_w += event.released_w
            case PhaseEntered() if event.phase == "frozen" or (event.phase == "auction" and event.interval_ms not in self.collecting):
                operator.moves.append(f"{event.phase}: {event.reason}")
            case Halted():
                operator.moves.append(f"halted: {event.reason}")
            case Resumed():
                operator.moves.append(f"resumed: {event.reason}")
            case GateClosed():
                self.collecting.pop(event.interval_ms, None)
            case _:
                pass


def fold(events: Iterable[Event], interval_length_ms: int) -> Market:
    """The whole run's events, in sequence, as figures."""
    folding = _Fold(Market(interval_length_ms))
    for event in events:
        folding.take(event)
    totals: defaultdict[Book, int] = defaultdict(int)
    for (book, _, _), watts in folding.blocked.items():
        totals[book] += watts
    folding.market.blocked_w = dict(totals)
    return folding.market


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
        watts[trade.interval_ms] += trade.received_w(direction)
    return max(watts, key=lambda interval_ms: (watts[interval_ms], -interval_ms))
