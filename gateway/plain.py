"""A customer's limits as single numbers, each retained on a topic of its own: for home automation that reads no JSON.

    limit/export_w, limit/import_w          what holds now, in watts
    limit/until                             until when, ISO 8601 in UTC; `None` where nothing is known to follow
    next/export_w, next/import_w            what holds from then on
    failsafe/export_w, failsafe/import_w    what holds whenever nothing else does, and when you hear nothing

The limits of now are those of the interval that covers the moment, or else the failsafe. They follow one another without a gap: an
interval's values are out before it begins, as `next`, and are those of now as soon as it has begun. Only what changed is published.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gateway import wire

UNKNOWN = "None"  # what Home Assistant takes for a state that is not known


def scalars(envelope: wire.Envelope, market_ms: int) -> dict[str, str]:
    """What each topic says, by its name below the customer's."""
    ends = [control.start_ms + control.duration_ms for control in envelope.controls if _covers(control, market_ms)]
    starts = [control.start_ms for control in envelope.controls if control.start_ms > market_ms]
    until_ms = ends[0] if ends else min(starts, default=None)
    limits = {
        "limit": limits_at(envelope, market_ms),
        "next": envelope.default if until_ms is None else limits_at(envelope, until_ms),
        "failsafe": envelope.default,
    }
    found = {"limit/until": UNKNOWN if until_ms is None else instant(until_ms)}
    for when, one in limits.items():
        found |= {f"{when}/export_w": str(one.opModExpLimW), f"{when}/import_w": str(one.opModImpLimW)}
    return found


def limits_at(envelope: wire.Envelope, market_ms: int) -> wire.Limits:
    """Those of the interval that covers the moment, or else the failsafe."""
    for control in envelope.controls:
        if _covers(control, market_ms):
            return wire.Limits(control.opModExpLimW, control.opModImpLimW)
    return envelope.default


def _covers(control: wire.Control, market_ms: int) -> bool:
    return control.start_ms <= market_ms < control.start_ms + control.duration_ms


def instant(market_ms: int) -> str:
    return datetime.fromtimestamp(market_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
