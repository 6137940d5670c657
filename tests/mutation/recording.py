"""What engine and naive model say to random streams, kept as bytes: a mutant is compared with it without asking the slow model again.

Commands are drawn as in `tests/test_model.py`, by looking at the model and never at the engine. Every event counts (but for the words
of details), and after every 25th command cash, holdings and queues. At some places the engine has to go on from its own snapshot.
What is kept are the engine's answers and how many of them are the model's too: all, or the recording is worth less.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from exchange.commands import Command

LOOK_EVERY, RESTART_EVERY, CHECK_EVERY = 25, 400, 10


class Step(NamedTuple):
    command: bytes
    events: bytes
    state: bytes


class DiffersError(AssertionError):
    """The engine and the recording."""


def record(seed: int, commands: int) -> tuple[list[Step], int]:
    """The first commands of a stream with the engine's answers, and after how many the model first differed (0 for never)."""
    from exchange.codec import encode_command
    from exchange.engine import Engine
    from tests.model import Model
    from tests.streams import Stream

    model, engine, differed = Model(), Engine(), 0
    stream, steps = Stream(model, Random(seed)), []
    for number in range(1, commands + 1):
        command = stream.next()
        expected, events = _plain(model.apply(command)), _plain(engine.apply(command))
        differed = differed or (number if events != expected else 0)
        steps.append(Step(encode_command(command), events, _state(engine) if number % LOOK_EVERY == 0 else b""))
    return steps, differed


def follow(steps: list[Step]) -> None:
    """Raises where the engine differs from the recording, or does not hold its own invariants."""
    from exchange.codec import decode_command
    from exchange.engine import Engine
    from exchange.snapshot import dump, load

    engine = Engine()
    for number, step in enumerate(steps, 1):
        command: Command = decode_command(step.command)
        if _plain(engine.apply(command)) != step.events:
            raise DiffersError(f"command {number}")
        if number % CHECK_EVERY == 0:
            engine.check()
        if step.state and _state(engine) != step.state:
            raise DiffersError(f"the state after command {number}")
        if number % RESTART_EVERY == 0:
            engine = load(dump(engine))


def _plain(events: list[Any]) -> bytes:
    from tests.model_views import without_details

    return msgspec.msgpack.encode(without_details(events))


def _state(market: Any) -> bytes:
    """Cash, holdings and queues, from the views that engine and model share."""
    found: list[Any] = []
    for area in sorted(market.areas):
        found += [market.cash(area), market.operator_cash(area)]
        for start_ms in sorted(market.areas[area].intervals):
            found.append(market.holdings(area, start_ms))
            found += [market.queue(area, start_ms, book, side) for book in ("export", "import") for side in ("buy", "sell")]
    return msgspec.msgpack.encode(found)
