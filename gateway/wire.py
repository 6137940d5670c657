"""Wire formats, version 1: what crosses MQTT, as JSON, and nothing else.

Requests are what a customer sends (`wire_requests`), reports its private answers (`wire_reports`), the envelope what its devices
obey, `device` what the operator sets at them; book, auction, rows and state are public (`wire_retained`); orders are the operator's
(`wire_operator`). Rules: every payload carries `v` and `type`; unknown fields are refused; every number and every string is
bounded; units are in the names (`_w` watts, `_mct` milli-cents per kWh of envelope, `_ms` UTC milliseconds of the market's clock).
Correlation id, sequence and expiry are in the payload, so MQTT 3.1.1 suffices. `opModExpLimW` and `opModImpLimW` are named as in
CSIP-AUS, whose active controls and default control the envelope mirrors.

Decoding is strict and total: any bytes give a request or a `Malformed` that names the field and the reason.
`python -m gateway.wire` prints the JSON Schemas.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.wire_operator import (
    AnyOrder,
    AnyOutcome,
    HaltOrder,
    Happened,
    Order,
    Outcome,
    PhaseOrder,
    Refusal,
    ReinstateOrder,
    ReleaseOrder,
    ResumeOrder,
    SettingsOrder,
    SuspendOrder,
    TermsOrder,
    WithholdOrder,
)
from gateway.wire_reports import (
    Accepted,
    Alive,
    Answer,
    AnyReport,
    Blocked,
    BlockingRow,
    Cancelled,
    Copied,
    Drop,
    Filled,
    Holding,
    Late,
    Malformed,
    MassCancelled,
    OpenOrder,
    Quote,
    Raised,
    Rebased,
    Reinstated,
    Rejected,
    Repeated,
    Replaced,
    Report,
    RightAccount,
    Settled,
    Shown,
    StatusReport,
    Suspended,
    TermsAmended,
    Throttled,
    ViewReport,
)
from gateway.wire_requests import AnyRequest, Cancel, Heartbeat, MassCancel, Place, Replace, Request, Status, View
from gateway.wire_retained import (
    Auction,
    Book,
    Control,
    Device,
    Envelope,
    IntervalState,
    Level,
    Limits,
    Matched,
    PublicTrade,
    Row,
    Rows,
    SetPoint,
    State,
    Tap,
)
from gateway.wire_terms import Direction, Phase, Side

__all__ = [
    "Accepted", "Alive", "Answer", "AnyOrder", "AnyOutcome", "AnyReport", "AnyRequest", "Auction", "Blocked", "BlockingRow", "Book",
    "Cancel", "Cancelled", "Control", "Copied", "Device", "Direction", "Drop", "Envelope", "Filled", "HaltOrder", "Happened",
    "Heartbeat", "Holding", "IntervalState", "Late", "Level", "Limits", "Malformed", "MassCancel", "MassCancelled", "Matched",
    "OpenOrder", "Order", "Outcome", "Phase", "PhaseOrder", "Place", "PublicTrade", "Quote", "Raised", "Rebased", "Refusal",
    "ReinstateOrder", "Reinstated", "Rejected", "ReleaseOrder", "Repeated", "Replace", "Replaced", "Report", "Request", "ResumeOrder",
    "RightAccount", "Row", "Rows", "SetPoint", "SettingsOrder", "Settled", "Shown", "Side", "State", "Status", "StatusReport",
    "SuspendOrder", "Suspended", "Tap", "TermsAmended", "TermsOrder", "Throttled", "View", "ViewReport", "WithholdOrder",
]  # fmt: skip

PAYLOAD_BYTES_MAX = 4096
T = TypeVar("T")

_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_orders: msgspec.json.Decoder[AnyOrder] = msgspec.json.Decoder(AnyOrder)

_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`$")
_MISSING_FIELD = re.compile(r"missing required field `(.*)`$")
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9._:-]{1,64})"')


def decode_request(payload: bytes, sequence: int = 0) -> AnyRequest | Malformed:
    """A customer's request, or what is wrong with the bytes; `sequence` is quoted in the latter. Raises nothing, whatever the bytes."""
    return _decoded(_requests.decode, payload, sequence)


def decode_order(payload: bytes, sequence: int = 0) -> AnyOrder | Malformed:
    """The same for an order of the operator."""
    return _decoded(_orders.decode, payload, sequence)


def _decoded(decode: Callable[[bytes], T], payload: bytes, sequence: int) -> T | Malformed:
    if len(payload) > PAYLOAD_BYTES_MAX:
        reason = f"the payload has {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} are read"
        return Malformed(sequence=sequence, id=_id_in(payload[:PAYLOAD_BYTES_MAX]), field="", reason=reason)
    try:
        return decode(payload)
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
decode_view: Callable[[bytes], ViewReport] = msgspec.json.Decoder(ViewReport).decode
decode_drop: Callable[[bytes], Drop] = msgspec.json.Decoder(Drop).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_device = msgspec.json.Decoder(Device).decode
decode_book = msgspec.json.Decoder(Book).decode
decode_auction = msgspec.json.Decoder(Auction).decode
decode_rows = msgspec.json.Decoder(Rows).decode
decode_state = msgspec.json.Decoder(State).decode
decode_outcome: Callable[[bytes], AnyOutcome] = msgspec.json.Decoder(AnyOutcome).decode


def schemas() -> dict[str, Any]:
    """JSON Schemas (draft 2020-12) of everything on the wire, by what it is."""
    kinds: dict[str, Any] = {
        "request": AnyRequest, "report": AnyReport, "drop": Drop, "envelope": Envelope, "device": Device, "book": Book,
        "auction": Auction, "rows": Rows, "state": State, "order": AnyOrder, "outcome": AnyOutcome,
    }  # fmt: skip
    roots, components = msgspec.json.schema_components(tuple(kinds.values()), ref_template="#/$defs/{name}")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "limex wire format v1"}
    return {**head, "properties": dict(zip(kinds, roots, strict=True)), "$defs": components}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(schemas()), indent=2) + b"\n")
