"""What the world may know: the state of the market as told by durable events, and by nothing else.

The engine runs ahead of the journal by one batch, so its own views may show what a power cut would undo. The mirror folds only
events that were released, and so everything that is published from it is true for good. It never decides: an event that does not
fit is a bug and stops (`assert`). `Mirror.of(engine)` seeds it after a restart, when all that the engine holds is durable.

Orders are keyed by (area, customer, order id), since ids are the customers' own. Positions are those of the area's customers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Command, DeviceSetting, Direction, OpenArea, Side
from exchange.events import (
    Accepted,
    Advanced,
    AreaOpened,
    Cancelled,
    Event,
    GateClosed,
    Halted,
    IntervalOpened,
    IntervalRetired,
    Leg,
    Rebased,
    Replaced,
    Resumed,
    RowsChanged,
    Traded,
)

if TYPE_CHECKING:
    from exchange.engine import Engine


class Resting(NamedTuple):
    """What is open of one order."""

    interval_ms: int
    direction: Direction
    side: Side
    open_w: int
    price_mct: int


class MirroredInterval:
    """Holdings by position of the area's customers, whether the gate has closed, and how the operator's devices are set."""

    __slots__ = ("export_w", "import_w", "is_closed", "rows_hash", "settings")

    def __init__(
        self,
        rows_hash: str,
        export_w: Iterable[int],
        import_w: Iterable[int],
        is_closed: bool = False,
        settings: tuple[DeviceSetting, ...] = (),
    ) -> None:
        self.rows_hash = rows_hash
        self.export_w = list(export_w)
        self.import_w = list(import_w)
        self.is_closed = is_closed
        self.settings = settings

    def holdings(self, direction: Direction) -> list[int]:
        return self.export_w if direction == "export" else self.import_w


class MirroredArea:
    __slots__ = ("intervals", "orders", "position", "settings", "terms")

    def __init__(self, settings: MarketSettings, terms: tuple[CustomerTerms, ...]) -> None:
        self.settings = settings
        self.terms = terms
        self.position = {term.customer: index for index, term in enumerate(terms)}
        self.intervals: dict[int, MirroredInterval] = {}
        self.orders: dict[str, dict[str, Resting]] = {term.customer: {} for term in terms}


class Mirror:
    def __init__(self) -> None:
        self.sequence = 0
        self.market_ms = 0
        self.areas: dict[str, MirroredArea] = {}
        self.halts: set[tuple[str | None, int | None]] = set()

    @classmethod
    def of(cls, engine: Engine) -> Mirror:
        """The mirror of an engine whose every command is durable."""
        mirror = cls()
        mirror.sequence, mirror.market_ms = engine.sequence, engine.now_ms
        mirror.halts = set(engine.halts)
        for name, area in engine.areas.items():
            mirrored = mirror.areas[name] = MirroredArea(area.settings, area.terms)
            for start_ms in engine.intervals(name):
                interval = area.intervals[start_ms]
                held = engine.holdings(name, start_ms)
                mirrored.intervals[start_ms] = MirroredInterval(interval.rows_hash, *held, interval.is_closed, interval.settings)
            for customer, orders in mirrored.orders.items():
                for order in engine.open_orders(name, customer):
                    resting = Resting(order.interval_ms, order.direction, order.side, order.open_w, order.price_mct)
                    orders[order.order_id] = resting
        return mirror

    def is_halted(self, area: str, interval_ms: int) -> bool:
        halts = self.halts
        return bool(halts) and not halts.isdisjoint(((None, None), (area, None), (None, interval_ms), (area, interval_ms)))

    def fold(self, command: Command, event: Event) -> None:
        """Takes in one event of a durable command. Events come in the order of their sequence."""
        assert event.sequence > self.sequence, f"event {event.sequence} after {self.sequence}"
        self.sequence = event.sequence
        match event:
            case Accepted():
                resting = Resting(event.interval_ms, event.direction, event.side, event.quantity_w, event.price_mct)
                self.areas[event.area].orders[event.customer][event.request_id] = resting
            case Replaced():
                resting = Resting(event.interval_ms, event.direction, event.side, event.open_w, event.price_mct)
                self.areas[event.area].orders[event.customer][event.order_id] = resting
            case Traded():
                self._trade(event)
            case Rebased():
                self._rebase(event)
            case Cancelled():
                del self.areas[event.area].orders[event.customer][event.order_id]
            case Advanced():
                self.market_ms = event.at_ms
            case Halted():
                self.halts.add((event.area, event.interval_ms))
            case Resumed():
                self.halts.discard((event.area, event.interval_ms))
            case AreaOpened() | IntervalOpened() | RowsChanged() | GateClosed() | IntervalRetired():
                self._fold_operation(command, event)
            case _:
                pass  # answers that change nothing: rejected, blocked, repeated, mass_cancelled, rows_installed, refused

    def _fold_operation(self, command: Command, event: AreaOpened | IntervalOpened | RowsChanged | GateClosed | IntervalRetired) -> None:
        match event:
            case AreaOpened():
                assert isinstance(command, OpenArea)
                self.areas[event.area] = MirroredArea(command.settings, command.customers)
            case IntervalOpened():
                self.areas[event.area].intervals[event.interval_ms] = MirroredInterval(event.rows_hash, event.export_w, event.import_w)
            case RowsChanged():
                interval = self.areas[event.area].intervals[event.interval_ms]
                interval.rows_hash, interval.settings = event.rows_hash, event.settings
            case GateClosed():
                self.areas[event.area].intervals[event.interval_ms].is_closed = True
            case IntervalRetired():
                del self.areas[event.area].intervals[event.interval_ms]
                self.halts.discard((event.area, event.interval_ms))
                if not any(event.interval_ms in area.intervals for area in self.areas.values()):
                    self.halts.discard((None, event.interval_ms))

    def _trade(self, event: Traded) -> None:
        area = self.areas[event.area]
        interval = area.intervals[event.interval_ms]
        for leg in event.legs:
            interval.holdings(leg.direction)[area.position[leg.customer]] += leg.change_w
            orders = area.orders[leg.customer]
            if leg.open_w:
                orders[leg.order_id] = orders[leg.order_id]._replace(open_w=leg.open_w)
            else:
                del orders[leg.order_id]
        for leg in event.legs:  # after all of them: both may be one customer's
            _compare(event, interval, area.position[leg.customer], leg)

    def _rebase(self, event: Rebased) -> None:
        area = self.areas[event.area]
        interval, position = area.intervals[event.interval_ms], area.position[event.customer]
        interval.holdings(event.direction)[position] -= event.quantity_w
        _compare(event, interval, position, event)

    def check(self, engine: Engine) -> None:
        """Equal to what the engine says, once everything that it applied is durable and folded."""
        other = Mirror.of(engine)
        assert (self.sequence, self.market_ms, self.halts) == (other.sequence, other.market_ms, other.halts)
        assert self.areas.keys() == other.areas.keys()
        for name, area in self.areas.items():
            theirs = other.areas[name]
            assert area.orders == theirs.orders, "open orders differ"
            assert area.intervals.keys() == theirs.intervals.keys()
            for start_ms, interval in area.intervals.items():
                for slot in MirroredInterval.__slots__:
                    assert getattr(interval, slot) == getattr(theirs.intervals[start_ms], slot), f"{slot} of {start_ms} differs"


def _compare(event: Event, interval: MirroredInterval, position: int, told: Leg | Rebased) -> None:
    holding_w = interval.holdings(told.direction)[position]
    assert holding_w == told.holding_w, f"{told.customer} holds {holding_w} W after {event.sequence}, not {told.holding_w}"
