"""What a customer may ask. Unknown fields are refused, every number and every string is bounded."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.wire_terms import INTERVALS_MAX, Direction, Id, Price, Quantity, Side, Time, Version, Watts


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", omit_defaults=True):
    """`id` is chosen by the client, unique per customer: the answer quotes it, and the same id again repeats the first answer.

    A request that arrives after `expires_ms` is refused as `late` and has no effect.
    """

    v: Version
    id: Id
    expires_ms: Time | None = None


class Place(Request, frozen=True, kw_only=True, tag="place"):
    """A limit order for one right; `id` becomes the order's id.

    `display_w` > 0 makes an iceberg: so much of it is shown, and traded in turn, at a time. `intervals` > 1 makes a block order: the same
    watts in so many intervals from `interval_ms` on, all of them or none.
    """

    interval_ms: Time
    direction: Direction
    side: Side
    quantity_w: Quantity
    price_mct: Price
    time_in_force: Literal["gate", "until", "ioc", "fok"] = "gate"
    until_ms: Time = 0
    display_w: Watts = 0
    intervals: Annotated[int, Meta(ge=1, le=INTERVALS_MAX)] = 1


class Replace(Request, frozen=True, kw_only=True, tag="replace"):
    """New price and new TOTAL quantity, what has traded included."""

    order_id: Id
    quantity_w: Quantity
    price_mct: Price


class Cancel(Request, frozen=True, kw_only=True, tag="cancel"):
    order_id: Id


class MassCancel(Request, frozen=True, kw_only=True, tag="mass_cancel"):
    """Cancels all orders, or those of one interval. Sent as Last Will its cause is `disconnect`."""

    interval_ms: Time | None = None
    cause: Literal["request", "disconnect"] = "request"


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """Asks for open orders, holdings and the last sequence: what a client needs after a reconnect."""


class View(Request, frozen=True, kw_only=True, tag="view"):
    """Asks for an interval as one's own right sees it; from then on the view's topic has it, until the gate closes."""

    interval_ms: Time
    direction: Direction


class Heartbeat(Request, frozen=True, kw_only=True, tag="heartbeat"):
    """Says that the customer lives; silence with open orders ends in their cancellation."""


AnyRequest = Place | Replace | Cancel | MassCancel | Status | View | Heartbeat
