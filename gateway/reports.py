"""From an event to the private reports that it means: who is told, and what of it.

A customer learns of its own requests, orders and legs, and of nobody else's: a trade becomes one `filled` for each own leg,
without the other party. Operators' events have no private report.
"""

from __future__ import annotations

from collections.abc import Iterator

from exchange.events import (
    Accepted,
    Answer,
    Blocked,
    Cancelled,
    Event,
    MassCancelled,
    Rebased,
    Rejected,
    Repeated,
    Replaced,
    Traded,
)
from gateway import wire

Addressed = tuple[str, str, wire.Report]


def private(event: Event) -> Iterator[Addressed]:
    """(area, customer, report) for everyone whom the event concerns."""
    match event:
        case Accepted() | Replaced() | Cancelled() | MassCancelled() | Rejected():
            yield event.area, event.customer, _answer(event)
        case Traded():
            for index, leg in enumerate(event.legs):
                filled = wire.Filled(
                    sequence=event.sequence, leg=index, order_id=leg.order_id, interval_ms=event.interval_ms, direction=leg.direction,
                    side=leg.side, quantity_w=abs(leg.change_w), price_mct=leg.price_mct, cash_mct=leg.cash_mct, open_w=leg.open_w,
                    holding_w=leg.holding_w,
                )  # fmt: skip
                yield event.area, leg.customer, filled
        case Blocked():
            blocked = wire.Blocked(
                sequence=event.sequence, order_id=event.order_id, interval_ms=event.interval_ms, direction=event.direction,
                kind=event.kind, element=event.element, phase=event.phase, wanted_w=event.wanted_w, secure_w=event.secure_w,
            )  # fmt: skip
            yield event.area, event.customer, blocked
        case Rebased():
            rebased = wire.Rebased(
                sequence=event.sequence, interval_ms=event.interval_ms, direction=event.direction, quantity_w=event.quantity_w,
                price_mct=event.price_mct, cash_mct=event.cash_mct, holding_w=event.holding_w, cause=event.cause,
            )  # fmt: skip
            yield event.area, event.customer, rebased
        case Repeated():
            repeated = wire.Repeated(sequence=event.sequence, id=event.request_id, first=_answer(event.first))
            yield event.area, event.customer, repeated
        case _:
            pass  # the operator's own


def _answer(event: Answer) -> wire.Answer:
    match event:
        case Accepted():
            return wire.Accepted(
                sequence=event.sequence, id=event.request_id, order_id=event.request_id, interval_ms=event.interval_ms,
                direction=event.direction, side=event.side, quantity_w=event.quantity_w, price_mct=event.price_mct,
            )  # fmt: skip
        case Replaced():
            return wire.Replaced(
                sequence=event.sequence, id=event.request_id, order_id=event.order_id, interval_ms=event.interval_ms,
                direction=event.direction, side=event.side, quantity_w=event.quantity_w, open_w=event.open_w,
                price_mct=event.price_mct, kept_priority=event.kept_priority,
            )  # fmt: skip
        case Cancelled():
            return wire.Cancelled(
                sequence=event.sequence, id=event.request_id, order_id=event.order_id, interval_ms=event.interval_ms,
                direction=event.direction, side=event.side, quantity_w=event.quantity_w, cause=event.cause,
            )  # fmt: skip
        case MassCancelled():
            return wire.MassCancelled(sequence=event.sequence, id=event.request_id, orders=event.orders)
        case Rejected():
            return wire.Rejected(sequence=event.sequence, id=event.request_id, reason=event.reason, detail=event.detail)
