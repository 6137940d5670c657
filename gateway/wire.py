"""Wire formats, version 1: what crosses MQTT, as JSON, and nothing else.

Requests are what a customer sends, reports its private answers, the envelope what its devices obey, `device` what the operator
sets at them; book and state are public. Rules: every payload carries `v` and `type`; unknown fields are refused; every number and
every string is bounded; units are in the names (`_w` watts, `_mct` milli-cents per kWh of envelope, `_ms` UTC milliseconds of the
market's clock). Correlation id, sequence and expiry are in the payload, so MQTT 3.1.1 suffices. `opModExpLimW` and `opModImpLimW`
are named as in CSIP-AUS, whose active controls and default control the envelope mirrors.

Decoding is strict and total: any bytes give a request or a `Malformed` that names the field and the reason.
`python -m gateway.wire` prints the JSON Schemas.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.topics import NAME_PATTERN

PAYLOAD_BYTES_MAX = 4096

Version = Literal[1]
Id = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=64, description="letters, digits and ._:-")]
Time = Annotated[int, Meta(ge=0, le=2**52, description="UTC milliseconds of the market's clock")]
Watts = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Quantity = Annotated[int, Meta(ge=1, le=2**31 - 1, description="watts")]
Price = Annotated[int, Meta(ge=0, le=10**9, description="milli-cents per kWh of envelope")]
Direction = Literal["export", "import"]
Side = Literal["buy", "sell"]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", omit_defaults=True):
    """`id` is chosen by the client, unique per customer: the answer quotes it, and the same id again repeats the first answer.

    A request that arrives after `expires_ms` is refused as `late` and has no effect.
    """

    v: Version
    id: Id
    expires_ms: Time | None = None


class Place(Request, frozen=True, kw_only=True, tag="place"):
    """A limit order for one right in one interval; `id` becomes the order's id."""

    interval_ms: Time
    direction: Direction
    side: Side
    quantity_w: Quantity
    price_mct: Price
    time_in_force: Literal["gate", "until", "ioc", "fok"] = "gate"
    until_ms: Time = 0


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


class Heartbeat(Request, frozen=True, kw_only=True, tag="heartbeat"):
    """Says that the customer lives; silence with open orders ends in their cancellation."""


AnyRequest = Place | Replace | Cancel | MassCancel | Status | Heartbeat


class Report(Struct, frozen=True, kw_only=True, tag_field="type"):
    """`sequence` is the exchange's; a client that has seen a sequence may drop it. `id` is the request's, or empty."""

    v: Version = 1
    sequence: int
    id: str = ""


class Accepted(Report, frozen=True, kw_only=True, tag="accepted"):
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    quantity_w: int
    price_mct: int


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
    """One own leg of a trade; who was on the other side is never told. `holding_w` is the limit after it."""

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


Answer = Accepted | Rejected | Replaced | Cancelled | MassCancelled


class Repeated(Report, frozen=True, kw_only=True, tag="repeated"):
    """The same request came again and did nothing; `first` is its first answer."""

    first: Answer


class OpenOrder(Struct, frozen=True):
    order_id: str
    interval_ms: int
    direction: Direction
    side: Side
    open_w: int
    price_mct: int


class Holding(Struct, frozen=True):
    interval_ms: int
    export_w: int
    import_w: int


class StatusReport(Report, frozen=True, kw_only=True, tag="status"):
    """`sequence` is the last one that the lists include."""

    market_ms: int
    open_orders: tuple[OpenOrder, ...]
    holdings: tuple[Holding, ...]


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
    Accepted | Rejected | Replaced | Cancelled | MassCancelled | Filled | Blocked | Rebased | Repeated | StatusReport | Alive
    | Malformed | Throttled | Late
)  # fmt: skip


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
    open_w: int
    orders: int


class PublicTrade(Struct, frozen=True):
    """Watts received and given in this direction; they differ only where the market trades at network exchange rates."""

    sequence: int
    market_ms: int
    price_mct: int
    received_w: int
    given_w: int


class Book(Struct, frozen=True, kw_only=True, tag_field="type", tag="book"):
    """One book as the public sees it: best levels, last trades (newest first), totals. Names nobody."""

    v: Version = 1
    sequence: int
    interval_ms: int
    direction: Direction
    bids: tuple[Level, ...]
    offers: tuple[Level, ...]
    trades: tuple[PublicTrade, ...]
    open_buy_w: int
    open_sell_w: int
    traded_w: int
    trade_count: int
    blocked_count: int


class Tap(Struct, frozen=True):
    branch: str
    position: int


class IntervalState(Struct, frozen=True):
    """`taps` are the tap positions that the operator sets for this interval."""

    interval_ms: int
    phase: Literal["open", "halted", "closed"]
    rows_hash: str
    taps: list[Tap] = []  # a tuple as default would stand in the schema as no JSON value


class State(Struct, frozen=True, kw_only=True, tag_field="type", tag="state"):
    """The market's rules and intervals. An interval's length, and the steps and bounds of an order."""

    v: Version = 1
    area: str
    sequence: int
    market_ms: int
    interval_length_ms: int
    tick_mct: int
    lot_w: int
    price_mct_min: int
    price_mct_max: int
    intervals: tuple[IntervalState, ...]


_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)

_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`$")
_MISSING_FIELD = re.compile(r"missing required field `(.*)`$")
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9._:-]{1,64})"')


def decode_request(payload: bytes, sequence: int = 0) -> AnyRequest | Malformed:
    """A request, or what is wrong with the bytes; `sequence` is quoted in the latter. Raises nothing, whatever the bytes."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        reason = f"the payload has {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} are read"
        return Malformed(sequence=sequence, id=_id_in(payload[:PAYLOAD_BYTES_MAX]), field="", reason=reason)
    try:
        return _requests.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        field, reason = _explain(str(error))
        return Malformed(sequence=sequence, id=_id_in(payload), field=field[:100], reason=reason[:400])


def _explain(message: str) -> tuple[str, str]:
    """msgspec's message, split into the field that it is about and the reason."""
    at = _AT.search(message)
    field = at[1] if at else ""
    reason = message[: at.start()] if at else message
    named = _UNKNOWN_FIELD.search(reason) or _MISSING_FIELD.search(reason)
    return (named[1] if named else field), reason


def _id_in(payload: bytes) -> str:
    found = _ID.search(payload)
    return found[1].decode() if found else ""


encode: Callable[[Struct], bytes] = msgspec.json.Encoder().encode
decode_report: Callable[[bytes], AnyReport] = msgspec.json.Decoder(AnyReport).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_device = msgspec.json.Decoder(Device).decode
decode_book = msgspec.json.Decoder(Book).decode
decode_state = msgspec.json.Decoder(State).decode


def schemas() -> dict[str, Any]:
    """JSON Schemas (draft 2020-12) of everything on the wire: `request`, `report`, `envelope`, `device`, `book` and `state`."""
    kinds: tuple[Any, ...] = (AnyRequest, AnyReport, Envelope, Device, Book, State)
    roots, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    properties = dict(zip(("request", "report", "envelope", "device", "book", "state"), roots, strict=True))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "limex wire format v1"}
    return {**head, "properties": properties, "$defs": components}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(schemas()), indent=2) + b"\n")
