"""What happened, in the past tense: frozen facts with one running `sequence`, derived from commands, never journaled.

A trade is a list of legs. A leg says which right of which customer changed by how many watts and what cash moved; how many
legs there are, and whether the watts of the legs cancel out, is the matching rule's business and nobody else's. What always
holds: cash sums to zero over the legs, and the holdings after the trade satisfy every row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from exchange.commands import ChangeCause, DeviceSetting, Direction, Side

CancelCause = Literal["request", "replace", "mass", "disconnect", "silence", "gate", "expired", "ioc", "fok", "self_trade", "rebased"]


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


class Leg(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One party's part in a trade. `change_w` > 0 was received, < 0 given; `cash_mct` > 0 was earned, < 0 paid.

    `open_w` is what stays open of the order, `holding_w` the limit after the leg.
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


class Traded(msgspec.Struct, frozen=True, array_like=True, tag="traded", gc=False):
    """Leg 0 belongs to the incoming order (taker), the others to resting orders (makers), at the makers' prices."""

    sequence: int
    area: str
    interval_ms: int
    legs: tuple[Leg, ...]


class Blocked(msgspec.Struct, frozen=True, array_like=True, tag="blocked", gc=False):
    """An order crossed another, and the network has no room for (all of) the trade. It stays in the book.

    The row's kind, element and phase; of `wanted_w` only `secure_w`, in whole lots, were secure (and traded).
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


class RowsChanged(msgspec.Struct, frozen=True, array_like=True, tag="rows_changed"):
    """New rows, `rows` of them, are in force in the interval, with these device settings and no others.

    What they cost follows: for each right in turn the sales that no longer fit as `Cancelled`, then its `Rebased`.
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


class GateClosed(msgspec.Struct, frozen=True, array_like=True, tag="gate_closed", gc=False):
    sequence: int
    area: str
    interval_ms: int


class IntervalRetired(msgspec.Struct, frozen=True, array_like=True, tag="interval_retired", gc=False):
    sequence: int
    area: str
    interval_ms: int


class Halted(msgspec.Struct, frozen=True, array_like=True, tag="halted", gc=False):
    sequence: int
    area: str | None
    interval_ms: int | None
    reason: str


class Resumed(msgspec.Struct, frozen=True, array_like=True, tag="resumed", gc=False):
    sequence: int
    area: str | None
    interval_ms: int | None
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
    | IntervalOpened | RowsChanged | Rebased | GateClosed | IntervalRetired | Halted | Resumed | Advanced | Refused
)  # fmt: skip
