"""Idempotency: what a customer's request got as its first answer, kept until the interval that it concerns is retired.

A network repeats messages; an exchange must not. A request is known by its customer and its `request_id`. The order that a
Place made is kept with its receipt, live or not, so that a late Cancel can be told what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exchange.commands import CustomerCommand, Place
from exchange.events import Accepted, Answer

if TYPE_CHECKING:
    from exchange.book import Order


class Receipt(msgspec.Struct, eq=False, gc=False):
    """`order` only with a Place that made one: its answer is then made anew when it is asked for, and takes no memory meanwhile."""

    command: CustomerCommand
    answer: Answer | None
    order: Order | None = None

    def first_answer(self) -> Answer:
        if self.answer is not None:
            return self.answer
        assert isinstance(self.command, Place), "only a Place makes an order"
        assert self.order is not None
        return accepted(self.command, self.order.born)


def accepted(command: Place, sequence: int) -> Accepted:
    """The answer to a Place that is taken in."""
    quantity_w, intervals = command.quantity_w, command.intervals
    return Accepted(
        sequence, command.area, command.customer, command.request_id, command.interval_ms, command.direction, command.side,
        quantity_w, command.price_mct, 0 if intervals > 1 else shown_of(command.display_w, quantity_w), intervals,
    )  # fmt: skip


def shown_of(display_w: int, open_w: int) -> int:
    """What is shown at a time of an order with so much open."""
    return min(display_w, open_w) if display_w else open_w


class Account:
    """One customer in one area: position (its place among the area's customers), receipts and how many orders rest."""

    __slots__ = ("customer", "open_orders", "position", "receipts")

    def __init__(self, customer: str, position: int) -> None:
        self.customer = customer
        self.position = position
        self.receipts: dict[str, Receipt] = {}
        self.open_orders = 0

    def live_order(self, order_id: str) -> Order | None:
        receipt = self.receipts.get(order_id)
        if receipt is None or receipt.order is None or not receipt.order.is_live:
            return None
        return receipt.order

    def fate(self, order_id: str) -> str:
        """For the detail of a reject: what this order was, as far as is remembered."""
        receipt = self.receipts.get(order_id)
        return "not known" if receipt is None or receipt.order is None else receipt.order.fate
