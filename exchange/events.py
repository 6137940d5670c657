"""What happened, in the past tense: frozen facts with one running `sequence`, derived from commands, never journaled.

A trade is a list of legs. A leg says which right of which customer changed by how many watts and what cash moved; how many
legs there are, and whether the watts of the legs cancel out, is the matching rule's business and nobody else's. What always
holds: cash sums to zero over the legs and the operator, and the holdings after the trade satisfy every row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from exchange.bounds import MarketSettings
from exchange.commands import ChangeCause, DeviceSetting, Direction, Phase, Side

CancelCause = Literal[
    "request", "replace", "mass", "disconnect", "silence", "gate", "expired", "ioc", "fok", "self_trade", "rebased",
    "remainder", "suspended",
]  # fmt: skip
TradeKind = Literal["pair", "leftover", "sweep", "uncross", "block"]


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag="accepted", gc=False):
    """An order was taken in; its trades, cancellation or rest follow. Later `Traded` and `Cancelled` tell what became of it."""

    sequence: int
    area: str
    customer: str
    request_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    price_mct: int
    shown_w: int
    intervals: int


class Replaced(msgspec.Struct, frozen=True, array_like=True, tag="replaced", gc=False):
    """`quantity_w` is the new total, `open_w` what is open before any trade that the new price leads to."""

    sequence: int
    area: str
    customer: str
    request_id: str
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    open_w: int
    price_mct: int
    kept_priority: bool
    shown_w: int


class Leg(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One party's part in a trade. `change_w` > 0 was received, < 0 given; `cash_mct` > 0 was earned, < 0 paid.

    `open_w` is what stays open of the order, `shown_w` what of it anyone may see, `holding_w` the limit after the leg. A leg of the
    operator (customer `~operator`) is headroom of a row: its holding is what stays withheld under the order.
    """

    customer: str
    order_id: str
    side: Side
    direction: Direction
    change_w: int
    price_mct: int
    cash_mct: int
    open_w: int
    holding_w: int
    shown_w: int


class Traded(msgspec.Struct, frozen=True, array_like=True, tag="traded", gc=False):
    """Leg 0 belongs to the incoming order (taker), the others to resting orders (makers), at the makers' prices.

    `leftover` has one leg: headroom that nobody holds, for nothing. In an `uncross` all rested, and every leg has its own price.
    `operator_mct` is what is left of the cash: with the legs' cash it sums to zero.
    """

    sequence: int
    area: str
    interval_ms: int
    legs: tuple[Leg, ...]
    kind: TradeKind = "pair"
    operator_mct: int = 0


class Blocked(msgspec.Struct, frozen=True, array_like=True, tag="blocked", gc=False):
    """An order crossed another, and the network has no room for (all of) the trade. It stays in the book until something gives way.

    The row's kind, element and phase; of `wanted_w` only `secure_w` could trade (and did).
    """

    sequence: int
    area: str
    customer: str
    order_id: str
    interval_ms: int
    direction: Direction
    kind: str
    element: str
    phase: str
    wanted_w: int
    secure_w: int


class Cancelled(msgspec.Struct, frozen=True, array_like=True, tag="cancelled", gc=False):
    """`quantity_w` was open and is no longer. `request_id` is the Cancel or MassCancel that asked, or empty."""

    sequence: int
    area: str
    customer: str
    request_id: str
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    cause: CancelCause


class MassCancelled(msgspec.Struct, frozen=True, array_like=True, tag="mass_cancelled", gc=False):
    """Answers a MassCancel after its `Cancelled` events: how many orders went."""

    sequence: int
    area: str
    customer: str
    request_id: str
    orders: int


class Rejected(msgspec.Struct, frozen=True, array_like=True, tag="rejected", gc=False):
    """A customer's request changed nothing. `reason` is a `rejects.Reason`, `detail` is for people."""

    sequence: int
    area: str
    customer: str
    request_id: str
    reason: str
    detail: str


class AreaOpened(msgspec.Struct, frozen=True, array_like=True, tag="area_opened", gc=False):
    sequence: int
    area: str
    customers: int


class RowsInstalled(msgspec.Struct, frozen=True, array_like=True, tag="rows_installed", gc=False):
    sequence: int
    area: str
    rows_hash: str
    rows: int


class IntervalOpened(msgspec.Struct, frozen=True, array_like=True, tag="interval_opened"):
    """Allocations in the order of the area's customers."""

    sequence: int
    area: str
    interval_ms: int
    rows_hash: str
    customers: tuple[str, ...]
    export_w: tuple[int, ...]
    import_w: tuple[int, ...]
    phase: Phase


class RowsChanged(msgspec.Struct, frozen=True, array_like=True, tag="rows_changed"):
    """New rows, `rows` of them, are in force in the interval, with these device settings and no others.

    What they cost and bring follows: for each right in turn the sales that no longer fit as `Cancelled`, then its `Rebased`; after
    all of them each right's `Raised`.
    """

    sequence: int
    area: str
    interval_ms: int
    rows_hash: str
    rows: int
    cause: ChangeCause
    detail: str
    settings: tuple[DeviceSetting, ...]


class Rebased(msgspec.Struct, frozen=True, array_like=True, tag="rebased", gc=False):
    """A holding was lowered by `quantity_w` to `holding_w`; the operator paid the customer `cash_mct` for it, at `price_mct`."""

    sequence: int
    area: str
    interval_ms: int
    customer: str
    direction: Direction
    quantity_w: int
    price_mct: int
    cash_mct: int
    cause: ChangeCause
    holding_w: int


class Raised(msgspec.Struct, frozen=True, array_like=True, tag="raised", gc=False):
    """The operator had more room to share out: a holding grew by `quantity_w` to `holding_w`."""

    sequence: int
    area: str
    interval_ms: int
    customer: str
    direction: Direction
    quantity_w: int
    cause: ChangeCause
    holding_w: int


class PhaseEntered(msgspec.Struct, frozen=True, array_like=True, tag="phase_entered", gc=False):
    """An interval moved on, by command or (a volatility pause) by its own trades. Gate closure and retirement have their own events."""

    sequence: int
    area: str
    interval_ms: int
    phase: Phase
    reason: str


class Uncrossed(msgspec.Struct, frozen=True, array_like=True, tag="uncrossed", gc=False):
    """The orders at rest were matched together; what traded follows as one Traded. `is_proposal`: as proposed, not pair by pair.

    `welfare_mct`: what buyers would have paid at most, less what sellers asked at least, over the interval.
    """

    sequence: int
    area: str
    interval_ms: int
    is_proposal: bool
    ends_auction: bool
    welfare_mct: int


class Shown(msgspec.Struct, frozen=True, array_like=True, tag="shown", gc=False):
    """An iceberg's shown part was used up: `shown_w` more of it is shown, last in its price."""

    sequence: int
    area: str
    customer: str
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    price_mct: int
    shown_w: int


class GateClosed(msgspec.Struct, frozen=True, array_like=True, tag="gate_closed", gc=False):
    sequence: int
    area: str
    interval_ms: int


class IntervalRetired(msgspec.Struct, frozen=True, array_like=True, tag="interval_retired", gc=False):
    sequence: int
    area: str
    interval_ms: int


class Settled(msgspec.Struct, frozen=True, array_like=True, tag="settled"):
    """The account of an interval when it is retired. Watts by right (exports, then imports), cash by customer.

    holding = allocation + raised + bought - sold - rebased, by right. `cash_mct` holds `compensated_mct`. The operator earned
    `operator_mct`, its orders for headroom included: with the customers' cash it sums to zero.
    """

    sequence: int
    area: str
    interval_ms: int
    customers: tuple[str, ...]
    allocation_w: tuple[int, ...]
    raised_w: tuple[int, ...]
    bought_w: tuple[int, ...]
    sold_w: tuple[int, ...]
    rebased_w: tuple[int, ...]
    cash_mct: tuple[int, ...]
    compensated_mct: tuple[int, ...]
    operator_mct: int


class Halted(msgspec.Struct, frozen=True, array_like=True, tag="halted", gc=False):
    sequence: int
    area: str | None
    interval_ms: int | None
    reason: str
    direction: Direction | None


class Resumed(msgspec.Struct, frozen=True, array_like=True, tag="resumed", gc=False):
    sequence: int
    area: str | None
    interval_ms: int | None
    reason: str
    direction: Direction | None


class Suspended(msgspec.Struct, frozen=True, array_like=True, tag="suspended", gc=False):
    """`customer` None: all. Their orders were cancelled before."""

    sequence: int
    area: str
    customer: str | None
    reason: str


class Reinstated(msgspec.Struct, frozen=True, array_like=True, tag="reinstated", gc=False):
    sequence: int
    area: str
    customer: str | None
    reason: str


class TermsAmended(msgspec.Struct, frozen=True, array_like=True, tag="terms_amended", gc=False):
    sequence: int
    area: str
    customer: str
    order_w_max: int
    open_orders_max: int
    reason: str


class SettingsAmended(msgspec.Struct, frozen=True, array_like=True, tag="settings_amended"):
    sequence: int
    area: str
    settings: MarketSettings
    reason: str


class Withheld(msgspec.Struct, frozen=True, array_like=True, tag="withheld", gc=False):
    """An order of the operator was taken in; its trades follow. `holding_w` of the row are withheld under it now."""

    sequence: int
    area: str
    request_id: str
    interval_ms: int
    kind: str
    element: str
    phase: str
    side: Side
    quantity_w: int
    price_mct: int
    holding_w: int
    reason: str


class Released(msgspec.Struct, frozen=True, array_like=True, tag="released", gc=False):
    """`released_w` that were withheld are the row's headroom again; `cancelled_w` of the order were still open."""

    sequence: int
    area: str
    request_id: str
    interval_ms: int
    released_w: int
    cancelled_w: int
    reason: str


class Advanced(msgspec.Struct, frozen=True, array_like=True, tag="advanced", gc=False):
    sequence: int
    at_ms: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused", gc=False):
    """An operator's command changed nothing. `command` is its tag."""

    sequence: int
    command: str
    reason: str
    detail: str


Answer = Accepted | Replaced | Cancelled | MassCancelled | Rejected


class Repeated(msgspec.Struct, frozen=True, array_like=True, tag="repeated", gc=False):
    """The same request came again; it did nothing. `first` is the answer that it got the first time, sequence and all."""

    sequence: int
    area: str
    customer: str
    request_id: str
    first: Answer


Event = (
    Accepted | Replaced | Traded | Blocked | Cancelled | MassCancelled | Rejected | Repeated | AreaOpened | RowsInstalled
    | IntervalOpened | RowsChanged | Rebased | Raised | PhaseEntered | Uncrossed | Shown | GateClosed | Settled | IntervalRetired
    | Halted | Resumed | Suspended | Reinstated | TermsAmended | SettingsAmended | Withheld | Released | Advanced | Refused
)  # fmt: skip
