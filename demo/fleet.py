"""The fleet: a process in which every home of the demo is an MQTT client of its own. `python -m demo.fleet < errand.json`

Only a shell: what to want is decided in trading.py, when in timetable.py, what flows in homes.py, and what rests is told by
blotter.py. It learns its limits from the retained envelope topic alone, as a real home would, trades as gates approach, lives
through each interval under the envelope then in force, and answers with one `FleetResult` as JSON. SIGTERM ends it early,
with what it has until then.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from demo.blotter import Blotter
from demo.homes import HomeModel, HomeState, fleet, generator
from demo.timetable import Announced, Clock, FleetResult, FleetSpec, HomeResult, HomeSpec, Moment, timetable
from demo.trading import BLOCK_INTERVALS, Amendment, Block, Market, amend, car_block, display_w, wishes
from exchange.commands import Direction
from gateway import wire
from gateway.client import Home, HomeError, LateError, Limits, NoAnswerError, ThrottledError
from gateway.link import LinkError
from riskcheck.polytope import RowLabel

CONNECTING_AT_ONCE = 8
BLOCK_HOMES = 0.4  # of those with a car
BLOCK_TURN = 1  # the second round: its interval's auction is over, and the two before are still open


class Watcher(Home):
    """A home that also looks at what is public, and remembers the last of each interval."""

    announced: dict[int, Announced]

    def receive(self, topic: str, payload: bytes, retained: bool) -> None:
        super().receive(topic, payload, retained)
        for interval_ms, auction in self.auctions.items():
            watts = auction.exports.received_w + auction.imports.received_w
            self._note_public(interval_ms, indicative_welfare_mct=auction.welfare_mct, indicative_w=watts)
        for interval_ms, rows in self.rows.items():
            prices = {str(RowLabel(row.kind, row.element, row.phase)): row.price_mct for row in rows.rows if row.price_mct}
            self._note_public(interval_ms, **({"row_price_mct": prices} if prices else {}))

    def _note_public(self, interval_ms: int, **news: Any) -> None:
        known = self.announced.get(interval_ms) or Announced(interval_ms)
        self.announced[interval_ms] = msgspec.structs.replace(known, **news)


class Resident:
    """One home: its client, its orders, its physics. The first of all watches the market."""

    def __init__(self, spec: FleetSpec, home: HomeSpec, model: HomeModel, watches: bool = False) -> None:
        self.spec = spec
        self.state = HomeState(model, spec.start_ms)
        self.blotter = Blotter()
        self.result = HomeResult(model.customer, model.kind)
        self._asks_for_blocks = generator(spec.seed, f"{model.customer}/block").random() < BLOCK_HOMES
        self._asked_from: set[int] = set()
        self.failsafe = Limits(model.failsafe_export_w, model.failsafe_import_w)
        self.client = Watcher(
            spec.host, spec.port, spec.area, home.customer, home.password, user=home.user or None, failsafe=self.failsafe,
            watch_market=watches,
        )  # fmt: skip
        self.client.announced = {}
        self.client.on_report(self._report)

    def _report(self, report: wire.AnyReport) -> None:
        self.blotter.take(report)
        self.result.fills += isinstance(report, wire.Filled)
        self.result.blocked += isinstance(report, wire.Blocked)

    async def live(self, clock: Clock) -> None:
        """Through the whole timetable; a moment that the clock has overtaken is done at once, a gate that has closed is skipped."""
        for moment in timetable(self.spec, self.result.customer):
            await asyncio.sleep(max(0.0, (clock.wall(moment.at_ms) - time.time() * 1000) / 1000))
            if moment.kind == "deliver":
                self._deliver(moment.interval_ms)
            else:
                await self._trade(clock, moment)

    def finish(self) -> HomeResult:
        self.result.answers = dict(self.blotter.answers)
        self.result.refusals = dict(self.blotter.refusals)
        self.result.resent = self.client.resent
        self.result.announced = list(self.client.announced.values())
        self.result.latencies_us = [latency // 1000 for latency in self.client.latencies_ns]
        return self.result

    def _limits(self, interval_ms: int) -> Limits:
        return self.client.envelope.get(interval_ms, self.failsafe)

    def _deliver(self, interval_ms: int) -> None:
        self.result.missing_envelopes += interval_ms not in self.client.envelope
        end_ms = interval_ms + self.spec.interval_ms
        self.result.delivered.append(self.state.step(interval_ms, end_ms, *self._limits(interval_ms)))
        self.blotter.forget(interval_ms)

    async def _trade(self, clock: Clock, moment: Moment) -> None:
        spec, now_ms = self.spec, clock.market(time.time() * 1000)
        if now_ms >= moment.interval_ms - spec.close_lead_ms or moment.interval_ms not in self.client.envelope:
            return
        market = Market(spec.lot_w, spec.tick_mct, spec.price_mct_max, moment.progress, await self._prices(moment.interval_ms))
        block = self._block(moment, market)
        if block is not None and block.interval_ms in self._asked_from:
            await self._ask_block(block)
        wanted = wishes(self.state, moment.interval_ms, spec.interval_ms, now_ms, self._limits, market)
        if block is not None or self.blotter.is_in_block(moment.interval_ms, spec.interval_ms):
            wanted = [wish for wish in wanted if (wish.direction, wish.side) != ("import", "buy")]
        for amendment in amend(self.blotter.resting(moment.interval_ms), wanted, spec.lot_w):
            await self._ask(moment.interval_ms, amendment)

    def _block(self, moment: Moment, market: Market) -> Block | None:
        """What its car is going to ask for in this group of intervals, or asks for now; until then it bids for none of them alone."""
        length, start_ms = self.spec.interval_ms, self.spec.start_ms
        group = (moment.interval_ms - start_ms) // length // BLOCK_INTERVALS * BLOCK_INTERVALS
        first_ms = start_ms + group * length
        if not self._asks_for_blocks or first_ms in self._asked_from or group + BLOCK_INTERVALS > self.spec.intervals:
            return None
        block = car_block(self.state, first_ms, length, self._limits, market)
        is_time = moment.turn >= BLOCK_TURN and moment.interval_ms == first_ms + (BLOCK_INTERVALS - 1) * length
        if block is not None and is_time:
            self._asked_from.add(first_ms)
        return block

    async def _prices(self, interval_ms: int) -> Mapping[Direction, int | None]:
        """The last own prices; a home with a car asks what a watt of its own import limit costs now."""
        last = self.blotter.last_mct
        if self.state.model.car is None:
            return last
        view = await self._asked(self.client.view(interval_ms, "import"))
        is_priced = isinstance(view, wire.ViewReport) and view.offers
        return {**last, "import": view.offers[0].price_mct} if is_priced else last

    async def _ask(self, interval_ms: int, amendment: Amendment) -> None:
        """One request and its answer; the blotter hears of the answer by itself."""
        wish = amendment.wish
        if amendment.kind == "place":
            terms = wish.side, wish.direction, interval_ms, wish.quantity_w, wish.price_mct
            order_id = self.blotter.order_id(interval_ms, wish)
            await self._asked(self.client.place(*terms, order_id=order_id, display_w=display_w(wish)))
        elif amendment.kind == "replace":
            await self._asked(self.client.replace(amendment.order_id, amendment.quantity_w, wish.price_mct))
        else:
            await self._asked(self.client.cancel(amendment.order_id))

    async def _ask_block(self, block: Block) -> None:
        order_id = self.blotter.block_id(block)
        order = self.client.place(
            "buy", "import", block.interval_ms, block.quantity_w, block.price_mct, order_id=order_id, intervals=block.intervals
        )  # fmt: skip
        await self._asked(order)

    async def _asked(self, request: Awaitable[Any]) -> Any:
        """The answer; None where there was none, or the gateway refused."""
        self.result.requests += 1
        try:
            return await request
        except NoAnswerError:
            self.result.lost += 1
        except (ThrottledError, LateError) as refusal:
            self.blotter.refusals[type(refusal).__name__.removesuffix("Error").lower()] += 1
        return None


async def run(spec: FleetSpec) -> FleetResult:
    """All homes from connecting to the last delivery, or until SIGTERM."""
    models = fleet([home.connection() for home in spec.homes], spec.seed)
    residents = [Resident(spec, home, model, not place) for place, (home, model) in enumerate(zip(spec.homes, models, strict=True))]
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    errors: list[str] = []
    living, stop = asyncio.create_task(_live(spec, residents, stopped, errors)), asyncio.create_task(stopped.wait())
    await asyncio.wait((living, stop), return_when=asyncio.FIRST_COMPLETED)
    for task in (living, stop):
        task.cancel()
    outcome, _ = await asyncio.gather(living, stop, return_exceptions=True)
    if isinstance(outcome, HomeError | LinkError):
        errors.append(str(outcome))
    elif isinstance(outcome, Exception):
        raise outcome
    await asyncio.gather(*(resident.client.__aexit__(None, None, None) for resident in residents), return_exceptions=True)
    return FleetResult(spec.area, spec.seed, outcome is None and not errors, [resident.finish() for resident in residents], errors)


async def _live(spec: FleetSpec, residents: Sequence[Resident], stopped: asyncio.Event, errors: list[str]) -> None:
    """Returns after the last delivery; a home that fails is reported and does not stop the others."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def enter(resident: Resident) -> None:
        async with gate:
            await resident.client.__aenter__()

    await asyncio.gather(*(enter(resident) for resident in residents))
    watch: asyncio.Task[None] | None = None
    clock = spec.clock
    if clock is None:
        parent = await _parent()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        clock = msgspec.json.decode(await parent.readline(), type=Clock)
        watch = asyncio.create_task(_until_orphaned(parent, stopped))
    outcomes = await asyncio.gather(*(resident.live(clock) for resident in residents), return_exceptions=True)
    if watch is not None:
        watch.cancel()
    for resident, outcome in zip(residents, outcomes, strict=True):
        if isinstance(outcome, Exception):
            errors.append(f"{resident.result.customer}: {type(outcome).__name__}: {outcome}")


async def _parent() -> asyncio.StreamReader:
    """Standard input from here on."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _until_orphaned(parent: asyncio.StreamReader, stopped: asyncio.Event) -> None:
    """Whoever sent us keeps our standard input open; when it closes there is nobody left to live for."""
    await parent.read()
    stopped.set()


def main() -> int:
    """Exit code 0 when every home lived to the end, 1 otherwise."""
    with open(0, "rb", buffering=0, closefd=False) as line:  # unbuffered: the rest of standard input is read elsewhere
        spec = msgspec.json.decode(line.readline(), type=FleetSpec)
    result = asyncio.run(run(spec))
    payload = msgspec.json.encode(result)
    if spec.results is None:
        try:
            sys.stdout.write(payload.decode() + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # nobody is left to hear it
            sys.stderr.close()
            return 1
    else:
        Path(spec.results).write_bytes(payload)
    return 0 if result.complete else 1


if __name__ == "__main__":
    sys.exit(main())
