"""A journal read: its commands as they are stored, and the state after any batch. Reads only; the exchange may be running.

A state is that of the newest snapshot before the moment, plus the commands since; or all commands from the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exchange.codec import CorruptRecordError, decode_command
from exchange.commands import Command, Direction
from exchange.engine import Engine
from exchange.journal import Journal, JournalError
from exchange.recovery import Recovery

DIRECTIONS: tuple[Direction, Direction] = ("export", "import")


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


def batches(path: Path) -> Iterator[tuple[int, int, list[Command]]]:
    """(number, recorded time, commands) of every batch as it is stored; nothing is decided. Raises JournalError."""
    journal = Journal(path, readonly=True)
    try:
        for stored in journal.batches():
            yield stored.number, stored.at_ms, list(map(decode_command, stored.commands))
    except CorruptRecordError as error:
        raise JournalError(f"{path}: {error}") from error
    finally:
        journal.close()


def moment(engine: Engine, batch: int) -> dict[str, Any]:
    """The state for people and scripts: by area the cash of customers and operator, by interval the gate, every holding and both books.

    Books are lists of [price_mct, open_w, orders], best first.
    """
    areas = {}
    for name in engine.areas:
        customers, gates = engine.customers(name), engine.gates(name)
        intervals = {}
        for start_ms in engine.intervals(name):
            export_w, import_w = engine.holdings(name, start_ms)
            sides = {direction: engine.book(name, start_ms, direction) for direction in DIRECTIONS}
            books = {direction: {"bids": bids, "asks": asks} for direction, (bids, asks) in sides.items()}
            held = {who: {"export_w": e, "import_w": i} for who, e, i in zip(customers, export_w, import_w, strict=True)}
            intervals[start_ms] = {"gate": "closed" if gates[start_ms] else "open", "holdings": held, "books": books}
        areas[name] = {"cash_mct": engine.cash(name), "operator_mct": engine.operator_cash(name), "intervals": intervals}
    return {"batch": batch, "sequence": engine.sequence, "market_time_ms": engine.now_ms, "areas": areas}
