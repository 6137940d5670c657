"""Whose account a command line uses: read from the files that `limex serve` writes, or from a broker's URL.

A file is readable by its owner only. The homes' has every home's password and its reader's; the operator's has its own. An exchange
claims both before it works, and holds them for as long as its process lives, however that ends: no other one writes over them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from gateway.arguments import OutputError, UsageError
from gateway.broker import READER, Broker, parse_url

T = TypeVar("T")


class Account(NamedTuple):
    """Where the broker is, of which area, and who one is there."""

    host: str
    port: int
    area: str
    user: str
    password: str


class OperatorFile(msgspec.Struct, frozen=True):
    host: str
    port: int
    area: str
    user: str
    password: str


class HomesFile(msgspec.Struct, frozen=True):
    """Passwords by home: of its own account, and of the one that only reads."""

    host: str
    port: int
    area: str
    passwords: dict[str, str]
    readers: dict[str, str] = {}


@contextmanager
def claimed(path: Path) -> Iterator[BinaryIO]:
    """The file of an exchange's accounts, ours meanwhile; gone if nothing was written. Raises OutputError where it is another's."""
    with _open(path) as file:
        _lock(path, file)
        try:
            yield file
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                path.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        own = "give this one --credentials, --operator-account and --journal of its own"
        raise OutputError(f"{path} belongs to an exchange that is running: {own}") from error


def write_homes(file: BinaryIO, area: str, broker: Broker, customers: list[str]) -> None:
    passwords = {name: broker.credentials(name)[1] for name in customers}
    readers = {name: broker.reader(name)[1] for name in customers}
    _write(file, HomesFile(broker.host, broker.port, area, passwords, readers))


def write_operator(file: BinaryIO, area: str, broker: Broker) -> None:
    _write(file, OperatorFile(broker.host, broker.port, area, *broker.operator))


def operator_account(url: str | None, area: str, path: Path) -> Account:
    """Raises UsageError."""
    if url is not None:
        return _of_url(url, area)
    found = _read(path, OperatorFile)
    return Account(found.host, found.port, found.area, found.user, found.password)


def reader_account(url: str | None, area: str, path: Path, home: str) -> Account:
    """Raises UsageError."""
    if url is not None:
        return _of_url(url, area)
    found = _read(path, HomesFile)
    password = found.readers.get(home)
    if password is None:
        known = sorted(found.readers)
        raise UsageError(f"{path} has no reader of {home}; it has {len(known)}, like {', '.join(known[:5]) or 'none'}")
    return Account(found.host, found.port, found.area, home + READER, password)


def read_passwords(path: Path | None) -> dict[str, str]:
    """A JSON object of customer -> password, of a configured broker; none without a path. Raises UsageError."""
    return {} if path is None else _read(path, dict[str, str], "give a JSON object of customer -> password")


def _of_url(url: str, area: str) -> Account:
    host, port, (user, password) = parse_url(url)
    return Account(host, port, area, user, password)


def _read(path: Path, kind: type[T], remedy: str = "`limex serve` writes it beside a broker of its own; else give --broker") -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: {remedy}") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: not a file of accounts: {error}: {remedy}") from error


def _write(file: BinaryIO, document: Any) -> None:
    """Readable by its owner only. Raises OSError."""
    os.fchmod(file.fileno(), 0o600)
    file.truncate()
    file.write(msgspec.json.format(msgspec.json.encode(document), indent=2))
    file.flush()
