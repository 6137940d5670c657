"""The same commands give the same events, byte for byte: in another process, under another hash seed, after any restart."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from random import Random

import msgspec
import pytest

from exchange import commands as c
from exchange.engine import Engine
from exchange.snapshot import dump, load
from tests.model import Model
from tests.streams import Stream

COMMANDS = 2_000


@cache
def commands(seed: int) -> tuple[c.Command, ...]:
    model, given = Model(), []
    stream = Stream(model, Random(seed))
    for _ in range(COMMANDS):
        given.append(stream.next())
        model.apply(given[-1])
    return tuple(given)


def digest(seed: int, restart_every: int = 0) -> str:
    engine, told = Engine(), hashlib.sha256()
    for number, command in enumerate(commands(seed), start=1):
        for event in engine.apply(command):
            told.update(msgspec.msgpack.encode(event))
        if restart_every and number % restart_every == 0:
            engine = load(dump(engine))
    told.update(dump(engine))
    return told.hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_and_another_hash_seed_change_no_byte(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    asked = [sys.executable, "-c", "from tests.test_determinism import digest; print(digest(5))"]
    finished = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert finished.stdout.strip() == digest(5)


@pytest.mark.parametrize("every", [31, 1_111])
def test_a_restart_from_a_snapshot_changes_no_byte_of_what_follows(every: int) -> None:
    assert digest(6, every) == digest(6)
