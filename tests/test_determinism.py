"""The same commands give the same events, byte for byte: in another process, under another hash seed, in other batches, from the
start and from every snapshot, whatever came before it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random

import pytest
from numba.core.dispatcher import Dispatcher

from exchange.codec import decode_command, encode_command, encode_events
from exchange.commands import Command
from exchange.engine import Engine
from exchange.recovery import run_batch
from exchange.snapshot import dump, load
from tests.model import Model
from tests.streams import Stream

COMMANDS = 3_000
ROOT = Path(__file__).parent.parent
COMPILED = [
    path for folder in ("riskcheck", "exchange", "envelopes") for path in (ROOT / folder).glob("*.py") if "@njit" in path.read_text()
]


@cache
def journal(seed: int) -> tuple[bytes, ...]:
    """Commands as they are stored."""
    model, stored = Model(), []
    stream = Stream(model, Random(seed))
    for _ in range(COMMANDS):
        command = stream.next()
        stored.append(encode_command(command))
        model.apply(command)
    return tuple(stored)


def told(engine: Engine, commands: tuple[Command, ...]) -> bytes:
    return b"".join(encode_events(tuple(engine.apply(command))) for command in commands)


def decoded(seed: int) -> tuple[Command, ...]:
    return tuple(map(decode_command, journal(seed)))


def digest(seed: int) -> str:
    engine = Engine()
    return hashlib.sha256(told(engine, decoded(seed)) + dump(engine)).hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_and_another_hash_seed_change_no_byte(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    asked = [sys.executable, "-c", "from tests.test_determinism import digest; print(digest(5))"]
    finished = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert finished.stdout.strip() == digest(5)


def in_batches(seed: int, sizes: list[int]) -> tuple[bytes, bytes]:
    """All events and the last state, decided in batches of these sizes in turn."""
    engine, commands, previous, events, at = Engine(), decoded(seed), b"", b"", 0
    while at < len(commands):
        size = sizes[at % len(sizes)]
        batch = run_batch(engine, at, 0, commands[at : at + size], previous)
        events += b"".join(map(encode_events, batch.events))
        previous, at = batch.digest, at + size
    return events, dump(engine)


@pytest.mark.parametrize("sizes", [[7], [1, 50, 3, 1_000], [COMMANDS]], ids=str)
def test_other_batches_change_no_byte(sizes: list[int]) -> None:
    assert in_batches(6, sizes) == in_batches(6, [1])


def test_from_every_snapshot_the_rest_is_told_the_same() -> None:
    """A snapshot after every 60th command: what follows, and the state that it ends in, are those of the run from the start."""
    engine, commands = Engine(), decoded(6)
    snapshots, pieces = [dump(engine)], []
    for part in _parts(commands, 60):
        pieces.append(told(engine, part))
        snapshots.append(dump(engine))
    for number, part in enumerate(_parts(commands, 60)):
        again = load(snapshots[number])
        assert dump(again) == snapshots[number]
        assert told(again, part) == pieces[number]
        assert dump(again) == snapshots[number + 1]


def _parts(commands: tuple[Command, ...], size: int) -> list[tuple[Command, ...]]:
    return [commands[at : at + size] for at in range(0, len(commands), size)]


@pytest.mark.parametrize("at", [700, 1_500, 2_400])
def test_a_run_from_a_snapshot_never_comes_away_from_the_run_from_the_start(at: int) -> None:
    engine, commands = Engine(), decoded(7)
    told(engine, commands[:at])
    again = load(dump(engine))
    assert told(again, commands[at:]) == told(engine, commands[at:])
    assert dump(again) == dump(engine)


@pytest.mark.parametrize("name", sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in COMPILED))
def test_nothing_compiled_calls_what_another_file_compiled(name: str) -> None:
    """numba's cache looks at a function's own file: it would go on with the callee of another version of the other file."""
    known = vars(import_module(name))
    own = [one.py_func for one in known.values() if isinstance(one, Dispatcher) and one.py_func.__module__ == name]
    called = [known[use] for caller in own for use in caller.__code__.co_names if isinstance(known.get(use), Dispatcher)]
    assert own and all(one.py_func.__module__ == name for one in called)
