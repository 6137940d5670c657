"""Snapshots: the same state from bytes, nothing from damaged bytes, and nothing that outlives its interval."""

from __future__ import annotations

import random

import pytest

from exchange.codec import CorruptRecordError
from exchange.commands import Cancel, CloseGate, Halt, InstallRows, OpenInterval, Place, RetireInterval
from exchange.engine import Engine
from exchange.snapshot import dump, load
from riskcheck.polytope import Polytope, RowLabel
from tests.test_node import opening, place


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
