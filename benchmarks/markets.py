"""The same orders under different rules, and what they are worth there: for `benchmarks/welfare.py`.

Welfare is what buyers would have paid at most less what sellers asked at least, at the limits that the orders had when they traded,
in mct/kWh times watts. Headroom that nobody held costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from benchmarks.books import Book
from benchmarks.feeder import AREA, Feeder
from benchmarks.optimum import Orders
from exchange.bounds import MarketSettings
from exchange.commands import CloseGate, Command, OpenArea, OpenInterval, Place, Uncross
from exchange.engine import Engine
from exchange.events import Accepted, Cancelled, Event, Replaced, Traded
from exchange.proposer import Proposer
from exchange.snapshot import dump, load

ONE_TO_ONE = MarketSettings(matching="one_to_one")
RATES = MarketSettings(matching="exchange_rate")
SWEEPS = MarketSettings(matching="exchange_rate", sweeps=True)


class Market:
    """An engine and, where it `asks`, a proposer: as the node runs them, one command at a time. `placed` are orders in their last terms."""

    def __init__(self, opening: Iterable[Command], settings: MarketSettings, *, asks: bool = True) -> None:
        self.engine, self.proposer, self.settings = Engine(), Proposer(), settings
        self.asks = asks and settings.sweeps
        self.worth: dict[int, int] = {}  # by interval
        self.placed: dict[tuple[str, str], Place] = {}
        for command in opening:
            self.take(command)

    def take(self, command: Command) -> None:
        if isinstance(command, OpenArea):
            command = msgspec.structs.replace(command, settings=self.settings)
        proposal = self.proposer.propose(self.engine, command) if self.asks and isinstance(command, Place) else None
        events = self.engine.apply(proposal or command)
        self._hear(events)
        if self.asks:
            self._uncross(events)

    def end_auction(self, interval_ms: int, *, ask: bool = True) -> None:
        """With the joint fills, or (without `ask`) pair by pair."""
        interval = self.engine.areas[AREA].intervals[interval_ms]
        uncross = self.proposer.uncross(self.engine, AREA, interval_ms, ends_auction=True) if ask else None
        self._hear(self.engine.apply(uncross or Uncross(AREA, interval_ms, interval.rows_hash, (), ends_auction=True)))

    def total(self) -> int:
        return sum(self.worth.values())

    def _uncross(self, events: Sequence[Event]) -> None:
        for interval_ms in dict.fromkeys(event.interval_ms for event in events if isinstance(event, Accepted | Replaced | Cancelled)):
            if self.proposer.may_uncross(self.engine, AREA, interval_ms):
                uncross = self.proposer.uncross(self.engine, AREA, interval_ms, ends_auction=False)
                if uncross is not None:
                    self._hear(self.engine.apply(uncross))

    def fork(self, *, asks: bool) -> Market:
        """The same market from here on, on its own."""
        twin = Market((), self.settings, asks=asks)
        twin.engine, twin.placed, twin.worth = load(dump(self.engine)), dict(self.placed), dict(self.worth)
        return twin

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Accepted):
                key = event.customer, event.request_id
                self.placed[key] = Place(
                    event.area, *key, event.interval_ms, event.direction, event.side, event.quantity_w, event.price_mct
                )  # fmt: skip
            elif isinstance(event, Replaced):
                key, last = (event.customer, event.order_id), self.placed[event.customer, event.order_id]
                self.placed[key] = msgspec.structs.replace(last, quantity_w=event.quantity_w, price_mct=event.price_mct)
            elif isinstance(event, Traded):
                worth = sum(leg.change_w * self.placed[leg.customer, leg.order_id].price_mct for leg in event.legs)
                self.worth[event.interval_ms] = self.worth.get(event.interval_ms, 0) + worth


def opened(book: Book, settings: MarketSettings, phase: str = "continuous", *, asks: bool = True) -> Market:
    """A market in which the book's interval is open and empty."""
    interval = msgspec.structs.replace(book.feeder.open_interval(book.interval_ms), phase=phase)
    return Market([*book.feeder.opening(settings), interval], settings, asks=asks)


def orders_of(feeder: Feeder, places: Sequence[Place]) -> Orders:
    """As numbers. A right is the customer's place, imports after all exports."""
    place_of = {terms.customer: position for position, terms in enumerate(feeder.terms)}
    n = len(place_of)
    table = [(place_of[p.customer] + n * (p.direction == "import"), p.side == "buy", p.quantity_w, p.price_mct) for p in places]
    right, is_buy, quantity_w, price_mct = np.array(table, dtype=np.int64).reshape(-1, 4).T
    return Orders(right, is_buy == 1, quantity_w, price_mct)


def resting(market: Market, interval_ms: int) -> list[Place]:
    """The orders at rest as they would be placed now, in the order of their arrival."""
    orders = sorted(market.engine.areas[AREA].intervals[interval_ms].orders(), key=lambda order: order.arrival)
    return [
        Place(AREA, o.account.customer, o.order_id, interval_ms, o.direction, o.side, o.open_w, o.price_mct) for o in orders
    ]  # fmt: skip


def recorded(feeder: Feeder, commands: Iterable[Command], settings: MarketSettings) -> Iterator[Book]:
    """The books that a stream's requests lead to where nothing trades: the orders alive at each gate's closure, with their last terms."""
    market = Market((), settings)
    for command in commands:
        if isinstance(command, CloseGate) and command.interval_ms in market.engine.areas[AREA].intervals:
            places = resting(market, command.interval_ms)
            if places:
                yield Book(feeder, command.interval_ms, tuple(places))
        market.take(msgspec.structs.replace(command, phase="auction") if isinstance(command, OpenInterval) else command)


def ever_placed(commands: Iterable[Command], settings: MarketSettings) -> dict[int, list[Place]]:
    """By interval, every order that a stream's market took in, each once, in the order of time, with the terms that it had last."""
    market = Market(commands, settings, asks=False)
    found: dict[int, list[Place]] = {}
    for place in market.placed.values():
        found.setdefault(place.interval_ms, []).append(place)
    return found
