"""What the broker retains: the envelope and the set points of a customer, and what everyone may know of the market.

Every retained message is whole: whoever has the latest one of a topic needs none before it. `update` counts the messages of a public
topic (and of a view) from 1 since the exchange was started: another number than the next one means that something was missed.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.wire_terms import Direction, Phase, Version


class Limits(Struct, frozen=True):
    """What a device must obey, in watts at the connection."""

    opModExpLimW: int  # noqa: N815  CSIP-AUS's own name
    opModImpLimW: int  # noqa: N815


class Control(Struct, frozen=True):
    start_ms: int
    duration_ms: int
    opModExpLimW: int  # noqa: N815
    opModImpLimW: int  # noqa: N815


class Envelope(Struct, frozen=True, kw_only=True, tag_field="type", tag="envelope"):
    """All live intervals of one customer, in time order; where no control covers a moment, `default` (the failsafe) does."""

    v: Version = 1
    customer: str
    sequence: int
    issued_ms: int
    default: Limits
    controls: tuple[Control, ...]


class SetPoint(Struct, frozen=True):
    start_ms: int
    duration_ms: int
    reactive_var: int


class Device(Struct, frozen=True, kw_only=True, tag_field="type", tag="device"):
    """Vars that the customer's inverter injects (negative: absorbs) for the operator; nothing is set where no control covers a moment."""

    v: Version = 1
    customer: str
    sequence: int
    issued_ms: int
    controls: tuple[SetPoint, ...]


class Level(Struct, frozen=True):
    price_mct: int
    shown_w: int
    orders: int


class PublicTrade(Struct, frozen=True):
    """Watts received and given in this direction; they differ only where the market trades at network exchange rates."""

    sequence: int
    market_ms: int
    price_mct: int
    received_w: int
    given_w: int
    kind: str


class Book(Struct, frozen=True, kw_only=True, tag_field="type", tag="book"):
    """One book as the public sees it: best levels, last trades (newest first), totals. Names nobody, and shows no hidden watt.

    Blocked watts are those of orders that cross another and find no room in the network.
    """

    v: Version = 1
    update: int
    sequence: int
    interval_ms: int
    direction: Direction
    bids: tuple[Level, ...]
    offers: tuple[Level, ...]
    trades: tuple[PublicTrade, ...]
    shown_buy_w: int
    shown_sell_w: int
    traded_w: int
    trade_count: int
    blocked_count: int
    blocked_buy_w: int
    blocked_sell_w: int


class Matched(Struct, frozen=True):
    """Watts that purchases would receive and that sales would give, and between which prices; None where nothing would."""

    received_w: int
    given_w: int
    price_mct_min: int | None
    price_mct_max: int | None


class Auction(Struct, frozen=True, kw_only=True, tag_field="type", tag="auction"):
    """What the orders at rest would come to if the auction ended now."""

    v: Version = 1
    update: int
    sequence: int
    interval_ms: int
    exports: Matched
    imports: Matched
    welfare_mct: int


class Row(Struct, frozen=True):
    """A limit of the network, how many watts of the right that uses it most it has room for, and what one of them is worth."""

    kind: str
    element: str
    phase: str
    headroom_w: int
    price_mct: int


class Rows(Struct, frozen=True, kw_only=True, tag_field="type", tag="rows"):
    """The rows of an interval that are closest to their limit, the fullest first; `price_mct` is 0 where more room is worth nothing."""

    v: Version = 1
    update: int
    sequence: int
    interval_ms: int
    rows: tuple[Row, ...]


class Tap(Struct, frozen=True):
    branch: str
    position: int


class IntervalState(Struct, frozen=True):
    """`halted` are the books that take no orders now; `taps` are the tap positions that the operator sets for this interval."""

    interval_ms: int
    phase: Phase
    rows_hash: str
    halted: list[Direction] = []  # a tuple as default would stand in the schema as no JSON value
    taps: list[Tap] = []


class State(Struct, frozen=True, kw_only=True, tag_field="type", tag="state"):
    """The market's rules and intervals. An interval's length, and the steps and bounds of an order."""

    v: Version = 1
    update: int
    area: str
    sequence: int
    market_ms: int
    interval_length_ms: int
    tick_mct: int
    lot_w: int
    price_mct_min: int
    price_mct_max: int
    matching: str
    auction_pricing: str
    intervals: tuple[IntervalState, ...]
