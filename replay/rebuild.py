"""Any moment of a journal, rebuilt: after a batch, or at a market time. Reads only; the exchange may be running.

The state is that of the newest snapshot before the moment, plus the commands since; or all commands from the first.
"""

from __future__ import annotations

from pathlib import Path

from exchange.engine import Engine
from exchange.journal import Journal
from exchange.recovery import Recovery


def rebuild(path: Path, *, batch: int | None = None, snapshot_max: int | None = None) -> tuple[Engine, int]:
    """(engine, number of its last batch) after `batch`, or after the last one. Raises JournalError.

    `snapshot_max` bounds the snapshot to start from, by its batch; 0 starts from the first command.
    """
    journal = Journal(path, readonly=True)
    try:
        recovery = Recovery(journal, snapshot_max=snapshot_max, up_to=batch)
        for _ in recovery:
            pass
    finally:
        journal.close()
    return recovery.engine, recovery.number


def batch_at(path: Path, at_ms: int) -> int:
    """The last batch that was taken at or before this wall-clock time (UTC milliseconds); 0 for none."""
    journal = Journal(path, readonly=True)
    try:
        return max((stored.number for stored in journal.batches() if stored.at_ms <= at_ms), default=0)
    finally:
        journal.close()
