"""What a market came to, in figures, folded from its commands' events: welfare, volume, prices, what was blocked, fairness, money.

* **Welfare** counts every watt that moved at what it was worth to its owner: the best limit that this order was ever given on record
  (the highest bid, the lowest ask), what buyers would have paid at most less what sellers asked at least. Homes move their limits
  while they wait; with one worth per order, whatever it is traded at and when, rules can be compared. **Surplus** is the same at the
  limits of the moment.
* **Volume** is what buyers received, in kWh of envelope (watts times the interval's length). What nobody held and was taken for
  nothing is `leftover` and counts apart, as it has no price.
* **Crossing at the gate**: watts of orders at rest that cross in plain price, book by book, when the gate closes: the largest
  quantity that some price would clear if there were no network. It is what the network, or the rule, kept from trading.
* **Fairness** looks at the limits held in the end: the smallest of all, and Jain's index `(sum x)^2 / (n sum x^2)` over the customers,
  each with its sum over all intervals: 1 is equal, 1/n is all with one (Jain, Chiu and Hawe, 1984).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from exchange import events as e
from exchange.bounds import MS_PER_HOUR
from exchange.commands import Cancel, Command, Place, Replace, Sweep
from replay.settlement import DIRECTIONS, OPERATOR, Books, Statement

MCT_W_MS_PER_KWH = 1000 * MS_PER_HOUR


class Outcome(msgspec.Struct, frozen=True):
    """Energy of envelope in kWh, prices in milli-cents per kWh, money in milli-cents, limits in watts. None: there was nothing.

    `late` are cancels and replacements of orders that had gone; `rejects` counts all by reason, `refused` the operator's.
    """

    name: str
    orders: int
    trades: int
    welfare_mct: int
    surplus_mct: int
    traded_kwh: dict[str, float]
    leftover_kwh: float
    price_mean_mct: dict[str, int | None]
    blocked_orders: int
    crossing_kwh: float
    smallest_w: int | None
    jain: dict[str, float | None]
    turnover_mct: int
    operator_mct: int
    compensated_mct: int
    rejects: dict[str, int]
    late: int
    refused: int
    left_out: int
    seconds: float
    notes: tuple[str, ...]
    problems: tuple[str, ...]


Worth = Mapping[tuple[str, str], int]  # milli-cents per kWh by (customer, order id)


def worth_mct(tape: Iterable[Command]) -> dict[tuple[str, str], int]:
    """The best limit that each order was given on record: the highest bid, the lowest ask."""
    sides: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], int] = {}
    for told in tape:
        command = told.place if isinstance(told, Sweep) else told
        if not isinstance(command, Place | Replace):
            continue
        key = command.customer, command.request_id if isinstance(command, Place) else command.order_id
        if isinstance(command, Place):
            sides[key] = command.side
        best = max if sides.get(key) == "buy" else min
        found[key] = best(command.price_mct, found.get(key, command.price_mct))
    return found


class _Terms(NamedTuple):
    side: str
    direction: str
    price_mct: int


class Fold:
    """Events in, an Outcome out. `interval_ms` is the length of the market's intervals, `worth_mct` what orders are worth."""

    def __init__(self, interval_ms: int, worth_mct: Worth) -> None:
        self._interval_ms = interval_ms
        self._worth_mct = worth_mct
        self._books = Books()
        self._statements: list[Statement] = []
        self._limits: dict[tuple[str, str, str], _Terms] = {}
        self._counts: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        self._welfare = self._surplus = 0  # mct/kWh * W
        self._paid_mct: Counter[str] = Counter()
        self._bought_w: Counter[str] = Counter()
        self._leftover_w = self._crossing_w = self._turnover_mct = 0
        self._blocked: set[tuple[str, str, str]] = set()

    def take(self, command: Command, events: Sequence[e.Event]) -> None:
        for event in events:
            statement = self._books.take(event)
            if statement is not None:
                self._statements.append(statement)
            self._count(command, event)
        if any(isinstance(event, e.GateClosed) for event in events):
            self._crossing_w += self._crossing(event for event in events if isinstance(event, e.Cancelled))

    def _count(self, command: Command, event: e.Event) -> None:
        match event:
            case e.Accepted():
                self._counts["orders"] += 1
                self._limits[event.area, event.customer, event.request_id] = _Terms(event.side, event.direction, event.price_mct)
            case e.Replaced():
                self._limits[event.area, event.customer, event.order_id] = _Terms(event.side, event.direction, event.price_mct)
            case e.Withheld():
                self._limits[event.area, OPERATOR, event.request_id] = _Terms(event.side, "", event.price_mct)
            case e.Traded():
                self._trade(event)
            case e.Blocked():
                self._blocked.add((event.area, event.customer, event.order_id))
            case e.Rejected():
                self._rejects[event.reason] += 1
                self._counts["late"] += isinstance(command, Cancel | Replace) and event.reason == "unknown_order"
            case e.Refused():
                self._counts["refused"] += 1
            case _:
                pass

    def _trade(self, event: e.Traded) -> None:
        self._counts["trades"] += 1
        for leg in event.legs:
            limit_mct = self._limits[event.area, leg.customer, leg.order_id].price_mct
            self._surplus += leg.change_w * limit_mct
            self._welfare += leg.change_w * self._worth_mct.get((leg.customer, leg.order_id), limit_mct)
            self._turnover_mct += max(0, -leg.cash_mct)
            if event.kind == "leftover":
                self._leftover_w += leg.change_w
            elif leg.change_w > 0 and leg.customer != OPERATOR:
                self._bought_w[leg.direction] += leg.change_w
                self._paid_mct[leg.direction] -= leg.cash_mct

    def _crossing(self, ended: Iterable[e.Cancelled]) -> int:
        """Over the books of the orders that a gate has ended: the most that one price would clear."""
        books: defaultdict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
        for one in ended:
            limit = self._limits.get((one.area, one.customer, one.order_id))
            if limit is not None:
                books[one.area, one.direction].append((one.side, limit.price_mct, one.quantity_w))
        return sum(map(crossing_w, books.values()))

    def outcome(self, name: str, *, left_out: int = 0, seconds: float = 0.0, notes: Sequence[str] = ()) -> Outcome:
        statements = [*self._statements, *self._books.open()]
        held = {way: _held(statements, place) for place, way in enumerate(DIRECTIONS)}
        limits = [watts for statement in statements for account in statement.accounts for watts in account.holding_w]
        return Outcome(
            name=name,
            orders=self._counts["orders"],
            trades=self._counts["trades"],
            welfare_mct=self._welfare * self._interval_ms // MCT_W_MS_PER_KWH,
            surplus_mct=self._surplus * self._interval_ms // MCT_W_MS_PER_KWH,
            traded_kwh={way: self._kwh(self._bought_w[way]) for way in DIRECTIONS},
            leftover_kwh=self._kwh(self._leftover_w),
            price_mean_mct={way: self._price_mean_mct(way) for way in DIRECTIONS},
            blocked_orders=len(self._blocked),
            crossing_kwh=self._kwh(self._crossing_w),
            smallest_w=min(limits, default=None),
            jain={way: jain(held[way]) for way in DIRECTIONS},
            turnover_mct=self._turnover_mct,
            operator_mct=sum(statement.operator_mct for statement in statements),
            compensated_mct=sum(account.compensated_mct for statement in statements for account in statement.accounts),
            rejects=dict(self._rejects.most_common()),
            late=self._counts["late"],
            refused=self._counts["refused"],
            left_out=left_out,
            seconds=round(seconds, 3),
            notes=tuple(notes),
            problems=tuple(self._books.problems),
        )

    def _kwh(self, watts: int) -> float:
        return round(watts * self._interval_ms / MCT_W_MS_PER_KWH, 3)

    def _price_mean_mct(self, direction: str) -> int | None:
        watts = self._bought_w[direction]
        return round(self._paid_mct[direction] * MCT_W_MS_PER_KWH / watts / self._interval_ms) if watts else None


def crossing_w(orders: Iterable[tuple[str, int, int]]) -> int:
    """The most that one price clears of (side, price_mct, watts) in one book."""
    at_price: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])  # watts bid, watts asked
    for side, price, watts in orders:
        at_price[price][side == "sell"] += watts
    bids, asks, most = sum(bid for bid, _ in at_price.values()), 0, 0
    for price in sorted(at_price):
        bid, ask = at_price[price]
        asks += ask
        most = max(most, min(bids, asks))
        bids -= bid
    return most


def jain(shares: Sequence[int]) -> float | None:
    """Jain's index of fairness; None of nothing."""
    squares = sum(share * share for share in shares)
    return round(sum(shares) ** 2 / (len(shares) * squares), 4) if squares else None


def _held(statements: Iterable[Statement], place: int) -> list[int]:
    """By customer, the sum of its limits of one direction over all intervals."""
    sums: Counter[tuple[str, str]] = Counter()
    for statement in statements:
        for account in statement.accounts:
            sums[statement.area, account.customer] += account.holding_w[place]
    return list(sums.values())


def as_builtins(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(outcome) for outcome in outcomes]
