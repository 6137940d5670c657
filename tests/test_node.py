"""Durability: nothing acknowledged is lost, nothing happens twice, and a disk that fails ends the exchange."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import encode_events
from exchange.commands import Command, InstallRows, OpenArea, OpenInterval, Place
from exchange.engine import Engine
from exchange.events import Accepted, Event, Repeated
from exchange.journal import Journal, JournalError
from exchange.node import Node
from exchange.recovery import Batch, Recovery, ReplayMismatchError
from exchange.snapshot import dump
from riskcheck.polytope import Polytope

ROWS = Polytope.unlimited(4)


def opening() -> list[Command]:
    terms = tuple(CustomerTerms(name, 10**8, 10**8, 0, 0, 10**8, 10**8) for name in ("alice", "bob"))
    half = (5 * 10**7, 5 * 10**7)
    return [
        OpenArea("lv", MarketSettings(), terms),
        InstallRows("lv", ROWS.to_bytes()),
        OpenInterval("lv", 0, ROWS.content_hash, half, half),
    ]


def place(number: int, who: str = "alice", side: str = "sell", price: int = 1000) -> Place:
    return Place("lv", who, f"{who}-{number}", 0, "export", side, 10, price)  # type: ignore[arg-type]


def decide(path: Path, commands: list[Command], **options: int) -> tuple[Node, list[Batch]]:
    """Runs a node over the commands and stops it in good order."""
    released: list[Batch] = []

    async def run() -> Node:
        node = Node(path, released.append, **options)  # type: ignore[arg-type]
        for command in commands:
            node.submit(command)
        node.stop()
        await node.run()
        return node

    return asyncio.run(run()), released


def test_a_batch_is_what_arrived_during_the_last_commit(tmp_path: Path) -> None:
    released: list[Batch] = []

    async def run() -> None:
        node = Node(tmp_path / "j.sqlite", lambda batch: (released.append(batch), node.stop() if batch.number == 2 else None))
        node.submit(opening()[0])
        deciding = asyncio.create_task(node.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for command in opening()[1:]:
            node.submit(command)
        await deciding

    asyncio.run(run())
    assert [len(batch.commands) for batch in released] == [1, 2]


def test_no_event_leaves_before_its_command_is_durable(tmp_path: Path) -> None:
    path, seen = tmp_path / "j.sqlite", []

    def release(batch: Batch) -> None:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as other:
            seen.append(other.execute("SELECT count(*) FROM command WHERE batch = ?", (batch.number,)).fetchone()[0] == len(batch.commands))

    async def run() -> None:
        node = Node(path, release)
        for command in [*opening(), *(place(i) for i in range(2500))]:
            node.submit(command)
        node.stop()
        await node.run()

    asyncio.run(run())
    assert len(seen) >= 3
    assert all(seen)


def test_a_restart_holds_everything_and_repeats_the_first_answer(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    first, _ = decide(path, [*opening(), place(1), place(2, "bob", "buy")])
    second, released = decide(path, [place(1)])
    answer = [event for batch in released if batch.number > first.number for events in batch.events for event in events]
    assert isinstance(answer[0], Repeated)
    assert isinstance(answer[0].first, Accepted)
    assert second.engine.cash("lv") == {"alice": 2, "bob": -2}  # 10 W * 1000 mct/kWh * 0.25 h = 2.5, rounded down


def test_batches_that_were_not_confirmed_are_released_again_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    _, first = decide(path, [*opening(), place(1)])
    _, again = decide(path, [])
    assert [encode_events(events) for batch in again for events in batch.events] == [
        encode_events(events) for batch in first for events in batch.events
    ]

    async def confirming() -> None:
        node = Node(path, lambda batch: node.confirm(batch.number))
        node.submit(place(2))
        node.stop()
        await node.run()

    asyncio.run(confirming())
    _, after = decide(path, [])
    assert after == []


@pytest.mark.parametrize("snapshot_commands", [1, 7, 10**9])
def test_state_and_digest_do_not_depend_on_where_snapshots_are(tmp_path: Path, snapshot_commands: int) -> None:
    commands = [*opening(), *(place(i, ("alice", "bob")[i % 2], ("sell", "buy")[i % 2], 1000 + i % 5 * 10) for i in range(60))]
    path = tmp_path / "j.sqlite"
    for start in range(0, len(commands), 9):
        node, _ = decide(path, commands[start : start + 9], snapshot_commands=snapshot_commands)  # and one when it stops
    reader = Journal(path, readonly=True)
    recovery = Recovery(reader, snapshot_max=0)
    digests = [batch.digest for batch in recovery]
    assert digests[-1] == node.digest
    assert dump(recovery.engine) == dump(node.engine)
    reader.close()


def test_an_altered_journal_is_found_and_not_traded_on(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    decide(path, [*opening(), place(1)], snapshot_commands=10**9)
    decide(path, [place(2)], snapshot_commands=10**9)
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM snapshot")
        other.execute("UPDATE command SET body = (SELECT body FROM command WHERE sequence = 5) WHERE sequence = 4")
    with pytest.raises(ReplayMismatchError, match="batch 1 led to digest"):
        decide(path, [])


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    held = Journal(tmp_path / "j.sqlite")
    with pytest.raises(JournalError, match="another exchange is writing"):
        Journal(tmp_path / "j.sqlite")
    held.close()
    Journal(tmp_path / "j.sqlite").close()


def test_files_that_are_no_journals_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database, but long enough to look at: " * 50)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    for path, message in ((text, "not a usable journal"), (other, "not a journal of limex"), (tmp_path / "none", "no such journal")):
        with pytest.raises(JournalError, match=message):
            Journal(path, readonly=True)
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        Journal(tmp_path / "no" / "folder.sqlite")


def test_a_failed_write_ends_the_node_and_nothing_of_the_batch_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[Batch] = []

    async def run() -> None:
        node = Node(tmp_path / "j.sqlite", released.append)

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(node.journal, "_store_marks", full)
        node.submit(opening()[0])
        await node.run()

    with pytest.raises(JournalError, match="batch 1 was not made durable: database or disk is full"):
        asyncio.run(run())
    assert released == []


# The child acknowledges on stdout, after release, as the gateway does over MQTT.
CHILD = """
import asyncio, sys
from pathlib import Path
from exchange.node import Node
from tests.test_node import opening, place
def release(batch):
    for command in batch.commands:
        if hasattr(command, "request_id"):
            sys.stdout.write(command.request_id + "\\n")
    sys.stdout.flush()
async def main():
    node = Node(Path(sys.argv[1]), release, snapshot_commands=40)
    deciding = asyncio.create_task(node.run())
    if "lv" not in node.engine.areas:
        for command in opening():
            node.submit(command)
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):
        node.submit(place(number))
        await asyncio.sleep(0)
        if deciding.done():
            break
    node.stop()
    await deciding
asyncio.run(main())
"""


def start(path: Path, first: int, count: int, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", CHILD, str(path), str(first), str(count)]
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root, env=environment)


def test_after_kill_9_at_any_moment_every_acknowledged_order_is_held_exactly_once(tmp_path: Path) -> None:
    path, random_, acknowledged = tmp_path / "j.sqlite", random.Random(7), set()
    kills = 0
    for turn in range(6):
        child = start(path, turn * 100_000, 100_000)
        assert child.stdout is not None
        acknowledged.add(child.stdout.readline().strip())
        time.sleep(random_.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        acknowledged.update(rest.splitlines()[: rest.count("\n")])
        kills += child.wait() == -signal.SIGKILL
        held = [order_id for _, order_id, _, _ in decide(path, [])[0].engine.queue("lv", 0, "export", "sell")]
        assert len(held) == len(set(held))
        assert acknowledged - {""} <= set(held)
    assert kills == 6
    assert len(acknowledged) > 6


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; it injects the failing fsync")
def test_a_failed_fsync_stops_the_process_before_anything_of_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    decide(path, opening())
    inject = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=4")
    child = start(path, 0, 3000, *inject)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "was not made durable: disk I/O error" in err
    held = {order_id for _, order_id, _, _ in decide(path, [])[0].engine.queue("lv", 0, "export", "sell")}
    assert set(out.split()) <= held


def test_an_event_waits_for_its_own_batch_even_where_the_next_is_decided_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While batch 1 is written, batch 2 is decided; neither is released before its own write has returned."""
    happened: list[str] = []
    append, apply = Journal.append, Engine.apply

    def slow_append(self: Journal, number: int, *rest: object) -> None:
        time.sleep(0.05)
        append(self, number, *rest)  # type: ignore[arg-type]
        happened.append(f"durable {number}")

    def noted_apply(self: Engine, command: Command) -> list[Event]:
        happened.append(f"apply {type(command).__name__}")
        return apply(self, command)

    monkeypatch.setattr(Journal, "append", slow_append)
    monkeypatch.setattr(Engine, "apply", noted_apply)
    monkeypatch.setattr("exchange.node.BATCH_COMMANDS_MAX", 2)

    async def run() -> None:
        node = Node(tmp_path / "j.sqlite", lambda batch: happened.append(f"release {batch.number}"))
        for command in [*opening(), place(1)]:
            node.submit(command)
        node.stop()
        await node.run()

    asyncio.run(run())
    assert happened == [
        "apply OpenArea", "apply InstallRows", "apply OpenInterval", "apply Place",
        "durable 1", "release 1", "durable 2", "release 2",
    ]  # fmt: skip


def test_a_snapshot_holds_the_state_of_its_batch_and_no_more(tmp_path: Path) -> None:
    """Snapshots after every batch, with more batches already waiting: each restart replays nothing, and the state is the same."""
    path = tmp_path / "j.sqlite"
    commands = [*opening(), *(place(i) for i in range(50))]
    node, _ = decide(path, commands, snapshot_commands=1)
    reader = Journal(path, readonly=True)
    newest = reader.last_snapshot(None)
    assert newest is not None
    assert (newest[0], newest[2]) == (node.number, dump(node.engine))
    replayed = Recovery(reader, snapshot_max=0, up_to=newest[0])
    assert [batch.digest for batch in replayed][-1] == newest[1]
    reader.close()
