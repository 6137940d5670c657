"""Moments of a journal as people name them: a batch, a time by the exchange's own clock, or a time by the market's.

The exchange's own clock stamps every batch as it is taken. The market's is what the engine was last told (`Advance`). In life the two
go together; in a demo the market is on another day and runs faster. A moment stands for the last batch at or before it. One before
the first batch is refused: a replay of nothing proves nothing, and who asked for it meant the other clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from exchange.commands import Advance
from gateway.arguments import UsageError, interval
from replay.rebuild import batches
from replay.tabular import iso

MARKET = "market:"


class Stamp(NamedTuple):
    """When a batch was taken, by either clock; None until the engine is told a market time."""

    batch: int
    recorded_ms: int
    market_ms: int | None


def stamps(journal: Path) -> Iterator[Stamp]:
    """Every batch of a journal, in order. Raises JournalError."""
    market_ms: int | None = None
    for number, recorded_ms, commands in batches(journal):
        for command in commands:
            if isinstance(command, Advance):
                market_ms = max(market_ms or 0, command.at_ms)
        yield Stamp(number, recorded_ms, market_ms)


def batch_of(journal: Path, moment: str) -> int:
    """The last batch at or before a moment. Raises UsageError for what is no moment, or lies before the journal; JournalError."""
    if moment.isascii() and moment.isdigit() and 0 < len(moment) < 19:
        return _numbered(int(moment))
    at_ms, taken = _time_ms(moment), list(stamps(journal))
    times = [(one.batch, one.market_ms if moment.startswith(MARKET) else one.recorded_ms) for one in taken]
    found = max((batch for batch, time_ms in times if time_ms is not None and time_ms <= at_ms), default=0)
    if not found:
        raise UsageError(f"{journal}: nothing lies before {moment}: {_spans(taken)}")
    return found


def _numbered(batch: int) -> int:
    if batch < 1:
        raise UsageError("batches are counted from 1")
    return batch


def _time_ms(moment: str) -> int:
    try:
        return interval(moment.removeprefix(MARKET))
    except (argparse.ArgumentTypeError, ValueError) as error:
        right = f"a batch number or a time like 2026-04-27T14:05:00, market time as {MARKET}2026-04-27T14:05:00"
        raise UsageError(f"a moment is {right}; not {moment[:80]!r}") from error


def _spans(taken: Iterable[Stamp]) -> str:
    """From when to when a journal goes, by either clock."""
    recorded = [one.recorded_ms for one in taken]
    market = [one.market_ms for one in taken if one.market_ms is not None]
    return f"its batches were taken {_span(recorded)}; market time, written {MARKET}TIME, went {_span(market)}"


def _span(times_ms: list[int]) -> str:
    return f"from {iso(min(times_ms))} to {iso(max(times_ms))}" if times_ms else "nowhere"
