"""Idempotency: what a customer's request got as its first answer, kept until the interval that it concerns is retired.

A network repeats messages; an exchange must not. A request is known by its customer and its `request_id`. The order that a
Place made is kept with its receipt, live or not, so that a late Cancel can be told what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exchange.commands import CustomerCommand
from exchange.events import Answer

if TYPE_CHECKING:
    from exchange.book import Order


class Receipt(msgspec.Struct, eq=False, gc=False):
    """`order` only with a Place that made one."""

    command: CustomerCommand
    answer: Answer
    order: Order | None = None


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
