"""What commands of the operator lead to, in one line: every event a phrase, in order and numbered without a gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from exchange import events as e


def story(events: Sequence[e.Event]) -> str:
    assert all(later.sequence == earlier.sequence + 1 for earlier, later in pairwise(events))
    return "; ".join(PHRASES[type(event)](event) for event in events)


def _scope(event: e.Halted | e.Resumed) -> str:
    return " ".join(str(part) for part in (event.area, event.interval_ms, event.direction) if part is not None) or "all"


def _rebased(event: e.Rebased) -> str:
    return f"rebased {event.customer} {event.direction} to {event.holding_w} paid {event.cash_mct} @ {event.price_mct}"


PHRASES: dict[type, Callable[[Any], str]] = {
    e.Accepted: lambda event: f"accepted {event.request_id}",
    e.Replaced: lambda event: f"replaced {event.order_id}",
    e.Traded: lambda event: event.kind + "".join(f" {leg.order_id} {leg.change_w:+d}" for leg in event.legs),
    e.Blocked: lambda event: f"blocked {event.order_id} by {event.element}",
    e.Cancelled: lambda event: f"cancelled {event.order_id} {event.quantity_w} {event.cause}",
    e.MassCancelled: lambda event: f"{event.orders} orders",
    e.Rejected: lambda event: f"rejected {event.reason}",
    e.Repeated: lambda event: f"again {event.request_id}",
    e.AreaOpened: lambda event: f"opened {event.area}",
    e.RowsInstalled: lambda event: f"installed {event.rows}",
    e.IntervalOpened: lambda event: f"opened {event.interval_ms} {event.phase}",
    e.RowsChanged: lambda event: f"changed {event.cause}",
    e.Rebased: _rebased,
    e.Raised: lambda event: f"raised {event.customer} {event.direction} +{event.quantity_w} to {event.holding_w}",
    e.PhaseEntered: lambda event: f"{event.phase} for {event.reason}",
    e.Uncrossed: lambda event: "uncrossed",
    e.Shown: lambda event: f"shown {event.order_id} {event.shown_w}",
    e.GateClosed: lambda event: f"closed {event.area} {event.interval_ms}",
    e.IntervalRetired: lambda event: f"retired {event.interval_ms}",
    e.Settled: lambda event: f"settled {event.interval_ms}",
    e.Halted: lambda event: f"halted {_scope(event)} for {event.reason}",
    e.Resumed: lambda event: f"resumed {_scope(event)} for {event.reason}",
    e.Suspended: lambda event: f"suspended {event.customer} for {event.reason}",
    e.Reinstated: lambda event: f"reinstated {event.customer} for {event.reason}",
    e.TermsAmended: lambda event: f"amended {event.customer} for {event.reason}",
    e.SettingsAmended: lambda event: f"amended settings for {event.reason}",
    e.Withheld: lambda event: f"withheld {event.request_id} {event.holding_w}",
    e.Released: lambda event: f"released {event.request_id} {event.released_w} and {event.cancelled_w} open",
    e.Advanced: lambda event: f"advanced {event.at_ms}",
    e.Refused: lambda event: f"refused {event.reason}",
}
