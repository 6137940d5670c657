"""The envelope that a customer's devices obey, from its durable holdings: all live intervals, and the failsafe as default.

It is published whole whenever a holding changes, so a device needs only the latest one; and because an interval is in it from its
opening to its retirement after delivery, the next interval is there before the current one ends.
"""

from __future__ import annotations

from gateway import topics, wire
from gateway.message import Message
from gateway.mirror import Mirror


def envelope_of(mirror: Mirror, area: str, customer: str, market_ms: int) -> wire.Envelope:
    mirrored = mirror.areas[area]
    position = mirrored.position[customer]
    terms, length_ms = mirrored.terms[position], mirrored.settings.interval_ms
    controls = tuple(
        wire.Control(start_ms, length_ms, interval.export_w[position], interval.import_w[position])
        for start_ms, interval in sorted(mirrored.intervals.items())
    )
    failsafe = wire.Limits(terms.failsafe_export_w, terms.failsafe_import_w)
    return wire.Envelope(customer=customer, sequence=mirror.sequence, issued_ms=market_ms, default=failsafe, controls=controls)


def envelope_message(mirror: Mirror, area: str, customer: str, market_ms: int) -> Message:
    envelope = envelope_of(mirror, area, customer, market_ms)
    return Message(topics.envelope(area, customer), wire.encode(envelope), 1, True)
