"""The drop copy: what counts of a customer's trading, once more and in order, for a supplier or an auditor that reads along.

Fills, cancellations, limits that the operator moved and settlements; no answers, and nothing of anybody else. Each customer's entries
are numbered from 1 without a gap, so that whoever reads knows that nothing is missing. The numbers are those of one run of the
exchange; what a run could not deliver comes again in the next one, with the sequences that it had.
"""

from __future__ import annotations

from collections import Counter

from gateway import topics, wire
from gateway.message import Message

COPIED = (wire.Filled, wire.Cancelled, wire.Rebased, wire.Raised, wire.Settled)


class DropCopy:
    def __init__(self, run: str) -> None:
        self._run = run
        self._numbers: Counter[tuple[str, str]] = Counter()

    def copy(self, area: str, customer: str, report: wire.Report, market_ms: int) -> Message | None:
        """The entry for a private report, where it is one that counts."""
        if not isinstance(report, COPIED):
            return None
        self._numbers[area, customer] += 1
        number = self._numbers[area, customer]
        entry = wire.Drop(run=self._run, number=number, customer=customer, market_ms=market_ms, report=report)
        return Message(topics.drop(area, customer), wire.encode(entry), 1, False)
