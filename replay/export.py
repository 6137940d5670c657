"""A journal's tables in a folder, one file per table, while it is replayed and verified. Memory holds open orders only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from exchange.recovery import Batch
from replay.tables import TABLES, Row, Tables
from replay.tabular import SUFFIXES, OutputError, sink
from replay.verify import Verdict, verify


class Exported(NamedTuple):
    """Rows by table; what did not add up; what the replay proved."""

    rows: dict[str, int]
    problems: tuple[str, ...]
    verdict: Verdict


def export(
    journal: Path,
    folder: Path,
    kind: str = "csv",
    names: Collection[str] = tuple(TABLES),
    *,
    until: int | None = None,
    on_batch: Callable[[Batch, int], None] | None = None,
) -> Exported:
    """Writes the tables `names` as `kind` (csv or parquet), up to batch `until`.

    Raises JournalError, ReplayMismatchError, OutputError, MissingExtraError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    tables, counts = Tables(), dict.fromkeys(names, 0)
    with ExitStack() as files:
        sinks = {name: files.enter_context(sink(folder / f"{name}{SUFFIXES[kind]}", TABLES[name])) for name in names}

        def keep(row: Row) -> None:
            if row[0] in sinks:
                sinks[row[0]].write(row[1])
                counts[row[0]] += 1

        def take(batch: Batch, total: int) -> None:
            for row in tables.take(batch):
                keep(row)
            if on_batch is not None:
                on_batch(batch, total)

        verdict = verify(journal, until=until, on_batch=take)
        for row in tables.close():
            keep(row)
    return Exported(counts, tuple(tables.books.problems), verdict)
