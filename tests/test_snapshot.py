"""Snapshots: the same state from bytes, nothing from damaged bytes, and nothing that outlives its interval."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from exchange.codec import CorruptRecordError
from exchange.commands import Cancel, CloseGate, Halt, InstallRows, OpenInterval, Place, RetireInterval
from exchange.engine import Engine
from exchange.events import Blocked
from exchange.snapshot import dump, is_older, load
from replay.rebuild import rebuild
from replay.verify import verify
from riskcheck.polytope import Polytope, RowLabel
from tests.test_node import decide, opening, place


def engine() -> Engine:
    made = Engine()
    orders = [place(1), place(2, "bob", "buy", 900), place(3)]
    for command in [*opening(), *orders, Cancel("lv", "alice", "c", "alice-3"), Halt("lv", 0, "storm")]:
        made.apply(command)
    return made


def test_a_state_comes_back_and_dumps_to_the_same_bytes() -> None:
    made = engine()
    again = load(dump(made))
    assert dump(again) == dump(made)
    assert again.apply(place(3)) == made.apply(place(3))


def test_damaged_bytes_are_refused() -> None:
    raw, chance = dump(engine()), random.Random(1)
    for _ in range(300):
        damaged = bytearray(raw)
        damaged[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        with pytest.raises(CorruptRecordError):
            load(bytes(damaged))
    for short in (b"", raw[:10], raw[:-1]):
        with pytest.raises(CorruptRecordError):
            load(short)


def test_what_an_interval_needed_goes_with_it() -> None:
    made = engine()
    later = Place("lv", "alice", "u", 0, "export", "sell", 10, 1000, "until", 2**40)
    made.halts.clear()
    made.apply(later)
    made.apply(Cancel("lv", "alice", "cu", "u"))
    made.apply(Halt(None, 0, "storm"))
    labels = [RowLabel("thermal", "line 1", "a")]
    newer = Polytope(Polytope.from_rows([[1.0] * 4], [1e9], labels, [10**9] * 4).columns, 2**20, labels)
    made.apply(InstallRows("lv", newer.to_bytes()))
    assert len(made.areas["lv"].rows) == 2
    made.apply(CloseGate(None, 0))
    made.apply(RetireInterval("lv", 0))
    assert made.expiries == []
    assert made.halts == {}
    assert list(made.areas["lv"].rows) == [newer.content_hash]
    assert all(not account.receipts for account in made.areas["lv"].accounts.values())
    refused = made.apply(OpenInterval("lv", 900_000, Polytope.unlimited(4).content_hash, (0, 0), (0, 0)))
    assert refused[0].reason == "unknown_rows"  # type: ignore[union-attr]


def test_what_an_owner_was_told_is_not_told_again_by_a_state_that_came_back() -> None:
    """One watt of bob's takes 2 of the row, one of alice's nothing; there is no room."""
    made, labels = Engine(), [RowLabel("thermal", "line 1", "a")]
    rows = Polytope(np.array([[0], [2], [0], [0]], dtype=np.int32), 10**8, labels)
    area, _, interval = opening()
    for command in (area, InstallRows("lv", rows.to_bytes()), msgspec.structs.replace(interval, rows_hash=rows.content_hash)):
        made.apply(command)
    told = made.apply(place(1)) + made.apply(place(1, "bob", "buy"))
    assert [event.order_id for event in told if isinstance(event, Blocked)] == ["bob-1", "alice-1"]
    made = load(dump(made))
    told = made.apply(place(2, "bob", "buy"))
    assert [event.order_id for event in told if isinstance(event, Blocked)] == ["bob-2"]


def as_before(path: Path) -> None:
    """The journal as the first version left it: six market settings, and snapshots of another format."""
    with sqlite3.connect(path) as db:
        for sequence, body in db.execute("SELECT sequence, body FROM command").fetchall():
            fields = msgspec.msgpack.decode(body)
            if fields[0] == "open_area":
                fields[2] = fields[2][:6]
                db.execute("UPDATE command SET body = ? WHERE sequence = ?", (msgspec.msgpack.encode(fields), sequence))
        older = msgspec.msgpack.encode([1, 0, 0, [], []])
        db.execute("UPDATE snapshot SET body = ?", (hashlib.blake2b(older, digest_size=16).digest() + older,))


def test_a_journal_of_the_first_version_is_replayed_from_its_start_and_verified(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    node, _ = decide(path, [*opening(), place(1), place(2, "bob", "buy", 900)])
    expected = dump(node.engine)
    as_before(path)
    assert dump(rebuild(path)[0]) == expected
    assert verify(path).snapshots == 0
    node, _ = decide(path, [place(3)])
    assert verify(path).snapshots == 1
    assert node.engine.areas["lv"].settings.compensation_mct == 10_000


def test_a_damaged_snapshot_is_not_taken_for_an_older_one() -> None:
    raw = dump(engine())
    assert not is_older(raw)
    assert not is_older(raw[:-1])
    assert not is_older(b"")
