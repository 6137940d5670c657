"""A week of a busy market in simulated time: does anything grow?

    python -m benchmarks.soak --days 7

A whole node over a journal: every quarter of an hour an interval is announced, opens with an auction, trades, is frozen for a moment,
gets new rows, closes, is delivered and retired; orders come, expire, are replaced and cancelled, sweeps are asked for, the operator
halts and withholds. After each turn the memory of the process, the blocks that Python holds and what the engine keeps are counted.
Exit code 1 where the memory is more than 5 % more on the last day than on the second (the first warms up; means of a day), or where
Python holds a block more for every interval that has passed in between: a single thing that is not forgotten would be found.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.crash_market import AREA, HELD_W, HOMES, LABELS, STEP_MS, CrashMarket
from benchmarks.resting import resident_bytes
from exchange.commands import Advance, ChangeRows, CloseGate, Command, EnterPhase, InstallRows, OpenInterval, Phase, RetireInterval
from exchange.engine import Engine
from exchange.node import Node
from exchange.recovery import Batch
from riskcheck.polytope import Polytope

DAY = 24 * 3_600_000 // STEP_MS
Samples = npt.NDArray[np.float64]
MEMORY_MAX, BLOCKS_MAX = 1.05, 1.0


class Sample(NamedTuple):
    """What there is after an interval was retired."""

    resident_mb: float
    blocks: int
    receipts: int
    resting: int
    expiries: int
    rows: int


def sample(engine: Engine) -> Sample:
    areas = engine.areas.values()
    accounts = [account for area in areas for account in area.accounts.values()]
    return Sample(
        resident_bytes() / 2**20, sys.getallocatedblocks(), sum(len(account.receipts) for account in accounts),
        sum(account.open_orders for account in accounts), len(engine.expiries), sum(len(area.rows) for area in areas),
    )  # fmt: skip


class Week:
    """The commands of one interval's length after the other."""

    def __init__(self, orders_each: int, seed: int) -> None:
        self.market = CrashMarket(seed, lives_ms=STEP_MS)
        self.orders = self.market.orders()
        self.orders_each = orders_each
        self.random = np.random.default_rng(seed)

    def opening(self) -> list[Command]:
        return self.market.opening()

    def orders_now(self) -> Iterator[Command]:
        for _ in range(self.orders_each):
            yield next(self.orders)

    def turn(self, number: int) -> tuple[list[Command], int]:
        """The gate of the oldest closes, the one before is retired, a new one opens in an auction; its start."""
        market = self.market
        closing = market.starts.pop(0)
        opened = market.starts[-1] + STEP_MS
        market.starts.append(opened)
        market.now_ms = number * STEP_MS
        commands: list[Command] = [Advance(market.now_ms), CloseGate(AREA, closing), self._phase(closing, "delivery")]
        commands += [RetireInterval(AREA, closing - STEP_MS)] if closing else []
        rows = market.rows.content_hash
        commands += [OpenInterval(AREA, opened, rows, (HELD_W,) * HOMES, (HELD_W,) * HOMES, "announced"), self._phase(opened, "auction")]
        return commands, opened

    def refresh(self) -> list[Command]:
        """Rows that are a little other than before, for the interval that is next: frozen, changed, resumed."""
        start, widths = self.market.starts[0], self.random.uniform(0.2, 2.0, size=(len(LABELS), 2 * HOMES))
        rows = Polytope.from_rows(widths, widths.sum(axis=1) * HELD_W * 1.5, LABELS, [10_000] * (2 * HOMES))
        change = ChangeRows(AREA, start, rows.content_hash, (HELD_W,) * (2 * HOMES), "refresh", "soak")
        install = [InstallRows(AREA, rows.to_bytes()), InstallRows(AREA, self.market.rows.to_bytes())]
        return [self._phase(start, "frozen"), *install, change, self._phase(start, "continuous")]

    def _phase(self, start_ms: int, phase: Phase) -> EnterPhase:
        return EnterPhase(AREA, start_ms, phase, "soak")


class Soak:
    """Feeds a node, and waits for it, one interval's length at a time."""

    def __init__(self, path: Path, orders_each: int, seed: int) -> None:
        self.commands, self.events = 0, Counter[str]()
        self.week = Week(orders_each, seed)
        self.answered = asyncio.Event()
        self.waiting = 0
        self.node = Node(path, self._release, clock_ms=lambda: self.week.market.now_ms, snapshot_commands=5_000)

    def _release(self, batch: Batch) -> None:
        self.commands += len(batch.commands)
        self.events.update(type(event).__name__ for events in batch.events for event in events)
        self.node.confirm(batch.number)
        self.answered.set()

    async def ask(self, commands: list[Command]) -> None:
        wanted = self.commands + len(commands)
        for command in commands:
            self.node.submit(command)
        while self.commands < wanted:  # proposals for orders at rest only add to the count
            self.answered.clear()
            await self.answered.wait()

    async def interval(self, number: int) -> Sample:
        commands, opened = self.week.turn(number)
        await self.ask(commands)
        orders = list(self.week.orders_now())
        await self.ask(orders[: len(orders) // 2])
        await self.ask([uncross] if (uncross := await self.node.uncrossed(AREA, opened)) else [])
        await self.ask(self.week.refresh() if number % 4 == 0 else [])
        await self.ask(orders[len(orders) // 2 :])
        return sample(self.node.engine)

    async def run(self, days: int) -> Samples:
        deciding = asyncio.create_task(self.node.run())
        await self.ask(self.week.opening())
        samples = np.zeros((days * DAY, len(Sample._fields)))  # at once: what is measured must not grow by being measured
        for number in range(days * DAY):
            samples[number] = await self.interval(number + 1)
            if (number + 1) % DAY == 0:
                means = zip(Sample._fields, samples[number + 1 - DAY : number + 1].mean(axis=0), strict=True)
                told = ", ".join(f"{mean:.1f} {name}" for name, mean in means)
                print(f"day {(number + 1) // DAY}: {self.commands} commands, {told}", flush=True)
        self.node.stop()
        await deciding
        self.node.engine.check()
        return samples


def growth(samples: Samples, days: int) -> tuple[float, float]:
    """From the second day to the last: memory (1.0 where it is the same), and blocks for each interval that passed in between."""
    early, late = (samples[day * DAY : (day + 1) * DAY].mean(axis=0) for day in (1, days - 1))
    memory, blocks = Sample._fields.index("resident_mb"), Sample._fields.index("blocks")
    return float(late[memory] / early[memory]), float(late[blocks] - early[blocks]) / ((days - 2) * DAY)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=int, default=7, help="at least 3 (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=150, help="customers' requests in each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="limex-soak-") as folder:
        path = Path(folder) / "soak.sqlite"
        soak = Soak(path, arguments.orders, arguments.seed)
        samples = asyncio.run(soak.run(max(3, arguments.days)))
        journal_mb = path.stat().st_size / 2**20
    memory, blocks = growth(samples, max(3, arguments.days))
    print(f"{soak.commands} commands, journal {journal_mb:.0f} MB, {time.perf_counter() - began:.0f} s")
    print(", ".join(f"{count} {kind}" for kind, count in soak.events.most_common()))
    print(f"from the second day to the last: memory {memory - 1:+.1%}, {blocks:+.2f} blocks for each interval")
    return 0 if memory <= MEMORY_MAX and blocks < BLOCKS_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
