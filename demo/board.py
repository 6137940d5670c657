"""What a person watches while the market runs: one line per interval, folded from the batches as they become durable.

On a terminal it is a table that is redrawn; elsewhere one line is printed as each gate closes. It looks at the engine only
for headroom, and never waits for anything.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from exchange import events as e
from exchange.engine import Engine
from exchange.recovery import Batch

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

SHOWN = 8
FULL = 1e-3  # of a row's slack: with less room than that it counts as full


class Line:
    """One interval."""

    def __init__(self) -> None:
        self.phase = "open"
        self.orders = self.trades = self.blocked = self.full_rows = 0
        self.traded_w: Counter[str] = Counter()
        self.turnover: Counter[str] = Counter()

    def price_ct(self, direction: str) -> str:
        watts = self.traded_w[direction]
        return f"{self.turnover[direction] / watts / 1000:.1f}" if watts else "-"

    def cells(self) -> list[str]:
        watts = [f"{self.traded_w[direction] / 1000:.1f}" for direction in ("export", "import")]
        counts = [str(self.orders), str(self.trades), str(self.blocked)]
        return [self.phase, *counts, *watts, *map(self.price_ct, ("export", "import")), str(self.full_rows)]


HEADINGS = ("interval", "gate", "orders", "trades", "blocked", "export kW", "import kW", "export ct", "import ct", "rows full")


class Board:
    """Use as `with Board(area, quiet) as board`, and `board.take(batch, engine)` for each batch."""

    def __init__(self, area: str, quiet: bool) -> None:
        self._area = area
        self._quiet = quiet
        self._lines: dict[int, Line] = {}
        self._started = time.monotonic()
        self._totals: Counter[str] = Counter()
        self._delivered = 0
        self._progressed = asyncio.Event()
        self._live = None if quiet or not sys.stderr.isatty() else _live()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        elif not self._quiet:
            print("".join(f"{heading:>11}" for heading in HEADINGS), file=sys.stderr)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def take(self, batch: Batch, engine: Engine) -> None:
        self._totals["commands"] += len(batch.commands)
        for events in batch.events:
            for event in events:
                self._fold(event, engine)
        if self._live is not None:
            self._live.update(self._table())

    async def delivered(self, intervals: int) -> None:
        """Returns when so many intervals have been delivered."""
        while self._delivered < intervals:
            self._progressed.clear()
            await self._progressed.wait()

    def _fold(self, event: e.Event, engine: Engine) -> None:
        match event:
            case e.IntervalOpened():
                self._lines[event.interval_ms] = Line()
            case e.Accepted():
                self._lines[event.interval_ms].orders += 1
            case e.Blocked():
                self._lines[event.interval_ms].blocked += 1
            case e.Rejected():
                self._totals["rejected"] += 1
            case e.Traded():
                line = self._lines[event.interval_ms]
                line.trades += 1
                for leg in event.legs:
                    if leg.side == "buy":
                        line.traded_w[leg.direction] += leg.change_w
                        line.turnover[leg.direction] += leg.change_w * leg.price_mct
            case e.GateClosed():
                self._close(event.interval_ms, engine)
            case e.IntervalRetired():
                self._lines[event.interval_ms].phase = "delivered"
                self._delivered += 1
                self._progressed.set()
            case _:
                pass

    def _close(self, interval_ms: int, engine: Engine) -> None:
        line, interval = self._lines[interval_ms], engine.areas[self._area].intervals[interval_ms]
        headroom = interval.headroom
        line.full_rows = int((headroom.residual < FULL * headroom.polytope.slack).sum())
        line.phase = "closed"
        if self._live is None and not self._quiet:
            print("".join(f"{cell:>11}" for cell in (_clock(interval_ms), *line.cells())), file=sys.stderr, flush=True)

    def _table(self) -> Table:
        from rich.table import Table

        elapsed = time.monotonic() - self._started
        rate = self._totals["commands"] / max(elapsed, 1e-9)
        caption = f"{self._totals['commands']} commands, {rate:.0f}/s, {self._totals['rejected']} rejected, {elapsed:.0f} s"
        table = Table(title="the market, interval by interval (UTC)", caption=caption)
        for heading in HEADINGS:
            table.add_column(heading, justify="right")
        for start in sorted(self._lines)[-SHOWN:]:
            table.add_row(_clock(start), *self._lines[start].cells())
        return table


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M")


def _live() -> Live:
    """rich is imported only where there is a terminal."""
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), refresh_per_second=4)
