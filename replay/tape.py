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
    return [f"{stamp} {batch.number:>6} {event.sequence:>8}  {printable(sentence(event))}" for events in batch.events for event in events]


def printable(text: str) -> str:
    """Line breaks and whatever else no terminal shows as escapes: a reason or a name from outside forges no line."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def interval_name(interval_ms: int) -> str:
    """As people call it; a time that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(interval_ms / 1000, UTC).strftime("%d %b %H:%M")
    except (ValueError, OverflowError, OSError):
        return str(interval_ms)


def cents(price_mct: int) -> str:
    return f"{price_mct / 1000:.2f} ct/kWh"


def sentence(event: e.Event) -> str:
    """An event in words."""
    match event:
        case e.Accepted():
            order = f"{event.side} {event.quantity_w} W {event.direction} @ {cents(event.price_mct)}"
            return f"{event.customer} {event.request_id}: {order} for {interval_name(event.interval_ms)}{_way(event)}"
        case e.Replaced():
            kept = "keeps" if event.kept_priority else "loses"
            return f"{event.customer} {event.order_id}: now {event.open_w} W open @ {cents(event.price_mct)}, {kept} its priority"
        case e.Traded():
            left = f", {event.operator_mct:+d} mct for the operator" if event.operator_mct else ""
            kind = f" ({event.kind})" if event.kind != "pair" else ""
            return f"TRADE {interval_name(event.interval_ms)}{kind}: {', '.join(map(_leg, event.legs))}{left}"
        case e.Blocked():
            row = RowLabel(event.kind, event.element, event.phase)
            return f"BLOCKED {event.customer} {event.order_id}: {event.secure_w} of {event.wanted_w} W are secure: {row}"
        case e.Cancelled():
            return f"{event.customer} {event.order_id}: {event.quantity_w} W cancelled ({event.cause})"
        case e.Rebased():
            paid = f"paid {event.cash_mct} mct at {cents(event.price_mct)}"
            return f"REBASED {event.customer} {-event.quantity_w:+d} W {event.direction} (holds {event.holding_w} W), {paid}: {event.cause}"
        case e.Raised():
            return f"RAISED {event.customer} +{event.quantity_w} W {event.direction} (holds {event.holding_w} W): {event.cause}"
        case e.Shown():
            return f"{event.customer} {event.order_id}: the next {event.shown_w} W are shown, last at {cents(event.price_mct)}"
        case e.MassCancelled():
            return f"{event.customer} {event.request_id}: all cancelled, {event.orders} orders"
        case e.Rejected():
            return f"REJECTED {event.customer} {event.request_id}: {event.reason}: {event.detail}"
        case e.Repeated():
            return f"{event.customer} {event.request_id}: came again, answered as before (sequence {event.first.sequence})"
        case _:
            return _operator_sentence(event)


def _way(order: e.Accepted) -> str:
    """What is out of the ordinary about an order."""
    if order.intervals > 1:
        return f" and {order.intervals - 1} more, all or none"
    return f", showing {order.shown_w} W" if order.shown_w < order.quantity_w else ""


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
            phase = f" ({event.phase})" if event.phase != "continuous" else ""
            return f"{interval_name(event.interval_ms)} opened in {event.area}{phase}: {limits}"
        case e.RowsChanged():
            return f"{interval_name(event.interval_ms)} in {event.area} has other rows ({event.cause}: {event.detail}): {_of_rows(event)}"
        case e.PhaseEntered():
            return f"{interval_name(event.interval_ms)} in {event.area} is {event.phase}: {event.reason}"
        case e.Uncrossed():
            how = "as the solver proposed" if event.is_proposal else "pair by pair"
            over = ", which ends the auction" if event.ends_auction else ""
            return f"UNCROSSED {interval_name(event.interval_ms)} in {event.area} {how}: worth {event.welfare_mct} mct{over}"
        case e.GateClosed():
            return f"{interval_name(event.interval_ms)} gate closed in {event.area}"
        case e.IntervalRetired():
            return f"{interval_name(event.interval_ms)} retired in {event.area}"
        case e.Settled():
            return f"SETTLED {interval_name(event.interval_ms)} in {event.area}: {_account(event)}"
        case e.Halted() | e.Resumed():
            scope = f"{event.area or 'all areas'}, {'all intervals' if event.interval_ms is None else interval_name(event.interval_ms)}"
            book = f", {event.direction}" if event.direction else ""
            return f"{type(event).__name__.upper()} {scope}{book}: {event.reason}"
        case e.Suspended() | e.Reinstated():
            return f"{type(event).__name__.upper()} {event.customer or 'everybody'} in {event.area}: {event.reason}"
        case _:
            return _ruling(event)


def _account(event: e.Settled) -> str:
    bought, sold, compensated = sum(event.bought_w), sum(event.sold_w), sum(event.compensated_mct)
    return f"{bought} W bought, {sold} W sold, {compensated} mct compensated, {event.operator_mct:+d} mct for the operator"


def _ruling(event: e.Event) -> str:
    """What the operator ordered about terms, rules, headroom and time."""
    match event:
        case e.TermsAmended():
            bounds = f"at most {event.order_w_max} W an order, {event.open_orders_max} at rest"
            return f"AMENDED {event.customer} in {event.area}: {bounds}: {event.reason}"
        case e.SettingsAmended():
            rules = ", ".join(f"{name} {getattr(event.settings, name)}" for name in event.settings.__struct_fields__)
            return f"AMENDED the rules of {event.area}: {event.reason}: {rules}"
        case e.Withheld():
            row = RowLabel(event.kind, event.element, event.phase)
            order = f"{event.side} {event.quantity_w} W of {row} @ {cents(event.price_mct)}"
            held = f"({event.holding_w} W withheld): {event.reason}"
            return f"WITHHELD {event.request_id} {interval_name(event.interval_ms)}: {order} {held}"
        case e.Released():
            given = f"{event.released_w} W given back, {event.cancelled_w} W no longer open"
            return f"RELEASED {event.request_id} {interval_name(event.interval_ms)}: {given}: {event.reason}"
        case e.Advanced():
            return f"market time {interval_name(event.at_ms)}"
        case e.Refused():
            return f"REFUSED {event.command}: {event.reason}: {event.detail}"
        case _:
            raise AssertionError(f"the tape has no sentence for {type(event).__name__}")
