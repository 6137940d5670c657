"""Whose account a command line uses: read from the files that `limex serve` writes, or from a broker's URL.

A file is readable by its owner only. The homes' has every home's password and its reader's; the operator's has its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from gateway.broker import READER, Broker, BrokerError, parse_url

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


def write_homes(path: Path, area: str, broker: Broker, customers: list[str]) -> None:
    passwords = {name: broker.credentials(name)[1] for name in customers}
    readers = {name: broker.reader(name)[1] for name in customers}
    _write(path, HomesFile(broker.host, broker.port, area, passwords, readers))


def write_operator(path: Path, area: str, broker: Broker) -> None:
    _write(path, OperatorFile(broker.host, broker.port, area, *broker.operator))


def operator_account(url: str | None, area: str, path: Path) -> Account:
    """Raises BrokerError."""
    if url is not None:
        return _of_url(url, area)
    found = _read(path, OperatorFile)
    return Account(found.host, found.port, found.area, found.user, found.password)


def reader_account(url: str | None, area: str, path: Path, home: str) -> Account:
    """Raises BrokerError."""
    if url is not None:
        return _of_url(url, area)
    found = _read(path, HomesFile)
    password = found.readers.get(home)
    if password is None:
        raise BrokerError(f"{path} has no reader of {home}: it has {', '.join(sorted(found.readers)[:5]) or 'none'} ...")
    return Account(found.host, found.port, found.area, home + READER, password)


def _of_url(url: str, area: str) -> Account:
    host, port, (user, password) = parse_url(url)
    return Account(host, port, area, user, password)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BrokerError(f"{path}: {error.strerror}: `limex serve` writes it beside a broker of its own; else give --broker") from error
    except msgspec.MsgspecError as error:
        raise BrokerError(f"{path}: not a file of `limex serve`: {error}") from error


def _write(path: Path, document: Any) -> None:
    """Readable by its owner only. Raises OSError."""
    path.touch(mode=0o600)
    os.chmod(path, 0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
