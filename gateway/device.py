"""What a customer's own devices are to do for the network: the set points that the rows of the live intervals assume.

Like the envelope it is published whole whenever it changes. Where no control covers a moment there is no set point, and the device
works as it is configured. Whoever acts on it needs nothing else of the exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import topics, wire
from gateway.message import Message

if TYPE_CHECKING:
    from gateway.mirror import Mirror


def device_of(mirror: Mirror, area: str, customer: str, market_ms: int) -> wire.Device:
    mirrored = mirror.areas[area]
    controls = tuple(
        wire.SetPoint(start_ms, mirrored.settings.interval_ms, setting.value)
        for start_ms, interval in sorted(mirrored.intervals.items())
        for setting in interval.settings
        if (setting.kind, setting.device) == ("reactive_var", customer)
    )
    return wire.Device(customer=customer, sequence=mirror.sequence, issued_ms=market_ms, controls=controls)


def device_message(mirror: Mirror, area: str, customer: str, market_ms: int) -> Message:
    return Message(topics.device(area, customer), wire.encode(device_of(mirror, area, customer, market_ms)), 1, True)
