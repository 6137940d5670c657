"""What the operator may order at run time, each with its reason, and what it is answered.

None as interval or customer means all of them; None as a rule means that it stays as it is.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from gateway.wire_terms import Count, Direction, Id, Price, Quantity, Reason, Side, Text, Time, Version


class Order(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", omit_defaults=True):
    """`id` is the operator's own: the same id again is answered again and does nothing."""

    v: Version
    id: Id
    reason: Reason


class HaltOrder(Order, frozen=True, kw_only=True, tag="halt"):
    """Stops an area, an interval or one of its books; cancels still work."""

    interval_ms: Time | None = None
    direction: Direction | None = None


class ResumeOrder(Order, frozen=True, kw_only=True, tag="resume"):
    interval_ms: Time | None = None
    direction: Direction | None = None


class SuspendOrder(Order, frozen=True, kw_only=True, tag="suspend"):
    customer: Id | None = None


class ReinstateOrder(Order, frozen=True, kw_only=True, tag="reinstate"):
    customer: Id | None = None


class TermsOrder(Order, frozen=True, kw_only=True, tag="terms"):
    """Other bounds for a customer's orders."""

    customer: Id
    order_w_max: Quantity | None = None
    open_orders_max: Count | None = None


class SettingsOrder(Order, frozen=True, kw_only=True, tag="settings"):
    """Other rules for the area."""

    price_mct_min: Price | None = None
    price_mct_max: Price | None = None
    compensation_mct: Price | None = None
    sweeps: bool | None = None
    call_auctions: bool | None = None
    auction_pricing: Literal["pay_as_bid", "uniform"] | None = None
    collar_mct: Price | None = None
    pause_mct: Price | None = None
    requests_free: Count | None = None
    requests_per_trade: Count | None = None
    requests_max: Count | None = None


class PhaseOrder(Order, frozen=True, kw_only=True, tag="phase"):
    """Freezes an interval, or opens it again: with an auction, or for continuous trading."""

    interval_ms: Time
    phase: Literal["frozen", "auction", "continuous"]


class WithholdOrder(Order, frozen=True, kw_only=True, tag="withhold"):
    """Offers headroom of a row, or asks for some back; the id names it for `release`."""

    interval_ms: Time
    kind: Text
    element: Text
    phase: Text = ""
    side: Side
    quantity_w: Quantity
    price_mct: Price


class ReleaseOrder(Order, frozen=True, kw_only=True, tag="release"):
    """Takes back a `withhold` and gives what it withheld to the row."""

    order_id: Id
    interval_ms: Time


AnyOrder = (
    HaltOrder | ResumeOrder | SuspendOrder | ReinstateOrder | TermsOrder | SettingsOrder | PhaseOrder | WithholdOrder | ReleaseOrder
)  # fmt: skip


class Happened(Struct, frozen=True):
    """An event of the exchange by its name, and its fields."""

    event: str
    facts: dict[str, Any]


class Outcome(Struct, frozen=True, kw_only=True, tag_field="type", tag="done"):
    """It is in the journal and in force. `happened` are the operator's own events; customers' are counted."""

    v: Version = 1
    id: str
    sequence: int
    happened: tuple[Happened, ...]
    orders_cancelled: int
    trades: int


class Refusal(Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """Nothing changed. `reason` is one of `exchange.rejects.Reason`, or `malformed` where the bytes are no order."""

    v: Version = 1
    id: str
    sequence: int
    reason: str
    detail: str


AnyOutcome = Outcome | Refusal
