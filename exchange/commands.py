"""Everything that can be asked of the engine: imperative, frozen, journaled. Time, rows and gates are commands like any other.

Commands are the only input of the engine and the only content of the journal; events are derived from them. Customers send
Place, Replace, Cancel and MassCancel, each under a `request_id` of their own choice, unique per customer while its interval
lives: the same id with the same body gets the first answer again. The others come from the operator, the clock and refresh.

Units are in the names: `_w` watts, `_mct` milli-cents per kWh of envelope, `_ms` UTC milliseconds. `interval_ms` names an
interval by its start. The order of fields and the tags are the journal's format: append, never reorder.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from exchange.bounds import CustomerTerms, MarketSettings

Direction = Literal["export", "import"]
Side = Literal["buy", "sell"]
TimeInForce = Literal["gate", "until", "ioc", "fok"]
ChangeCause = Literal["topology", "limits", "audit", "recourse", "refresh"]
Phase = Literal["announced", "auction", "continuous", "frozen", "closed", "delivery"]


class Place(msgspec.Struct, frozen=True, array_like=True, tag="place", gc=False):
    """A limit order; its `request_id` becomes the order's id. `until_ms` counts only with time in force `until`.

    `display_w` > 0 makes an iceberg: so much is shown, and matched in turn, at a time. `intervals` > 1 makes a block order: the same
    watts in so many intervals from `interval_ms` on, all of them or none, at `price_mct` on average.
    """

    area: str
    customer: str
    request_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    price_mct: int
    time_in_force: TimeInForce = "gate"
    until_ms: int = 0
    display_w: int = 0
    intervals: int = 1


class Replace(msgspec.Struct, frozen=True, array_like=True, tag="replace", gc=False):
    """New price and new TOTAL quantity, fills included, of a resting order: a fill that crosses the request cannot add to it.

    A total that leaves less than a lot to trade cancels the rest. Less at the same price keeps priority, anything else loses it.
    """

    area: str
    customer: str
    request_id: str
    order_id: str
    quantity_w: int
    price_mct: int


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel", gc=False):
    area: str
    customer: str
    request_id: str
    order_id: str


class MassCancel(msgspec.Struct, frozen=True, array_like=True, tag="mass_cancel", gc=False):
    """Cancels all of a customer's orders, or those of one interval. `cause`: request, disconnect or silence."""

    area: str
    customer: str
    request_id: str
    interval_ms: int | None = None
    cause: Literal["request", "disconnect", "silence"] = "request"


class OpenArea(msgspec.Struct, frozen=True, array_like=True, tag="open_area"):
    """The market of one area: its rules and its customers. Right index = position, imports after all exports."""

    area: str
    settings: MarketSettings
    customers: tuple[CustomerTerms, ...]


class InstallRows(msgspec.Struct, frozen=True, array_like=True, tag="install_rows", gc=False):
    """A packing polytope (`Polytope.to_bytes`) that intervals opened later name by its content hash.

    Kept while an interval needs it, and the newest of an area in any case; forgotten when an interval is retired otherwise.
    """

    area: str
    polytope: bytes


class OpenInterval(msgspec.Struct, frozen=True, array_like=True, tag="open_interval"):
    """Both books of an interval with the allocation, in the order of the area's customers. Orders are taken from phase `auction` on."""

    area: str
    interval_ms: int
    rows_hash: str
    export_w: tuple[int, ...]
    import_w: tuple[int, ...]
    phase: Literal["announced", "auction", "continuous"] = "continuous"


class EnterPhase(msgspec.Struct, frozen=True, array_like=True, tag="enter_phase", gc=False):
    """Moves an interval on in its life (the table of moves is in docs/market.md). An auction is left by an Uncross that ends it."""

    area: str
    interval_ms: int
    phase: Phase
    reason: str


class CloseGate(msgspec.Struct, frozen=True, array_like=True, tag="close_gate", gc=False):
    """Ends trading of an interval, in one area or (None) in all: what rests is cancelled, holdings stand."""

    area: str | None
    interval_ms: int


class RetireInterval(msgspec.Struct, frozen=True, array_like=True, tag="retire_interval", gc=False):
    """Forgets a closed interval after its delivery."""

    area: str
    interval_ms: int


class Halt(msgspec.Struct, frozen=True, array_like=True, tag="halt", gc=False):
    """Stops placing, replacing and matching; cancels still work. None means all areas, all intervals, both books.

    The halt of one interval ends when the interval is retired (in the last area that has it). A `direction` needs an interval.
    """

    area: str | None
    interval_ms: int | None
    reason: str
    direction: Direction | None = None


class Resume(msgspec.Struct, frozen=True, array_like=True, tag="resume", gc=False):
    """Takes back the halt of the same scope."""

    area: str | None
    interval_ms: int | None
    reason: str
    direction: Direction | None = None


class Suspend(msgspec.Struct, frozen=True, array_like=True, tag="suspend", gc=False):
    """The kill switch: cancels all orders of a customer, or (None) of all, and takes no new ones. Cancels still work."""

    area: str
    customer: str | None
    reason: str


class Reinstate(msgspec.Struct, frozen=True, array_like=True, tag="reinstate", gc=False):
    """Takes back the suspension of the same scope."""

    area: str
    customer: str | None
    reason: str


class AmendTerms(msgspec.Struct, frozen=True, array_like=True, tag="amend_terms", gc=False):
    """Other bounds for a customer's orders. Ratings and failsafe cannot change while the area lives."""

    area: str
    customer: str
    order_w_max: int
    open_orders_max: int
    reason: str


class AmendSettings(msgspec.Struct, frozen=True, array_like=True, tag="amend_settings"):
    """Other rules for an area; `bounds.FIXED_SETTINGS` must stay as they are. Orders at rest keep their prices."""

    area: str
    settings: MarketSettings
    reason: str


class Withhold(msgspec.Struct, frozen=True, array_like=True, tag="withhold", gc=False):
    """An order of the operator for headroom of one row. One watt of it is one watt of the right that uses the row most.

    `sell` takes up to `quantity_w` of what is left over out of the row and offers it at `price_mct`; `buy` wants so much back from
    the market. The row is named as events name it. Bought and unsold headroom stays withheld until it is released.
    """

    area: str
    request_id: str
    interval_ms: int
    kind: str
    element: str
    phase: str
    side: Side
    quantity_w: int
    price_mct: int
    reason: str


class Release(msgspec.Struct, frozen=True, array_like=True, tag="release", gc=False):
    """Cancels what is open of a Withhold and gives everything that it still withholds back to the row."""

    area: str
    request_id: str
    interval_ms: int
    reason: str


class DeviceSetting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A set point of one of the operator's devices in one interval.

    `reactive_var`: `device` is a customer, `value` the vars that its inverter injects (negative: absorbs). `tap`: `device` names the
    branch as the network does, `value` is the tap position: steps from where the network file has it.
    """

    device: str
    kind: Literal["reactive_var", "tap"]
    value: int


class ChangeRows(msgspec.Struct, frozen=True, array_like=True, tag="change_rows"):
    """New rows, installed before, for an interval that is open or in delivery.

    Every right's holding becomes min(holding, `limit_w`), by right: exports, then imports. The limits must be secure in the new rows,
    and what is lower is secure too: so a proposal cannot be stale, whatever traded since it was computed. Then every holding grows by
    `raise_w` (none where empty): refused where that is not secure, or no longer fits below the rating. `settings` are all that is
    in force from now on (none where empty). `replaces_hash` names the rows that the proposal was made from: it is refused where others
    are in force by now. Empty replaces whatever is. Orders that were blocked are woken.
    """

    area: str
    interval_ms: int
    rows_hash: str
    limit_w: tuple[int, ...]
    cause: ChangeCause
    detail: str
    settings: tuple[DeviceSetting, ...] = ()
    raise_w: tuple[int, ...] = ()
    replaces_hash: str = ""


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a proposal does to one right: watts received (positive) or given (negative)."""

    right: int
    change_w: int


class Sweep(msgspec.Struct, frozen=True, array_like=True, tag="sweep"):
    """A Place together with a solver's proposal for what is to trade at once when it comes. The engine takes the proposal where it
    is secure, fair and worth more than the pairwise match, and else matches as if there were none."""

    place: Place
    changes: tuple[Change, ...]


class Uncross(msgspec.Struct, frozen=True, array_like=True, tag="uncross"):
    """A solver's proposal for the orders that rest in an interval: to end its auction, or to trade what pairs cannot.

    `row_price_mct`: with uniform pricing, the price of each row (in force: `rows_hash`) per kWh of the right that uses it most.
    """

    area: str
    interval_ms: int
    rows_hash: str
    changes: tuple[Change, ...]
    ends_auction: bool = False
    row_price_mct: tuple[int, ...] = ()


class Advance(msgspec.Struct, frozen=True, array_like=True, tag="advance", gc=False):
    """The market's clock reached this time: orders in force until then expire. Time never runs backwards."""

    at_ms: int


CustomerCommand = Place | Replace | Cancel | MassCancel
OperatorCommand = (
    OpenArea | InstallRows | OpenInterval | EnterPhase | CloseGate | RetireInterval | Halt | Resume | Suspend | Reinstate | AmendTerms
    | AmendSettings | Withhold | Release | ChangeRows | Uncross | Advance
)  # fmt: skip
Command = CustomerCommand | Sweep | OperatorCommand
