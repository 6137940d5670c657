"""Streams of commands for the benchmarks, the same for the same arguments on every machine.

`demo_day` is the demo itself without its network of messages: its homes look at their envelopes at the moments of its timetable, want
what they want, and their requests go straight into an engine, whose reports they read before they act again. So the mix of
places, replaces, cancels, prices, quantities and blocked crossings is the demo's, not a guess at it.

`busy` is a market as busy as can be: random customers place, replace and cancel around a price that wanders, in several
intervals and both directions at once, many of them crossing. It does not look at answers: some requests come too late and
are refused, as in life.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import cast

import msgspec

from benchmarks.feeder import AREA, Feeder, Progress
from demo import hand
from demo.blotter import Blotter
from demo.homes import Connection, HomeModel, HomeState, fleet
from demo.timetable import Clock, FleetSpec, Moment, timetable
from demo.trading import Amendment, Market, amend, wishes
from exchange.bounds import MarketSettings
from exchange.commands import Advance, Cancel, CloseGate, Command, CustomerCommand, Direction, Place, Replace, RetireInterval, Side
from exchange.engine import Engine
from exchange.events import Accepted, Event
from gateway import wire
from gateway.clock import Schedule, due
from gateway.reports import private

SETTINGS = MarketSettings()
MIDNIGHT_MS = 1_776_988_800_000  # 2026-04-24 00:00 UTC: strong sun, and heat pumps still run
BUSY_INTERVALS = 4
MID_MCT = 6_000
PLACING = 0.7  # of the requests
AWAY_TICKS, SPREAD_TICKS = 32, 60  # so that unconstrained requests lead to 0.39 trades each


class Stream(msgspec.Struct, frozen=True):
    """Commands in order, and what they are in words. `collected`: orders of an interval that came before the demo's auction of it ends."""

    name: str
    commands: tuple[Command, ...]
    collected: dict[int, int] = {}


class Resident:
    """A home of the demo that asks by function call."""

    def __init__(self, model: HomeModel, position: int) -> None:
        self.customer = model.customer
        self.position = position
        self.state = HomeState(model, MIDNIGHT_MS)
        self.blotter = Blotter()
        self.asked = 0

    def wanted(self, engine: Engine, spec: FleetSpec, moment: Moment) -> list[Amendment]:
        """What it asks for at this moment, in the order in which it asks."""
        market = Market(spec.lot_w, spec.tick_mct, spec.price_mct_max, moment.progress, self.blotter.last_mct)
        live, model = engine.areas[AREA].intervals, self.state.model

        def holding(interval_ms: int) -> tuple[int, int]:
            if interval_ms not in live:
                return model.failsafe_export_w, model.failsafe_import_w
            export_w, import_w = engine.holdings(AREA, interval_ms)
            return export_w[self.position], import_w[self.position]

        wanted = wishes(self.state, moment.interval_ms, spec.interval_ms, moment.at_ms, holding, market)
        return amend(self.blotter.resting(moment.interval_ms), wanted, spec.lot_w)

    def command(self, amendment: Amendment, interval_ms: int) -> CustomerCommand:
        wish = amendment.wish
        self.asked += 1
        if amendment.kind == "place":
            order_id = self.blotter.order_id(interval_ms, wish)
            return Place(AREA, self.customer, order_id, interval_ms, wish.direction, wish.side, wish.quantity_w, wish.price_mct)
        if amendment.kind == "replace":
            return Replace(AREA, self.customer, f"r{self.asked}", amendment.order_id, amendment.quantity_w, wish.price_mct)
        return Cancel(AREA, self.customer, f"c{self.asked}", amendment.order_id)


class DemoDay:
    """The demo's homes, clock and engine, driven by market time alone."""

    def __init__(self, feeder: Feeder, seed: int, intervals: int, first_interval: int, settings: MarketSettings) -> None:
        self.feeder, self.settings = feeder, settings
        self.start_ms = MIDNIGHT_MS + first_interval * SETTINGS.interval_ms
        self.schedule = Schedule(first_ms=self.start_ms, end_ms=self.start_ms + intervals * SETTINGS.interval_ms)
        self.spec = FleetSpec(
            host="", port=0, area=AREA, seed=seed, start_ms=self.start_ms, intervals=intervals, interval_ms=SETTINGS.interval_ms,
            open_lead_ms=self.schedule.open_lead_ms, close_lead_ms=self.schedule.close_lead_ms, lot_w=SETTINGS.lot_w,
            tick_mct=SETTINGS.tick_mct, price_mct_max=SETTINGS.price_mct_max, clock=Clock(self.start_ms, 0.0, 1.0), homes=(),
        )  # fmt: skip
        bounds = [(t.rating_export_w, t.rating_import_w, t.failsafe_export_w, t.failsafe_import_w) for t in feeder.terms]
        models = fleet([Connection(t.customer, *bound) for t, bound in zip(feeder.terms, bounds, strict=True)], seed)
        self.residents = {model.customer: Resident(model, position) for position, model in enumerate(models)}
        self.engine = Engine()
        self.commands: list[Command] = []
        self.collected: Counter[int] = Counter()
        demo = hand.schedule(0, 1, SETTINGS.interval_ms)
        self._auction_share = (demo.auction_lead_ms - demo.open_lead_ms) / (demo.auction_lead_ms - demo.close_lead_ms)

    def run(self, progress: Progress) -> list[Command]:
        self._apply(*self.feeder.opening(self.settings))
        moments = sorted((moment, customer) for customer in self.residents for moment in timetable(self.spec, customer))
        for number, (moment, customer) in enumerate(moments):
            if number % 50 == 0:
                progress("the demo's homes make up their minds", number / len(moments))
            self._keep_time(moment.at_ms)
            self._act(self.residents[customer], moment)
        assert self.schedule.end_ms is not None
        self._keep_time(self.schedule.end_ms)
        return self.commands

    def _act(self, resident: Resident, moment: Moment) -> None:
        if moment.kind == "deliver":
            export_w, import_w = self.engine.holdings(AREA, moment.interval_ms)
            limits = export_w[resident.position], import_w[resident.position]
            resident.state.step(moment.interval_ms, moment.interval_ms + SETTINGS.interval_ms, *limits)
            resident.blotter.forget(moment.interval_ms)
            return
        for amendment in resident.wanted(self.engine, self.spec, moment):
            events = self._apply(resident.command(amendment, moment.interval_ms))
            self.collected[moment.interval_ms] += moment.progress < self._auction_share and isinstance(events[0], Accepted)

    def _keep_time(self, now_ms: int) -> None:
        engine = self.engine
        self._apply(*due(self.schedule, AREA, now_ms, engine.gates(AREA), engine.next_expiry_ms(), self.feeder.open_interval))

    def _apply(self, *commands: Command) -> list[Event]:
        told = []
        for command in commands:
            self.commands.append(command)
            told += self.engine.apply(command)
        for event in told:
            for _, customer, report in private(event):
                self.residents[customer].blotter.take(cast("wire.AnyReport", report))
        return told


def demo_day(
    feeder: Feeder, seed: int, intervals: int, first_interval: int, progress: Progress, settings: MarketSettings = SETTINGS
) -> Stream:  # fmt: skip
    """The demo's commands over so many intervals from the so many-th quarter hour of the day on, as homes ask under these rules."""
    day = DemoDay(feeder, seed, intervals, first_interval, settings)
    commands = tuple(day.run(progress))
    return Stream(f"demo, {intervals} intervals, seed {seed}", commands, dict(day.collected))


def busy(feeder: Feeder, seed: int, requests: int, settings: MarketSettings = SETTINGS) -> Stream:
    """Random requests in four intervals at a time; every `requests / 8` the oldest interval closes and a new one opens."""
    random = Random(seed)
    length, customers = SETTINGS.interval_ms, [terms.customer for terms in feeder.terms]
    opened = [MIDNIGHT_MS + number * length for number in range(BUSY_INTERVALS)]
    commands: list[Command] = [*feeder.opening(settings), *(feeder.open_interval(start) for start in opened)]
    crowd = _Crowd(random, customers, opened)
    for number in range(1, requests + 1):
        commands.append(crowd.request(number))
        if number % max(1, requests // 8) == 0:
            oldest, newest = opened.pop(0), opened[-1] + length
            opened.append(newest)
            commands += [
                Advance(oldest), CloseGate(None, oldest), feeder.open_interval(newest), RetireInterval(AREA, oldest),
            ]  # fmt: skip
    return Stream(f"busy, {requests:,} requests, seed {seed}", tuple(commands))


class _Crowd:
    """Most requests place, as many of the others replace as cancel; a sale asks about what a purchase bids."""

    def __init__(self, random: Random, customers: list[str], opened: list[int]) -> None:
        self._random = random
        self._customers = customers
        self._opened = opened
        self._mid_mct = MID_MCT
        self._recent: list[tuple[str, str, int]] = []  # customer, order id, quantity

    def request(self, number: int) -> CustomerCommand:
        random = self._random
        self._mid_mct = min(max(self._mid_mct + 10 * random.randint(-3, 3), MID_MCT // 2), 2 * MID_MCT)
        kind = random.random()
        if kind < PLACING or not self._recent:
            return self._place(number)
        position = random.randrange(len(self._recent))
        customer, order_id, quantity_w = self._recent[position]
        if kind < (1 + PLACING) / 2:
            total_w = max(SETTINGS.lot_w, quantity_w + SETTINGS.lot_w * random.randint(-10, 10))
            return Replace(AREA, customer, f"q{number}", order_id, total_w, self._price(random.choice((-1, 1))))
        del self._recent[position]
        return Cancel(AREA, customer, f"q{number}", order_id)

    def _place(self, number: int) -> Place:
        random = self._random
        customer, order_id = random.choice(self._customers), f"q{number}"
        direction: Direction = random.choice(("export", "import"))
        side: Side = random.choice(("buy", "sell"))
        quantity_w = SETTINGS.lot_w * random.randint(1, 40)
        self._recent.append((customer, order_id, quantity_w))
        if len(self._recent) > 20 * len(self._customers):
            del self._recent[0]
        price_mct = self._price(-1 if side == "buy" else 1)
        return Place(AREA, customer, order_id, random.choice(self._opened), direction, side, quantity_w, price_mct)

    def _price(self, away: int) -> int:
        """Mostly on its own side of the middle, now and then across it."""
        return self._mid_mct + 10 * int(away * self._random.gauss(AWAY_TICKS, SPREAD_TICKS))
