"""What only the engine's books can tell, taken at a moment: headroom by row, an auction's outcome so far, the market as a right sees it.

The engine runs ahead of the journal by a batch or two. What a look at it finds is therefore held until the mirror has come to the
same sequence: nothing is published that a power cut could undo. Until then there is no other look. Conflated like the books: an
interval that changed is looked at once per call, and at most `VIEWS_PER_LOOK` questions are answered and views made at a time, the oldest
first.

Prices of rows and the outcome of an auction come from the solver, which takes long: whoever has time for it asks `unpriced`, and gives
what was found to `price`. A view is private. Who asked once is sent it until the gate closes; then the broker is told to forget it.
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
    from exchange.proposer import Indication, Matched
    from exchange.view import LocalView, Offer
    from gateway.mirror import Mirror

ROWS = 20
NOTHING = wire.Matched(0, 0, None, None)
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
    """Call `fold` with each released event after the mirror, and `render` now and then."""

    def __init__(self, mirror: Mirror, updates: Updates) -> None:
        self._mirror = mirror
        self._updates = updates
        self._prices: dict[Place, tuple[str, dict[int, int]]] = {}
        self._indications: dict[Place, Indication] = {}
        self._rows: dict[Place, None] = {}
        self._unpriced: dict[Place, None] = {}
        self._views: dict[Seen, None] = {}
        self._shown: dict[Seen, LocalView | None] = {}
        self._asked: list[tuple[Seen, str, str]] = []
        self._ended: list[str] = []
        self._held: tuple[int, list[Message]] = (0, [])
        self.mark_all()

    def mark_all(self) -> None:
        """Everything counts as changed: after a reconnect the broker may have forgotten what it retained."""
        live = [(name, start) for name, area in self._mirror.areas.items() for start in area.intervals]
        self._rows.update(dict.fromkeys(live))
        self._unpriced.update(dict.fromkeys(live))
        self._views.update(dict.fromkeys(self._shown))
        self._shown = dict.fromkeys(self._shown)

    def fold(self, event: Event) -> None:
        if isinstance(event, MOVES_ROWS):
            self._rows[event.area, event.interval_ms] = None
        if isinstance(event, MOVES_ORDERS):
            self._unpriced[event.area, event.interval_ms] = None
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
            self._prices.pop(place, None)
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
    def is_waited_for(self) -> bool:
        """Whether somebody asked and was not answered yet."""
        return bool(self._asked or self._held[1])

    # --- prices and auctions --------------------------------------------------------------------------------------

    def unpriced(self) -> Place | None:
        """An interval whose orders have changed since it was priced last, and that can trade: those in auction first."""
        phases = {place: self._phase(*place) for place in self._unpriced}
        for wanted in ("auction", "continuous"):
            for place, phase in phases.items():
                if phase == wanted:
                    del self._unpriced[place]
                    return place
        self._unpriced.clear()
        return None

    def is_priced(self, engine: Engine, place: Place) -> bool:
        """Whether the solver is to be asked: of an interval that lives, in a market that has it, on a network that limits something."""
        area = engine.areas[place[0]]
        interval = area.intervals.get(place[1])
        has_solver = area.settings.sweeps or area.settings.call_auctions
        return interval is not None and has_solver and interval.headroom.polytope.n_rows > 0

    def price(self, engine: Engine, place: Place, found: Indication) -> None:
        """What the solver found for an interval."""
        interval = engine.areas[place[0]].intervals[place[1]]
        known, self._prices[place] = self._prices.get(place), (interval.rows_hash, found.row_price_mct)
        if known != self._prices[place]:
            self._rows[place] = None
        if interval.phase == "auction":
            self._indications[place] = found

    def _phase(self, area: str, interval_ms: int) -> Phase | None:
        interval = self._mirror.areas[area].intervals.get(interval_ms)
        return None if interval is None else interval.phase

    # --- out ------------------------------------------------------------------------------------------------------

    def render(self, engine: Engine) -> list[Message]:
        """What was seen and is durable by now, what the broker is to forget, and what is to be seen now."""
        sequence, held = self._held
        if held and self._mirror.sequence < sequence:
            return []
        removals, self._ended = [self._removal(topic) for topic in self._ended], []
        seen = self._answers(engine) + self._changed_views(engine) + self._changed_rows(engine) + self._changed_auctions()
        if engine.sequence == self._mirror.sequence:
            self._held = (0, [])
            return held + removals + seen
        self._held = (engine.sequence, seen)
        return held + removals

    def _removal(self, topic: str) -> Message:
        self._updates.forget(topic)
        return Message(topic, b"", 1, True)

    def _answers(self, engine: Engine) -> list[Message]:
        asked, self._asked = self._asked[:VIEWS_PER_LOOK], self._asked[VIEWS_PER_LOOK:]
        return [
            Message(topic, wire.encode(self._report(engine, seen, _look(engine, seen), request_id)), 1, False)
            for seen, request_id, topic in asked
            if self._is_live(engine, seen)  # else its gate has closed meanwhile
        ]

    def _changed_views(self, engine: Engine) -> list[Message]:
        messages = []
        for seen in list(self._views)[:VIEWS_PER_LOOK]:
            del self._views[seen]
            view = _look(engine, seen) if self._is_live(engine, seen) else None
            if view is not None and view != self._shown[seen]:
                self._shown[seen] = view
                report = self._report(engine, seen, view, update=self._updates.next(seen.topic))
                messages.append(Message(seen.topic, wire.encode(report), 1, True))
        return messages

    def _is_live(self, engine: Engine, seen: Seen) -> bool:
        return seen in self._shown and seen.interval_ms in engine.areas[seen.area].intervals

    def _report(self, engine: Engine, seen: Seen, view: LocalView, request_id: str = "", update: int = 0) -> wire.ViewReport:
        offers, bids = (tuple(_quote(offer) for offer in side) for side in (view.offers, view.bids))
        return wire.ViewReport(
            sequence=engine.sequence, id=request_id, update=update, interval_ms=seen.interval_ms, direction=seen.direction,
            left_over_w=view.left_over_w, offers=offers, bids=bids,
        )  # fmt: skip

    def _changed_rows(self, engine: Engine) -> list[Message]:
        places, self._rows = self._rows, {}
        return [self._render_rows(engine, area, at) for area, at in places if at in engine.areas[area].intervals]

    def _render_rows(self, engine: Engine, area: str, interval_ms: int) -> Message:
        topic, interval = topics.rows(area, interval_ms), engine.areas[area].intervals[interval_ms]
        rows_hash, price_mct = self._prices.get((area, interval_ms), ("", {}))
        rows = wire.Rows(
            update=self._updates.next(topic), sequence=engine.sequence, interval_ms=interval_ms,
            rows=fullest_rows(interval, price_mct if rows_hash == interval.rows_hash else {}),
        )  # fmt: skip
        return Message(topic, wire.encode(rows), 0, True)

    def _changed_auctions(self) -> list[Message]:
        found, self._indications = self._indications, {}
        return [self._render_auction(*place, one) for place, one in found.items() if self._phase(*place) == "auction"]

    def _render_auction(self, area: str, interval_ms: int, found: Indication) -> Message:
        topic, matched = topics.auction(area, interval_ms), {one.direction: _matched(one) for one in found.matched}
        auction = wire.Auction(
            update=self._updates.next(topic), sequence=self._mirror.sequence, interval_ms=interval_ms,
            exports=matched.get("export", NOTHING), imports=matched.get("import", NOTHING), welfare_mct=found.welfare_mct,
        )  # fmt: skip
        return Message(topic, wire.encode(auction), 0, True)


def _matched(found: Matched) -> wire.Matched:
    if not found.bought_w and not found.sold_w:
        return NOTHING
    return wire.Matched(found.bought_w, found.sold_w, found.price_mct_min, found.price_mct_max)


def _quote(offer: Offer) -> wire.Quote:
    return wire.Quote(offer.price_mct, offer.secure_w, "export" if offer.direction == "export" else "import")


def _look(engine: Engine, seen: Seen) -> LocalView:
    return engine.local_view(seen.area, seen.interval_ms, seen.customer, seen.direction)


def fullest_rows(interval: Interval, row_price_mct: dict[int, int]) -> tuple[wire.Row, ...]:
    """The rows with the least headroom, in watts of the right that uses each most; a row that no right uses never binds."""
    largest = interval.row_largest
    used = np.flatnonzero(largest)
    headroom_w = interval.headroom.residual[used] // largest[used]
    fullest = used[np.argsort(headroom_w, kind="stable")[:ROWS]]
    labels = interval.headroom.polytope.labels
    return tuple(
        wire.Row(
            labels[row].kind, labels[row].element, labels[row].phase, int(interval.headroom.residual[row] // largest[row]),
            row_price_mct.get(row, 0),
        )
        for row in fullest.tolist()
    )  # fmt: skip
