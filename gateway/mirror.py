"""What the world may know: the state of the market as told by durable events, and by nothing else.

The engine runs ahead of the journal by one batch, so its own views may show what a power cut would undo. The mirror folds only
events that were released, and so everything that is published from it is true for good. It never decides: an event that does not
fit is a bug and stops (`assert`). `Mirror.of(engine)` seeds it after a restart, when all that the engine holds is durable.

Orders are keyed by (area, customer, order id), since ids are the customers' own. Positions are those of the area's customers. What the
operator trades under its own name concerns no customer's order or limit, and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Command, DeviceSetting, Direction, OpenArea, Phase, Side
from exchange.events import (
    Accepted,
    Advanced,
    AreaOpened,
    Blocked,
    Cancelled,
    Event,
    GateClosed,
    Halted,
    IntervalOpened,
    IntervalRetired,
    Leg,
    PhaseEntered,
    Raised,
    Rebased,
    Replaced,
    Resumed,
    RowsChanged,
    SettingsAmended,
    Shown,
    TermsAmended,
    Traded,
)
from riskcheck.polytope import RowLabel

if TYPE_CHECKING:
    from exchange.engine import Engine
    from exchange.view import OpenOrder

Scope = tuple[str | None, int | None, Direction | None]  # of a halt: area, interval, book; None is all


Operation = (
    AreaOpened | IntervalOpened | RowsChanged | PhaseEntered | GateClosed | IntervalRetired | Halted | Resumed | SettingsAmended
    | TermsAmended
)  # fmt: skip


class Resting(NamedTuple):
    """What is open of one order, and the last row that was told to stand in its way."""

    interval_ms: int
    direction: Direction
    side: Side
    open_w: int
    price_mct: int
    shown_w: int
    intervals: int = 1
    blocked_by: RowLabel | None = None

    @property
    def is_block(self) -> bool:
        """All or nothing over several intervals: never in a book's depth."""
        return self.intervals > 1


class MirroredInterval:
    """Holdings by position of the area's customers, the phase of the interval's life, and how the operator's devices are set."""

    __slots__ = ("export_w", "import_w", "phase", "rows_hash", "settings")

    def __init__(
        self, rows_hash: str, export_w: Iterable[int], import_w: Iterable[int], phase: Phase, settings: tuple[DeviceSetting, ...] = ()
    ) -> None:
        self.rows_hash = rows_hash
        self.export_w = list(export_w)
        self.import_w = list(import_w)
        self.phase: Phase = phase
        self.settings = settings

    @property
    def is_closed(self) -> bool:
        return self.phase in ("closed", "delivery")

    def holdings(self, direction: Direction) -> list[int]:
        return self.export_w if direction == "export" else self.import_w


class MirroredArea:
    __slots__ = ("intervals", "orders", "position", "settings", "terms")

    def __init__(self, settings: MarketSettings, terms: Iterable[CustomerTerms]) -> None:
        self.settings = settings
        self.terms = list(terms)
        self.position = {term.customer: index for index, term in enumerate(self.terms)}
        self.intervals: dict[int, MirroredInterval] = {}
        self.orders: dict[str, dict[str, Resting]] = {term.customer: {} for term in self.terms}

    def amend(self, event: TermsAmended) -> None:
        """Other bounds of one customer."""
        position = self.position[event.customer]
        self.terms[position] = msgspec.structs.replace(
            self.terms[position], order_w_max=event.order_w_max, open_orders_max=event.open_orders_max
        )  # fmt: skip


class Mirror:
    def __init__(self) -> None:
        self.sequence = 0
        self.market_ms = 0
        self.areas: dict[str, MirroredArea] = {}
        self.halts: dict[Scope, str] = {}

    @classmethod
    def of(cls, engine: Engine) -> Mirror:
        """The mirror of an engine whose every command is durable."""
        mirror = cls()
        mirror.sequence, mirror.market_ms = engine.sequence, engine.now_ms
        mirror.halts = dict(engine.halts)
        for name, area in engine.areas.items():
            mirrored = mirror.areas[name] = MirroredArea(area.settings, area.terms)
            for start_ms, phase in engine.phases(name).items():
                interval, held = area.intervals[start_ms], engine.holdings(name, start_ms)
                mirrored.intervals[start_ms] = MirroredInterval(interval.rows_hash, *held, phase, interval.settings)
            for customer, orders in mirrored.orders.items():
                orders.update({order.order_id: _resting(order) for order in engine.open_orders(name, customer)})
        return mirror

    def is_halted(self, area: str, interval_ms: int, direction: Direction) -> bool:
        scopes = ((None, None), (interval_ms, None), (interval_ms, direction))
        return bool(self.halts) and any((where, *what) in self.halts for where in (None, area) for what in scopes)

    def order(self, area: str, customer: str, order_id: str) -> Resting | None:
        """A customer's open order; None where it is the operator's, or a block order that has traded in an earlier interval."""
        return self.areas[area].orders.get(customer, {}).get(order_id)

    def fold(self, command: Command, event: Event) -> None:
        """Takes in one event of a durable command. Events come in the order of their sequence."""
        assert event.sequence > self.sequence, f"event {event.sequence} after {self.sequence}"
        self.sequence = event.sequence
        match event:
            case Accepted() | Replaced() | Shown() | Blocked() | Cancelled():
                self._fold_order(event)
            case Traded():
                self._trade(event)
            case Rebased() | Raised():
                self._move_limit(event)
            case Advanced():
                self.market_ms = event.at_ms
            case _ if isinstance(event, Operation):
                self._fold_operation(command, event)
            case _:
                pass  # what changes nothing that is mirrored: answers, settlements, the operator's own orders

    def _fold_order(self, event: Accepted | Replaced | Shown | Blocked | Cancelled) -> None:
        orders = self.areas[event.area].orders.get(event.customer)
        if orders is None:
            return
        match event:
            case Accepted():
                resting = Resting(
                    event.interval_ms, event.direction, event.side, event.quantity_w, event.price_mct, event.shown_w, event.intervals
                )
                orders[event.request_id] = resting
            case Replaced():
                known = orders[event.order_id]
                orders[event.order_id] = known._replace(open_w=event.open_w, price_mct=event.price_mct, shown_w=event.shown_w)
            case Shown():
                orders[event.order_id] = orders[event.order_id]._replace(shown_w=event.shown_w)
            case Blocked():
                row = RowLabel(event.kind, event.element, event.phase)
                orders[event.order_id] = orders[event.order_id]._replace(blocked_by=row)
            case Cancelled():
                del orders[event.order_id]

    def _fold_operation(self, command: Command, event: Operation) -> None:
        match event:
            case AreaOpened():
                assert isinstance(command, OpenArea)
                self.areas[event.area] = MirroredArea(command.settings, command.customers)
            case IntervalOpened():
                opened = MirroredInterval(event.rows_hash, event.export_w, event.import_w, event.phase)
                self.areas[event.area].intervals[event.interval_ms] = opened
            case RowsChanged():
                self._install(event)
            case PhaseEntered():
                self.areas[event.area].intervals[event.interval_ms].phase = event.phase
            case GateClosed():
                self.areas[event.area].intervals[event.interval_ms].phase = "closed"
            case IntervalRetired():
                del self.areas[event.area].intervals[event.interval_ms]
                self._forget_halts(event.area, event.interval_ms)
            case Halted():
                self.halts[event.area, event.interval_ms, event.direction] = event.reason
            case Resumed():
                self.halts.pop((event.area, event.interval_ms, event.direction), None)
            case SettingsAmended():
                self.areas[event.area].settings = event.settings
            case TermsAmended():
                self.areas[event.area].amend(event)

    def _install(self, event: RowsChanged) -> None:
        """Other rows: nobody was told yet what of them stands in its way."""
        area = self.areas[event.area]
        interval = area.intervals[event.interval_ms]
        interval.rows_hash, interval.settings = event.rows_hash, event.settings
        for orders in area.orders.values():
            for order_id, order in orders.items():
                if order.interval_ms == event.interval_ms and order.blocked_by is not None:
                    orders[order_id] = order._replace(blocked_by=None)

    def _forget_halts(self, area: str, interval_ms: int) -> None:
        """A halt of an interval ends with it, one in all areas with the last of them."""
        is_live = any(interval_ms in other.intervals for other in self.areas.values())
        ended = (area,) if is_live else (area, None)
        self.halts = {scope: why for scope, why in self.halts.items() if scope[1] != interval_ms or scope[0] not in ended}

    def _trade(self, event: Traded) -> None:
        area = self.areas[event.area]
        interval = area.intervals[event.interval_ms]
        legs = [leg for leg in event.legs if leg.customer in area.position]
        for leg in legs:
            interval.holdings(leg.direction)[area.position[leg.customer]] += leg.change_w
            self._fill(area.orders[leg.customer], leg)
        for leg in {(leg.customer, leg.direction): leg for leg in legs}.values():  # the last of each right
            _compare(event, interval, area.position[leg.customer], leg)

    def _fill(self, orders: dict[str, Resting], leg: Leg) -> None:
        """A block order has a leg in each of its intervals, and is gone with the first."""
        if leg.open_w:
            orders[leg.order_id] = orders[leg.order_id]._replace(open_w=leg.open_w, shown_w=leg.shown_w)
        else:
            orders.pop(leg.order_id, None)

    def _move_limit(self, event: Rebased | Raised) -> None:
        area = self.areas[event.area]
        interval, position = area.intervals[event.interval_ms], area.position[event.customer]
        interval.holdings(event.direction)[position] += event.quantity_w if isinstance(event, Raised) else -event.quantity_w
        _compare(event, interval, position, event)

    def check(self, engine: Engine) -> None:
        """Equal to what the engine says, once everything that it applied is durable and folded."""
        other = Mirror.of(engine)
        assert (self.sequence, self.market_ms, self.halts) == (other.sequence, other.market_ms, other.halts)
        assert self.areas.keys() == other.areas.keys()
        for name, area in self.areas.items():
            theirs = other.areas[name]
            assert (area.settings, area.terms) == (theirs.settings, theirs.terms), "rules or terms differ"
            assert area.orders == theirs.orders, "open orders differ"
            assert area.intervals.keys() == theirs.intervals.keys()
            for start_ms, interval in area.intervals.items():
                for slot in MirroredInterval.__slots__:
                    assert getattr(interval, slot) == getattr(theirs.intervals[start_ms], slot), f"{slot} of {start_ms} differs"


def _resting(order: OpenOrder) -> Resting:
    row = None if order.blocked_by is None else RowLabel(*order.blocked_by)
    return Resting(
        order.interval_ms, order.direction, order.side, order.open_w, order.price_mct, order.shown_w, order.intervals, row
    )  # fmt: skip


def _compare(event: Event, interval: MirroredInterval, position: int, told: Leg | Rebased | Raised) -> None:
    holding_w = interval.holdings(told.direction)[position]
    assert holding_w == told.holding_w, f"{told.customer} holds {holding_w} W after {event.sequence}, not {told.holding_w}"
