"""The durable log: commands in SQLite, one transaction per batch. Knows bytes and batch numbers; nothing of markets.

WAL with synchronous=FULL: a transaction that returned is on the disk. Only commands are kept, with the time at which their
batch was taken and the digest of the events that they led to: each digest covers all events since the first, because it
hashes the one before. Two batches are never in flight at once; the digest of a batch is written with the next one, since
the engine runs while the disk writes. A failed write or sync raises JournalError, once; nothing is ever retried, because
the sync after a failed one succeeds and lies (the kernel drops the dirty pages).
"""

from __future__ import annotations

import fcntl
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

FORMAT = 2

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE batch (number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE command (sequence INTEGER PRIMARY KEY, batch INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE digest (batch INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT;
CREATE TABLE snapshot (batch INTEGER PRIMARY KEY, digest BLOB NOT NULL, body BLOB NOT NULL) STRICT;
INSERT INTO about VALUES ('format', 2);
"""


class JournalError(Exception):
    """The log cannot be opened, read or written. The exchange must stop."""


class StoredBatch(NamedTuple):
    """`digest` is None for the last batches of a process that was killed before it could note them."""

    number: int
    at_ms: int
    commands: list[bytes]
    digest: bytes | None


def next_digest(previous: bytes, events: bytes) -> bytes:
    return hashlib.blake2b(events, key=previous, digest_size=16).digest() if previous else hashlib.blake2b(events, digest_size=16).digest()


def _lock(path: Path) -> BinaryIO:
    """One writer at a time; the lock goes with the process, however it ends. Readers need none."""
    try:
        held = path.with_name(path.name + ".lock").open("wb")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise JournalError(f"{path}: another exchange is writing this journal") from error
    except OSError as error:
        raise JournalError(f"{path}: cannot be opened for writing: {error.strerror}") from error
    return held


class Journal:
    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Opens or creates. Raises JournalError naming the file and what is wrong with it."""
        self.path = path
        self._lock = None if readonly else _lock(path)
        try:
            self._db = self._open(path, readonly)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: not a usable journal: {error}") from error

    @staticmethod
    def _open(path: Path, readonly: bool) -> sqlite3.Connection:
        if readonly and not path.is_file():
            raise JournalError(f"{path}: no such journal")
        mode = "ro" if readonly else "rwc"
        db = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=0.5)
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables and not readonly:
            db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN; {_SCHEMA} COMMIT;")
        elif "about" not in tables:
            raise JournalError(f"{path}: not a journal of limex")
        elif not readonly:
            db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        row = db.execute("SELECT value FROM about WHERE key = 'format'").fetchone()
        if row is None or row[0] != FORMAT:
            raise JournalError(f"{path}: journal format {row and row[0]}, this version reads {FORMAT}")
        return db

    def append(
        self, number: int, at_ms: int, commands: Iterable[bytes], first_sequence: int, digests: Iterable[tuple[int, bytes]], confirmed: int
    ) -> None:
        """One batch, durable when this returns.

        `digests` are those of earlier batches that are not stored yet; every batch up to `confirmed` has been released.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO batch VALUES (?, ?)", (number, at_ms))
            rows = ((sequence, number, body) for sequence, body in enumerate(commands, first_sequence))
            self._db.executemany("INSERT INTO command VALUES (?, ?, ?)", rows)
            self._store_marks(digests, confirmed)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: batch {number} was not made durable: {error}") from error

    def note(self, digests: Iterable[tuple[int, bytes]], confirmed: int) -> None:
        """Stores what is left to store, before an orderly end."""
        try:
            self._store_marks(digests, confirmed)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: digests were not stored: {error}") from error

    def _store_marks(self, digests: Iterable[tuple[int, bytes]], confirmed: int) -> None:
        self._db.executemany("INSERT INTO digest VALUES (?, ?)", digests)
        self._db.execute("INSERT OR REPLACE INTO about VALUES ('confirmed', ?)", (confirmed,))

    def confirmed(self) -> int:
        """The last batch whose release was confirmed, as far as is stored; 0 for none."""
        row = self._one("SELECT value FROM about WHERE key = 'confirmed'")
        return 0 if row is None else row[0]

    def save_snapshot(self, batch: int, digest: bytes, body: bytes) -> None:
        """The state after `batch`. Older snapshots are kept: each is a place to verify from."""
        try:
            self._db.execute("INSERT INTO snapshot VALUES (?, ?, ?)", (batch, digest, body))
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: snapshot after batch {batch} was not stored: {error}") from error

    def last_snapshot(self, up_to: int | None = None) -> tuple[int, bytes, bytes] | None:
        """(batch, digest, body) of the newest snapshot at or before batch `up_to`."""
        bound = 2**62 if up_to is None else up_to
        return self._one("SELECT batch, digest, body FROM snapshot WHERE batch <= ? ORDER BY batch DESC LIMIT 1", bound)

    def snapshots(self) -> Iterator[tuple[int, bytes, bytes]]:
        yield from self._read("SELECT batch, digest, body FROM snapshot ORDER BY batch")

    def batches(self, after: int = 0) -> Iterator[StoredBatch]:
        """Every batch with a number above `after`, in order."""
        heads = "SELECT number, at_ms, digest.digest FROM batch LEFT JOIN digest ON digest.batch = number WHERE number > ? ORDER BY number"
        bodies = self._read("SELECT batch, body FROM command WHERE batch > ? ORDER BY sequence", after)
        held = next(bodies, None)
        for number, at_ms, digest in self._read(heads, after):
            commands = []
            while held is not None and held[0] == number:
                commands.append(held[1])
                held = next(bodies, None)
            yield StoredBatch(number, at_ms, commands, digest)

    def counts(self) -> tuple[int, int]:
        """(batches, commands), both from the numbering, which has no gap."""
        last_batch = self._one("SELECT coalesce(max(number), 0) FROM batch")
        last_command = self._one("SELECT coalesce(max(sequence), 0) FROM command")
        assert last_batch is not None
        assert last_command is not None
        return last_batch[0], last_command[0]

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def _read(self, query: str, *parameters: int) -> Iterator[tuple]:  # type: ignore[type-arg]
        try:
            yield from self._db.execute(query, parameters)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot be read: {error}") from error

    def _one(self, query: str, *parameters: int) -> tuple | None:  # type: ignore[type-arg]
        return next(self._read(query, *parameters), None)
