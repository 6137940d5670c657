"""From an event to the private reports that it means: who is told, and what of it.

A customer learns of its own requests, orders, legs and account, and of nobody else's: a trade becomes one `filled` for each own leg,
without the other party; of a settlement each gets its own line. Operators' events have no private report, but for what they do to a
customer. Whoever is no customer of the area (the operator's own legs, a misspelt name) is left out by `Session.route`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exchange.events import (
    Accepted,
    Answer,
    Blocked,
    Cancelled,
    Event,
    MassCancelled,
    Raised,
    Rebased,
    Reinstated,
    Rejected,
    Repeated,
    Replaced,
    Settled,
    Shown,
    Suspended,
    TermsAmended,
    Traded,
)
from gateway import wire

Addressed = tuple[str, str, wire.Report]


def private(event: Event, everyone: Iterable[str] = ()) -> Iterator[Addressed]:
    """(area, customer, report) for everyone whom the event concerns; `everyone` are the customers of its area."""
    match event:
        case Accepted() | Replaced() | Cancelled() | MassCancelled() | Rejected():
            yield event.area, event.customer, _answer(event)
        case Traded():
            yield from _filled(event)
        case Blocked():
            blocked = wire.Blocked(
                sequence=event.sequence, order_id=event.order_id, interval_ms=event.interval_ms, direction=event.direction,
                kind=event.kind, element=event.element, phase=event.phase, wanted_w=event.wanted_w, secure_w=event.secure_w,
            )  # fmt: skip
            yield event.area, event.customer, blocked
        case Shown():
            shown = wire.Shown(
                sequence=event.sequence, order_id=event.order_id, interval_ms=event.interval_ms, direction=event.direction,
                side=event.side, price_mct=event.price_mct, shown_w=event.shown_w,
            )  # fmt: skip
            yield event.area, event.customer, shown
        case Rebased() | Raised():
            yield event.area, event.customer, _limit(event)
        case Settled():
            yield from _accounts(event)
        case Suspended() | Reinstated():
            kind = wire.Suspended if isinstance(event, Suspended) else wire.Reinstated
            for customer in everyone if event.customer is None else (event.customer,):
                yield event.area, customer, kind(sequence=event.sequence, reason=event.reason)
        case TermsAmended():
            amended = wire.TermsAmended(
                sequence=event.sequence, order_w_max=event.order_w_max, open_orders_max=event.open_orders_max, reason=event.reason
            )  # fmt: skip
            yield event.area, event.customer, amended
        case Repeated():
            repeated = wire.Repeated(sequence=event.sequence, id=event.request_id, first=_answer(event.first))
            yield event.area, event.customer, repeated
        case _:
            pass  # the operator's own


def _filled(event: Traded) -> Iterator[Addressed]:
    for index, leg in enumerate(event.legs):
        filled = wire.Filled(
            sequence=event.sequence, leg=index, order_id=leg.order_id, interval_ms=event.interval_ms, direction=leg.direction,
            side=leg.side, quantity_w=abs(leg.change_w), price_mct=leg.price_mct, cash_mct=leg.cash_mct, open_w=leg.open_w,
            holding_w=leg.holding_w, shown_w=leg.shown_w, kind=event.kind,
        )  # fmt: skip
        yield event.area, leg.customer, filled


def _limit(event: Rebased | Raised) -> wire.Rebased | wire.Raised:
    if isinstance(event, Raised):
        return wire.Raised(
            sequence=event.sequence, interval_ms=event.interval_ms, direction=event.direction, quantity_w=event.quantity_w,
            holding_w=event.holding_w, cause=event.cause,
        )  # fmt: skip
    return wire.Rebased(
        sequence=event.sequence, interval_ms=event.interval_ms, direction=event.direction, quantity_w=event.quantity_w,
        price_mct=event.price_mct, cash_mct=event.cash_mct, holding_w=event.holding_w, cause=event.cause,
    )  # fmt: skip


def _accounts(event: Settled) -> Iterator[Addressed]:
    """Each customer's line of the settlement. Rights are exports in the order of the customers, then imports."""
    n = len(event.customers)
    for position, customer in enumerate(event.customers):
        settled = wire.Settled(
            sequence=event.sequence, interval_ms=event.interval_ms, exports=_right_account(event, position),
            imports=_right_account(event, n + position), cash_mct=event.cash_mct[position], compensated_mct=event.compensated_mct[position],
        )  # fmt: skip
        yield event.area, customer, settled


def _right_account(event: Settled, right: int) -> wire.RightAccount:
    allocated, raised = event.allocation_w[right], event.raised_w[right]
    bought, sold, rebased = event.bought_w[right], event.sold_w[right], event.rebased_w[right]
    return wire.RightAccount(allocated, raised, bought, sold, rebased, allocated + raised + bought - sold - rebased)


def _answer(event: Answer) -> wire.Answer:
    match event:
        case Accepted():
            return wire.Accepted(
                sequence=event.sequence, id=event.request_id, order_id=event.request_id, interval_ms=event.interval_ms,
                direction=event.direction, side=event.side, quantity_w=event.quantity_w, price_mct=event.price_mct,
                shown_w=event.shown_w, intervals=event.intervals,
            )  # fmt: skip
        case Replaced():
            return wire.Replaced(
                sequence=event.sequence, id=event.request_id, order_id=event.order_id, interval_ms=event.interval_ms,
                direction=event.direction, side=event.side, quantity_w=event.quantity_w, open_w=event.open_w,
                price_mct=event.price_mct, kept_priority=event.kept_priority, shown_w=event.shown_w,
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
