"""What only the engine's books can tell, taken at a moment: headroom by row, and the market as a right sees it.

The engine runs ahead of the journal by one batch. `render` therefore looks only while engine and mirror are at the same sequence, and
else leaves it for the next call: what is published here is as durable as what is folded from events. Conflated like the books: an
interval that changed is looked at once per call, and at most `VIEWS_PER_LOOK` views are made at a time, the oldest first.

A view is private. Who asked once is sent it until the gate closes; then the broker is told to forget it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exchange.commands import Direction, Phase
from exchange.events import (
    Accepted,
    Cancelled,
    Event,
    GateClosed,
    IntervalOpened,
    IntervalRetired,
    PhaseEntered,
    Raised,
    Rebased,
    Released,
    Replaced,
    RowsChanged,
    Shown,
    Traded,
    Uncrossed,
    Withheld,
)
from gateway import topics, wire
from gateway.marketdata import Updates
from gateway.message import Message

if TYPE_CHECKING:
    from exchange.engine import Engine
    from exchange.market import Interval
    from exchange.view import LocalView
    from gateway.mirror import Mirror

ROWS = 20
VIEWS_PER_LOOK = 20
Place = tuple[str, int]  # area and interval
MOVES_ORDERS = (
    Accepted | Replaced | Cancelled | Shown | Traded | Uncrossed | PhaseEntered | RowsChanged | Withheld | Released | Raised | Rebased
)  # fmt: skip
MOVES_ROWS = IntervalOpened | Traded | RowsChanged | Withheld | Released | Raised | Rebased


class Seen(NamedTuple):
    """Whose view of what."""

    area: str
    customer: str
    interval_ms: int
    direction: Direction

    @property
    def topic(self) -> str:
        return topics.view(*self)


class Glance:
    """Call `fold` with each released event; `row_price_mct` are prices by row of an interval, where somebody has found them."""

    def __init__(self, mirror: Mirror, updates: Updates) -> None:
        self._mirror = mirror
        self._updates = updates
        self.row_price_mct: dict[Place, tuple[str, tuple[int, ...]]] = {}
        self._rows: dict[Place, None] = {}
        self._auctions: dict[Place, None] = {}
        self._views: dict[Seen, None] = {}
        self._shown: dict[Seen, LocalView | None] = {}
        self._asked: list[tuple[Seen, str, str]] = []
        self._ended: list[str] = []
        self.mark_all()

    def mark_all(self) -> None:
        """Everything counts as changed: after a reconnect the broker may have forgotten what it retained."""
        live = [(name, start) for name, area in self._mirror.areas.items() for start in area.intervals]
        self._rows.update(dict.fromkeys(live))
        self._auctions.update(dict.fromkeys(live))
        self._views.update(dict.fromkeys(self._shown))
        self._shown = dict.fromkeys(self._shown)

    def fold(self, event: Event) -> None:
        if isinstance(event, MOVES_ROWS):
            self._rows[event.area, event.interval_ms] = None
        if isinstance(event, MOVES_ORDERS):
            self._auctions[event.area, event.interval_ms] = None
            self._mark_views(event.area, event.interval_ms)
        elif isinstance(event, GateClosed | IntervalRetired):
            self._end(event)
        if isinstance(event, PhaseEntered) and event.phase != "auction":
            self._ended.append(topics.auction(event.area, event.interval_ms))

    def _mark_views(self, area: str, interval_ms: int) -> None:
        self._views.update((seen, None) for seen in self._shown if (seen.area, seen.interval_ms) == (area, interval_ms))

    def _end(self, event: GateClosed | IntervalRetired) -> None:
        """A gate that closes ends views and auction; the rows stay until the interval is retired."""
        place = (event.area, event.interval_ms)
        if isinstance(event, IntervalRetired):
            self._ended.append(topics.rows(*place))
            self._rows.pop(place, None)
            self.row_price_mct.pop(place, None)
        self._ended.append(topics.auction(*place))
        for seen in [seen for seen in self._shown if (seen.area, seen.interval_ms) == place]:
            self._ended.append(seen.topic)
            del self._shown[seen]
            self._views.pop(seen, None)

    # --- views ----------------------------------------------------------------------------------------------------

    def ask(self, seen: Seen, request_id: str, answer_topic: str) -> None:
        """Its owner wants to see it: now as an answer, and then whenever it changes. The gate must be open."""
        self._asked.append((seen, request_id, answer_topic))
        if seen not in self._shown:
            self._shown[seen] = None
            self._views[seen] = None

    @property
    def is_asked(self) -> bool:
        return bool(self._asked)

    # --- auctions -------------------------------------------------------------------------------------------------

    def auctions(self) -> list[Place]:
        """Those whose orders have changed since the last call."""
        changed, self._auctions = self._auctions, {}
        return [place for place in changed if self._phase(*place) == "auction"]

    def _phase(self, area: str, interval_ms: int) -> Phase | None:
        interval = self._mirror.areas[area].intervals.get(interval_ms)
        return None if interval is None else interval.phase

    # --- out ------------------------------------------------------------------------------------------------------

    def render(self, engine: Engine) -> list[Message]:
        """Answers to who asked, views and rows that changed, and what the broker is to forget."""
        messages = [self._removal(topic) for topic in self._ended]
        self._ended.clear()
        if engine.sequence != self._mirror.sequence:
            return messages
        return messages + self._answers(engine) + self._changed_views(engine) + self._changed_rows(engine)

    def _removal(self, topic: str) -> Message:
        self._updates.forget(topic)
        return Message(topic, b"", 1, True)

    def _answers(self, engine: Engine) -> list[Message]:
        asked, self._asked = self._asked, []
        return [
            Message(topic, wire.encode(self._report(engine, seen, _look(engine, seen), request_id)), 1, False)
            for seen, request_id, topic in asked
            if seen in self._shown  # else its gate has closed meanwhile
        ]

    def _changed_views(self, engine: Engine) -> list[Message]:
        messages = []
        for seen in list(self._views)[:VIEWS_PER_LOOK]:
            del self._views[seen]
            view = _look(engine, seen)
            if view != self._shown[seen]:
                self._shown[seen] = view
                report = self._report(engine, seen, view, update=self._updates.next(seen.topic))
                messages.append(Message(seen.topic, wire.encode(report), 1, True))
        return messages

    def _report(self, engine: Engine, seen: Seen, view: LocalView, request_id: str = "", update: int = 0) -> wire.ViewReport:
        offers, bids = (tuple(wire.Quote(*quote) for quote in side) for side in (view.offers, view.bids))
        return wire.ViewReport(
            sequence=engine.sequence, id=request_id, update=update, interval_ms=seen.interval_ms, direction=seen.direction,
            left_over_w=view.left_over_w, offers=offers, bids=bids,
        )  # fmt: skip

    def _changed_rows(self, engine: Engine) -> list[Message]:
        places, self._rows = self._rows, {}
        return [self._render_rows(engine, area, at) for area, at in places if at in engine.areas[area].intervals]

    def _render_rows(self, engine: Engine, area: str, interval_ms: int) -> Message:
        topic, interval = topics.rows(area, interval_ms), engine.areas[area].intervals[interval_ms]
        rows_hash, price_mct = self.row_price_mct.get((area, interval_ms), ("", ()))
        rows = wire.Rows(
            update=self._updates.next(topic), sequence=self._mirror.sequence, interval_ms=interval_ms,
            rows=fullest_rows(interval, price_mct if rows_hash == interval.rows_hash else ()),
        )  # fmt: skip
        return Message(topic, wire.encode(rows), 0, True)


def _look(engine: Engine, seen: Seen) -> LocalView:
    return engine.local_view(seen.area, seen.interval_ms, seen.customer, seen.direction)


def fullest_rows(interval: Interval, row_price_mct: tuple[int, ...] = ()) -> tuple[wire.Row, ...]:
    """The rows with the least headroom, in watts of the right that uses each most; a row that no right uses never binds."""
    largest = interval.row_largest
    used = np.flatnonzero(largest)
    headroom_w = interval.headroom.residual[used] // largest[used]
    fullest = used[np.argsort(headroom_w, kind="stable")[:ROWS]]
    labels = interval.headroom.polytope.labels
    return tuple(
        wire.Row(
            labels[row].kind, labels[row].element, labels[row].phase, int(interval.headroom.residual[row] // largest[row]),
            row_price_mct[row] if row_price_mct else 0,
        )
        for row in fullest.tolist()
    )  # fmt: skip
