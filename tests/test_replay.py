"""Replay: any moment again, a proof that it is the same, and a tape that a person can read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from exchange.commands import Cancel, CloseGate, Command, Halt, MassCancel, Replace, Resume, RetireInterval
from exchange.journal import JournalError
from exchange.recovery import ReplayMismatchError
from exchange.snapshot import dump
from replay import tape
from replay.rebuild import batch_at, rebuild
from replay.verify import EventLog, verify
from tests.test_node import decide, opening, place

DAY: list[Command] = [
    *opening(), place(1), place(2, "bob", "buy", 1100), place(3), place(3), place(4, price=1010),
    Replace("lv", "alice", "r1", "alice-4", 20, 1020), Cancel("lv", "alice", "c1", "alice-3"), Cancel("lv", "alice", "c2", "nothing"),
    Halt("lv", None, "storm"), place(5), Resume("lv", None, "calm"), MassCancel("lv", "alice", "m1"), CloseGate(None, 0),
    CloseGate(None, 0), RetireInterval("lv", 0),
]  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The day in batches of three commands, with a snapshot after each run."""
    path = tmp_path / "journal.sqlite"
    for start in range(0, len(DAY), 3):
        decide(path, DAY[start : start + 3])
    return path


def test_a_journal_leads_to_the_same_events_and_states(journal: Path) -> None:
    verdict = verify(journal)
    assert (verdict.commands, verdict.snapshots, verdict.undigested) == (len(DAY), 6, 0)
    assert verify(journal) == verdict


def test_every_released_event_is_compared_byte_for_byte(tmp_path: Path) -> None:
    path, log = tmp_path / "j.sqlite", EventLog()
    _, released = decide(path, DAY)
    for batch in released:
        log.keep(batch)
    assert verify(path, on_batch=log.compare).commands == len(DAY)
    forgetful = EventLog()
    with pytest.raises(ReplayMismatchError, match="not those that were released"):
        verify(path, on_batch=forgetful.compare)


def test_a_snapshot_that_is_not_the_state_is_found(journal: Path) -> None:
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE snapshot SET body = (SELECT body FROM snapshot WHERE batch = 1) WHERE batch = 2")
    with pytest.raises(ReplayMismatchError, match="the state after batch 2 is not the stored snapshot"):
        verify(journal)


def test_any_moment_from_any_snapshot_is_the_same_state(journal: Path) -> None:
    for batch in range(1, 7):
        states = {dump(rebuild(journal, batch=batch, snapshot_max=start)[0]) for start in range(batch + 1)}
        assert len(states) == 1


def test_a_moment_can_be_named_by_the_wall_clock(journal: Path) -> None:
    assert batch_at(journal, 0) == 0
    assert batch_at(journal, 2**60) == 6


def test_the_tape_tells_the_day(tmp_path: Path) -> None:
    _, released = decide(tmp_path / "j.sqlite", DAY)
    told = "\n".join(line for batch in released for line in tape.lines(batch))
    for sentence in (
        "alice alice-1: sell 10 W export @ 1.00 ct/kWh for 01 Jan 00:00",
        "TRADE 01 Jan 00:00: bob +10 W export @ 1.00 ct/kWh (holds 50000010 W), alice -10 W export @ 1.00 ct/kWh (holds 49999990 W)",
        "alice alice-3: came again, answered as before",
        "alice alice-4: now 20 W open @ 1.02 ct/kWh, loses its priority",
        "alice alice-3: 10 W cancelled (request)",
        "REJECTED alice c2: unknown_order: order nothing is not known",
        "HALTED lv, all intervals: storm",
        "REJECTED alice alice-5: halted",
        "RESUMED lv",
        "alice m1: all cancelled, 1 orders",
        "01 Jan 00:00 gate closed in lv",
        "REFUSED close_gate: gate_closed",
        "01 Jan 00:00 retired in lv",
    ):
        assert sentence in told


def test_what_is_not_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        verify(tmp_path / "nothing.sqlite")
