"""Tables in files, CSV or Parquet by the file's suffix: columns with a kind, a unit and a meaning, written row by row.

Times are UTC milliseconds inside; in CSV they are ISO 8601 with a zone (2026-04-27T14:05:00.000Z), in Parquet timestamps with
one. Parquet carries each column's unit and meaning as metadata of its field. pyarrow is an extra and is imported when a Parquet
file is opened, never before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol

Value = str | int | None
Kind = Literal["text", "whole", "time"]
GROUP_ROWS = 50_000  # of a Parquet row group
SUFFIXES = {"csv": ".csv", "parquet": ".parquet"}


class MissingExtraError(Exception):
    """A file format needs a package that is not installed; the message names the extra."""


class OutputError(Exception):
    """A result cannot be written where it was asked for."""


class Column(NamedTuple):
    name: str
    kind: Kind
    unit: str
    meaning: str


class Table(NamedTuple):
    """`one_row` says in words what a row stands for."""

    name: str
    one_row: str
    columns: tuple[Column, ...]


class Sink(Protocol):
    """Rows in the order of the table's columns go in; `close` completes the file."""

    def write(self, row: Sequence[Value]) -> None: ...
    def close(self) -> None: ...


@lru_cache(maxsize=4096)  # the same few times stand in many rows
def iso(at_ms: int) -> str:
    """ISO 8601 with milliseconds and zone; a time that no calendar has stays a number, which every reader of ours takes as well."""
    try:
        stamp = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(at_ms)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def pyarrow(what_for: str) -> ModuleType:
    """The package with its Parquet part. Raises MissingExtraError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(f"{what_for}: Parquet needs pyarrow: pip install 'limex[parquet]' (CSV needs nothing)") from None
    return pa  # type: ignore[no-any-return]


class _CsvSink:
    def __init__(self, path: Path, table: Table) -> None:
        self._times = [column.kind == "time" for column in table.columns]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(column.name for column in table.columns)

    def write(self, row: Sequence[Value]) -> None:
        cells = zip(row, self._times, strict=True)
        self._writer.writerow(iso(value) if is_time and isinstance(value, int) else value for value, is_time in cells)

    def close(self) -> None:
        self._file.close()


class _ParquetSink:
    def __init__(self, path: Path, table: Table) -> None:
        self._arrow = pyarrow(str(path))
        kinds = {"text": self._arrow.string(), "whole": self._arrow.int64(), "time": self._arrow.timestamp("ms", tz="UTC")}
        fields = [
            self._arrow.field(column.name, kinds[column.kind], metadata={"unit": column.unit, "meaning": column.meaning})
            for column in table.columns
        ]
        self._schema = self._arrow.schema(fields, metadata={"table": table.name, "one_row": table.one_row})
        self._writer = self._arrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[Sequence[Value]] = []

    def write(self, row: Sequence[Value]) -> None:
        self._rows.append(row)
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [self._arrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self._flush()
        self._writer.close()


@contextmanager
def sink(path: Path, table: Table) -> Iterator[Sink]:
    """The file to write a table to, Parquet where it is called so, else CSV. Raises OutputError, MissingExtraError."""
    try:
        opened: Sink = (_ParquetSink if path.suffix.lower() == ".parquet" else _CsvSink)(path, table)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield opened
    finally:
        opened.close()


def write(path: Path, table: Table, rows: Iterable[Sequence[Value]]) -> int:
    """All rows at once; how many they were."""
    count = 0
    with sink(path, table) as file:
        for row in rows:
            file.write(row)
            count += 1
    return count


class Record(NamedTuple):
    """One record of a file that others wrote: where it stands (a line of CSV, a row of Parquet) and its cells by column; None is empty."""

    line: int
    cells: dict[str, Any]


class UnreadableTableError(ValueError):
    """Not a table at all; the message names the file."""


def read(path: Path) -> tuple[list[str], Iterator[Record]]:
    """(column names, records) of a CSV or Parquet file. Raises UnreadableTableError at once or, for a torn file, on the way."""
    if not path.is_file():
        raise UnreadableTableError(f"{path}: no such file, or not a file")
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)


def _read_csv(path: Path) -> tuple[list[str], Iterator[Record]]:
    records = _csv_records(path)
    try:
        names = [name.strip() for name in next(records).cells["row"]]
    except StopIteration:
        raise UnreadableTableError(f"{path}: the file is empty; its first line must name the columns") from None

    def rest() -> Iterator[Record]:
        for line, cells in records:
            row = [cell.strip() or None for cell in cells["row"]]
            surplus = {"": row[len(names) :]} if len(row) > len(names) else {}
            yield Record(line, dict(zip(names, row, strict=False)) | surplus)

    return names, rest()


def _csv_records(path: Path) -> Iterator[Record]:
    """Rows that are not empty, each with the line on which it begins; what cannot be read is named with that line."""
    begins = 1
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                "".join(row).encode()  # a byte that is no UTF-8 stands as a surrogate, which is refused here
                if row:
                    yield Record(begins, {"row": row})
                begins = reader.line_num + 1
    except OSError as error:
        raise UnreadableTableError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeEncodeError, csv.Error) as error:
        raise UnreadableTableError(f"{path}: not a CSV file in UTF-8: line {begins}: {_unread(error)}") from error


def _unread(error: UnicodeEncodeError | csv.Error) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"byte 0x{ord(error.object[error.start]) - 0xDC00:02x} is not UTF-8"
    return "a quote is opened and not closed" if "end of data" in str(error) else str(error)


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Record]]:
    arrow = pyarrow(str(path))
    try:
        file = arrow.parquet.ParquetFile(path)
    except (OSError, arrow.ArrowException) as error:
        raise UnreadableTableError(f"{path}: not a Parquet file: {error}") from error

    def rest() -> Iterator[Record]:
        line = 0
        for batch in file.iter_batches():
            for cells in batch.to_pylist():
                line += 1
                yield Record(line, cells)

    return list(file.schema_arrow.names), rest()
