"""What a customer's devices are told beside the JSON envelope: plain numbers (`plain`) and CSIP-AUS documents (`csip`). Pure.

Both follow from the envelope and the moment, so both are made again when a holding changes and when an interval begins or ends.
`falls` is for before anything else is told: limits that the operator lowered, and boundaries. The rest is conflated: made once per
call of `render`, however often a limit was traded. Documents are made for so many customers at a time, so that the market of a large
area does not wait for XML; numbers for all at once. Nothing is published that is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway import csip, plain, topics
from gateway.envelope import envelope_of
from gateway.message import Message
from gateway.mirror import Mirror

Holder = tuple[str, str]
DOCUMENTS_MAX = 100  # about 0.1 ms for each control in them


class Outlets:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._changed: dict[Holder, None] = {}
        self._fallen: dict[Holder, None] = {}
        self._undocumented: dict[Holder, None] = {}
        self._boundary_ms: dict[str, int | None] = {}
        self._published: dict[str, bytes] = {}
        self._created_ms: dict[Holder, dict[str, int]] = {}

    def mark(self, lowered: Iterable[Holder], changed: Iterable[Holder]) -> None:
        """Whose envelope is another now."""
        self._fallen |= dict.fromkeys(lowered)
        self._changed |= dict.fromkeys(changed)

    def mark_all(self) -> None:
        """For a broker that may have forgotten what it retained."""
        self._published.clear()
        self._changed |= dict.fromkeys(holder for area in self._mirror.areas for holder in self._holders(area))

    def falls(self, market_ms: int) -> list[Message]:
        """What must not wait."""
        fallen, self._fallen = self._fallen, {}
        for area, boundary_ms in self._boundary_ms.items():
            if boundary_ms is not None and market_ms >= boundary_ms:
                fallen |= dict.fromkeys(self._holders(area))
                self._boundary_ms[area] = self._next_boundary_ms(area, market_ms)
        self._undocumented = fallen | self._undocumented  # these first
        return self._numbers(fallen, market_ms) + (self._documents(market_ms) if fallen else [])

    def render(self, market_ms: int) -> list[Message]:
        """Everything that is to be told."""
        messages = self.falls(market_ms)
        changed, self._changed = self._changed, {}
        for area in dict.fromkeys(area for area, _ in changed):
            self._boundary_ms[area] = self._next_boundary_ms(area, market_ms)
        self._undocumented |= changed
        return messages + self._numbers(changed, market_ms) + self._documents(market_ms)

    def _holders(self, area: str) -> list[Holder]:
        return [(area, customer) for customer in self._mirror.areas[area].position]

    def _next_boundary_ms(self, area: str, market_ms: int) -> int | None:
        mirrored = self._mirror.areas[area]
        edges = (edge for start_ms in mirrored.intervals for edge in (start_ms, start_ms + mirrored.settings.interval_ms))
        return min((edge for edge in edges if edge > market_ms), default=None)

    def _numbers(self, holders: Iterable[Holder], market_ms: int) -> list[Message]:
        return [
            message
            for area, customer in holders
            for name, text in plain.scalars(envelope_of(self._mirror, area, customer, market_ms), market_ms).items()
            for message in self._news(topics.of_customer(area, customer, name), text.encode())
        ]

    def _documents(self, market_ms: int) -> list[Message]:
        """Of those who have waited longest."""
        messages: list[Message] = []
        for area, customer in list(self._undocumented)[:DOCUMENTS_MAX]:
            del self._undocumented[area, customer]
            envelope = envelope_of(self._mirror, area, customer, market_ms)
            known = self._created_ms.get((area, customer), {})
            mrids = [csip.control_mrid(area, customer, control) for control in envelope.controls]
            created_ms = self._created_ms[area, customer] = {mrid: known.get(mrid, market_ms) for mrid in mrids}
            messages += self._news(topics.csip(area, customer), csip.control_list(area, envelope, market_ms, created_ms))
            messages += self._news(topics.csip_default(area, customer), csip.default_control(area, envelope))
        return messages

    def _news(self, topic: str, payload: bytes) -> list[Message]:
        if self._published.get(topic) == payload:
            return []
        self._published[topic] = payload
        return [Message(topic, payload, 1, True)]
