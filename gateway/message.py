"""One MQTT message on its way out: a fact, so that pure files can say what is to be sent and tests can read it."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
