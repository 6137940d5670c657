"""The tape: a journal as a person reads it, one line per event, in market time and in words.

Watts with a sign say what a right won or lost; prices are in cents per kWh. Nothing here decides; it only reads.
"""

from __future__ import annotations

from datetime import UTC, datetime

from exchange import events as e
from exchange.recovery import Batch
from riskcheck.polytope import RowLabel


def lines(batch: Batch) -> list[str]:
    """One line per event of the batch, each with wall time, batch and sequence."""
    stamp = datetime.fromtimestamp(batch.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return [f"{stamp} {batch.number:>6} {event.sequence:>8}  {sentence(event)}" for events in batch.events for event in events]


def interval_name(interval_ms: int) -> str:
    return datetime.fromtimestamp(interval_ms / 1000, UTC).strftime("%d %b %H:%M")


def cents(price_mct: int) -> str:
    return f"{price_mct / 1000:.2f} ct/kWh"


def sentence(event: e.Event) -> str:
    """An event in words."""
    match event:
        case e.Accepted():
            order = f"{event.side} {event.quantity_w} W {event.direction} @ {cents(event.price_mct)}"
            return f"{event.customer} {event.request_id}: {order} for {interval_name(event.interval_ms)}"
        case e.Replaced():
            kept = "keeps" if event.kept_priority else "loses"
            return f"{event.customer} {event.order_id}: now {event.open_w} W open @ {cents(event.price_mct)}, {kept} its priority"
        case e.Traded():
            return f"TRADE {interval_name(event.interval_ms)}: " + ", ".join(map(_leg, event.legs))
        case e.Blocked():
            row = RowLabel(event.kind, event.element, event.phase)
            return f"BLOCKED {event.customer} {event.order_id}: {event.secure_w} of {event.wanted_w} W are secure: {row}"
        case e.Cancelled():
            return f"{event.customer} {event.order_id}: {event.quantity_w} W cancelled ({event.cause})"
        case e.Rebased():
            paid = f"paid {event.cash_mct} mct at {cents(event.price_mct)}"
            return f"REBASED {event.customer} {-event.quantity_w:+d} W {event.direction} (holds {event.holding_w} W), {paid}: {event.cause}"
        case e.MassCancelled():
            return f"{event.customer} {event.request_id}: all cancelled, {event.orders} orders"
        case e.Rejected():
            return f"REJECTED {event.customer} {event.request_id}: {event.reason}: {event.detail}"
        case e.Repeated():
            return f"{event.customer} {event.request_id}: came again, answered as before (sequence {event.first.sequence})"
        case _:
            return _operator_sentence(event)


def _leg(leg: e.Leg) -> str:
    return f"{leg.customer} {leg.change_w:+d} W {leg.direction} @ {cents(leg.price_mct)} (holds {leg.holding_w} W)"


def _of_rows(event: e.RowsChanged) -> str:
    settings = [f"{setting.device} {setting.kind} {setting.value}" for setting in event.settings]
    return ", ".join([f"{event.rows} rows, hash {event.rows_hash}", *settings])


def _operator_sentence(event: e.Event) -> str:
    match event:
        case e.AreaOpened():
            return f"area {event.area} opened with {event.customers} customers"
        case e.RowsInstalled():
            return f"area {event.area}: {event.rows} rows installed, hash {event.rows_hash}"
        case e.IntervalOpened():
            limits = f"export {min(event.export_w)}..{max(event.export_w)} W, import {min(event.import_w)}..{max(event.import_w)} W"
            return f"{interval_name(event.interval_ms)} opened in {event.area}: {limits}"
        case e.RowsChanged():
            return f"{interval_name(event.interval_ms)} in {event.area} has other rows ({event.cause}: {event.detail}): {_of_rows(event)}"
        case e.GateClosed():
            return f"{interval_name(event.interval_ms)} gate closed in {event.area}"
        case e.IntervalRetired():
            return f"{interval_name(event.interval_ms)} retired in {event.area}"
        case e.Halted() | e.Resumed():
            scope = f"{event.area or 'all areas'}, {'all intervals' if event.interval_ms is None else interval_name(event.interval_ms)}"
            return f"{type(event).__name__.upper()} {scope}: {event.reason}"
        case e.Advanced():
            return f"market time {interval_name(event.at_ms)}"
        case e.Refused():
            return f"REFUSED {event.command}: {event.reason}: {event.detail}"
        case _:
            raise AssertionError(f"the tape has no sentence for {type(event).__name__}")
