"""Commands and events as bytes (msgpack). One encoding for journal, snapshot, digest and event log.

Arrays instead of maps: field order is the format. Appending a field with a default keeps old journals readable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import msgspec

from exchange.commands import Command
from exchange.events import Event

_encoder = msgspec.msgpack.Encoder()
_commands = msgspec.msgpack.Decoder(Command)


class CorruptRecordError(ValueError):
    """Bytes that this version did not write."""


def encode_command(command: Command) -> bytes:
    return _encoder.encode(command)


def decode_command(raw: bytes) -> Command:
    try:
        return cast(Command, _commands.decode(raw))
    except msgspec.MsgspecError as error:
        raise CorruptRecordError(f"not a command: {error}") from error


def encode_events(events: Iterable[Event]) -> bytes:
    return _encoder.encode(tuple(events))
