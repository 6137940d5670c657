"""What a customer is told in private: answers, what became of its orders and limits, and the drop copy of all that counts."""

from __future__ import annotations

from msgspec import Struct

from gateway.wire_terms import Direction, Side, Version


class Report(Struct, frozen=True, kw_only=True, tag_field="type"):
    """`sequence` is the exchange's; a client that has seen a sequence may drop it. `id` is the request's, or empty."""

    v: Version = 1
    sequence: int
    id: str = ""


class Accepted(Report, frozen=True, kw_only=True, tag="accepted"):
    """`shown_w` is what anyone may see of it; `intervals` > 1: it trades in all of them or in none."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    price_mct: int
    shown_w: int
    intervals: int


class Rejected(Report, frozen=True, kw_only=True, tag="rejected"):
    """The exchange said no; nothing changed. `reason` is one of `exchange.rejects.Reason`."""

    reason: str
    detail: str


class Replaced(Report, frozen=True, kw_only=True, tag="replaced"):
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    open_w: int
    price_mct: int
    kept_priority: bool
    shown_w: int


class Cancelled(Report, frozen=True, kw_only=True, tag="cancelled"):
    """`quantity_w` was open and is no longer. `id` is empty where nobody asked (gate, expiry, silence)."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    cause: str


class MassCancelled(Report, frozen=True, kw_only=True, tag="mass_cancelled"):
    orders: int


class Filled(Report, frozen=True, kw_only=True, tag="filled"):
    """One own leg of a trade; who was on the other side is never told. `holding_w` is the limit after it.

    `kind`: `pair`, `leftover` (headroom that nobody held, for nothing), `sweep`, `uncross` (of orders at rest), or `block`: one of the
    intervals of a block order, each of which has its own.
    """

    leg: int
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    price_mct: int
    cash_mct: int
    open_w: int
    holding_w: int
    shown_w: int
    kind: str


class Shown(Report, frozen=True, kw_only=True, tag="shown"):
    """The shown part of an order was used up: the next `shown_w` are shown, last in their price."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    price_mct: int
    shown_w: int


class Blocked(Report, frozen=True, kw_only=True, tag="blocked"):
    """The order crosses another, and the network has no room: which element and phase, and how much would be secure."""

    order_id: str
    interval_ms: int
    direction: Direction
    kind: str
    element: str
    phase: str
    wanted_w: int
    secure_w: int


class Rebased(Report, frozen=True, kw_only=True, tag="rebased"):
    """The operator had to lower a limit by `quantity_w`, and paid `cash_mct` for it. `holding_w` is the limit after it."""

    interval_ms: int
    direction: Direction
    quantity_w: int
    price_mct: int
    cash_mct: int
    holding_w: int
    cause: str


class Raised(Report, frozen=True, kw_only=True, tag="raised"):
    """The operator had more room to share out: the limit rose by `quantity_w` to `holding_w`, for nothing."""

    interval_ms: int
    direction: Direction
    quantity_w: int
    holding_w: int
    cause: str


class RightAccount(Struct, frozen=True):
    """holding = allocation + raised + bought - sold - rebased, in watts."""

    allocation_w: int
    raised_w: int
    bought_w: int
    sold_w: int
    rebased_w: int
    holding_w: int


class Settled(Report, frozen=True, kw_only=True, tag="settled"):
    """The customer's account of an interval whose delivery is over. `cash_mct` (earned > 0) includes what was paid as compensation."""

    interval_ms: int
    exports: RightAccount
    imports: RightAccount
    cash_mct: int
    compensated_mct: int


class Suspended(Report, frozen=True, kw_only=True, tag="suspended"):
    """The operator takes no orders of this customer (or of all) until it says so; those at rest were cancelled."""

    reason: str


class Reinstated(Report, frozen=True, kw_only=True, tag="reinstated"):
    reason: str


class TermsAmended(Report, frozen=True, kw_only=True, tag="terms_amended"):
    """Other bounds for the customer's orders."""

    order_w_max: int
    open_orders_max: int
    reason: str


Answer = Accepted | Rejected | Replaced | Cancelled | MassCancelled


class Repeated(Report, frozen=True, kw_only=True, tag="repeated"):
    """The same request came again and did nothing; `first` is its first answer."""

    first: Answer


class BlockingRow(Struct, frozen=True):
    """What of the network stands in the way."""

    kind: str
    element: str
    phase: str


class OpenOrder(Struct, frozen=True):
    """`blocked_by`: the last row that was told to stand in its way, if any."""

    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    open_w: int
    price_mct: int
    shown_w: int
    intervals: int = 1
    blocked_by: BlockingRow | None = None


class Holding(Struct, frozen=True):
    interval_ms: int
    export_w: int
    import_w: int


class StatusReport(Report, frozen=True, kw_only=True, tag="status"):
    """`sequence` is the last one that the lists include."""

    market_ms: int
    open_orders: tuple[OpenOrder, ...]
    holdings: tuple[Holding, ...]


class Quote(Struct, frozen=True):
    """What one counterpart costs (or brings) per kWh of the viewer's own watts, how many of those would be secure, and in which direction
    the counterpart's order is."""

    price_mct: int
    secure_w: int
    direction: Direction


class ViewReport(Report, frozen=True, kw_only=True, tag="view"):
    """An interval's market as one right sees it, best first; `left_over_w` are watts that nobody holds and that cost nothing.

    Each quote is what this one counterpart could trade now. The answer to `view` has the request's id; on the view's own topic the id
    is empty and `update` counts the messages there.
    """

    update: int = 0
    interval_ms: int
    direction: Direction
    left_over_w: int
    offers: tuple[Quote, ...]
    bids: tuple[Quote, ...]


class Alive(Report, frozen=True, kw_only=True, tag="alive"):
    """Answers a heartbeat; `sequence` is the exchange's last."""

    market_ms: int


class Malformed(Report, frozen=True, kw_only=True, tag="malformed"):
    """The bytes are not a request. `field` is where, or empty; `id` is quoted where it could be read."""

    field: str
    reason: str


class Throttled(Report, frozen=True, kw_only=True, tag="throttled"):
    """Too many requests; worth trying again after `retry_ms`."""

    retry_ms: int


class Late(Report, frozen=True, kw_only=True, tag="late"):
    """The request arrived after its own expiry and never reached the exchange's core."""

    expires_ms: int
    market_ms: int


AnyReport = (
    Accepted | Rejected | Replaced | Cancelled | MassCancelled | Filled | Shown | Blocked | Rebased | Raised | Settled | Suspended
    | Reinstated | TermsAmended | Repeated | StatusReport | ViewReport | Alive | Malformed | Throttled | Late
)  # fmt: skip
Copied = Filled | Cancelled | Rebased | Raised | Settled


class Drop(Struct, frozen=True, kw_only=True, tag_field="type", tag="drop"):
    """One entry of a customer's drop copy. `number` runs from 1 without a gap within one `run` of the exchange.

    After a restart another run begins at 1, with what may not have been delivered before: its reports have their old sequences.
    """

    v: Version = 1
    run: str
    number: int
    customer: str
    market_ms: int
    report: Copied
