"""A day on which homes trade the envelopes that they were given: the exchange's engine and its proposer, without broker and journal.

Rules, timetable and homes are the demo's (`demo/hand.py`, `demo/trading.py`): network exchange rates, joint fills, an opening auction
for every interval with uniform prices, then continuous trading until five minutes before delivery. A home knows a share of the
interval's minutes that grows as the gate approaches, and takes a typical day for the others: no perfect foresight. Nobody trades with
the operator's hand. Messages are requests, private reports, and a limit to each home for every interval and after each change; what is
published to all is not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, cast

import numpy as np

from compare.days import INTERVAL_MIN, INTERVAL_MS, MIDNIGHT_MS, START_MS, Day
from compare.living import Lived, Resident, lived
from demo.blotter import Blotter
from demo.hand import RULES, schedule
from demo.timetable import Clock, FleetSpec, Moment, timetable
from demo.trading import BLOCK_INTERVALS, Amendment, Block, Market, amend, car_block, display_w, wishes
from exchange.bounds import CustomerTerms
from exchange.commands import Cancel, Command, CustomerCommand, InstallRows, OpenArea, OpenInterval, Place, Replace, Sweep, Uncross
from exchange.engine import Engine
from exchange.events import Refused, Traded
from exchange.proposer import Proposer
from gateway import wire
from gateway.clock import auctions_over, due
from gateway.reports import private

if TYPE_CHECKING:
    from collections.abc import Callable

    from compare.ground import Ground
    from demo.homes import HomeModel

NAME = "market"
AREA = "lv"
BLOCK_TURN = 1  # the second round: its interval's auction is over, and the two before are still open


class Trader(Resident):
    """A home that asks by function call."""

    def __init__(self, model: HomeModel, position: int) -> None:
        super().__init__(model)
        self.position = position
        self.blotter = Blotter()
        self.asked = 0

    def wanted(self, moment: Moment, spec: FleetSpec, holdings: Callable[[int], tuple[int, int]]) -> list[CustomerCommand]:
        """What it asks for at this moment, in the order in which it asks."""
        at_ms, length = moment.interval_ms, spec.interval_ms
        market = Market(spec.lot_w, spec.tick_mct, spec.price_mct_max, moment.progress, self.blotter.last_mct)
        found: list[CustomerCommand] = []
        first_ms = at_ms - (BLOCK_INTERVALS - 1) * length
        if moment.turn == BLOCK_TURN and first_ms >= spec.start_ms and not self.blotter.is_in_block(at_ms, length):
            block = car_block(self, first_ms, length, holdings, market)
            found += [self._block(block)] if block is not None else []
        wanted = wishes(self, at_ms, length, moment.at_ms, holdings, market)
        if found or self.blotter.is_in_block(at_ms, length):
            wanted = [wish for wish in wanted if (wish.direction, wish.side) != ("import", "buy")]
        return found + [self._command(amendment, at_ms) for amendment in amend(self.blotter.resting(at_ms), wanted)]

    def _command(self, amendment: Amendment, interval_ms: int) -> CustomerCommand:
        wish, name = amendment.wish, self.model.customer
        self.asked += 1
        if amendment.kind == "place":
            order_id = self.blotter.order_id(interval_ms, wish)
            terms = interval_ms, wish.direction, wish.side, wish.quantity_w, wish.price_mct
            return Place(AREA, name, order_id, *terms, display_w=display_w(wish))
        if amendment.kind == "replace":
            return Replace(AREA, name, f"r{self.asked}", amendment.order_id, amendment.quantity_w, wish.price_mct)
        return Cancel(AREA, name, f"c{self.asked}", amendment.order_id)

    def _block(self, block: Block) -> Place:
        name, order_id = self.model.customer, self.blotter.block_id(block)
        terms = block.quantity_w, block.price_mct
        return Place(AREA, name, order_id, block.interval_ms, "import", "buy", *terms, intervals=block.intervals)


class Exchange:
    """One day's engine, clock and traders, driven by market time alone."""

    def __init__(self, ground: Ground, day: Day) -> None:
        self.day, self._ground = day, ground
        self._rows = [band.polytope for band in ground.bands]
        self.schedule = schedule(START_MS, day.intervals, INTERVAL_MS)
        self.spec = FleetSpec(
            host="", port=0, area=AREA, seed=day.seed, start_ms=START_MS, intervals=day.intervals, interval_ms=INTERVAL_MS,
            open_lead_ms=self.schedule.first_lead_ms, close_lead_ms=self.schedule.close_lead_ms, lot_w=RULES.lot_w,
            tick_mct=RULES.tick_mct, price_mct_max=RULES.price_mct_max, homes=(), clock=Clock(MIDNIGHT_MS, 0.0, 1.0),
        )  # fmt: skip
        self.traders = {model.customer: Trader(model, position) for position, model in enumerate(day.homes)}
        self.engine, self._proposer = Engine(), Proposer()
        self.messages: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.deciding_s = 0.0
        self.export_w, self.import_w = (np.zeros((day.intervals, len(day.homes)), dtype=np.int64) for _ in range(2))

    def run(self) -> Lived:
        terms = tuple(_terms(model) for model in self.day.homes)
        self._apply(OpenArea(AREA, RULES, terms))
        moments = sorted((moment, customer) for customer in self.traders for moment in timetable(self.spec, customer))
        for moment, customer in moments:
            self._keep_time(moment.at_ms)
            self._act(self.traders[customer], moment)
        return lived(
            NAME, list(self.traders.values()), self.export_w, self.import_w, self.messages, self.deciding_s,
            {name: float(count) for name, count in self.counts.items()},
        )  # fmt: skip

    def _act(self, trader: Trader, moment: Moment) -> None:
        at_ms = moment.interval_ms
        if moment.kind == "deliver":
            interval = (at_ms - START_MS) // INTERVAL_MS
            limits = self._holding(trader, at_ms)
            self.export_w[interval, trader.position], self.import_w[interval, trader.position] = limits
            trader.live(at_ms, INTERVAL_MIN, *limits)
            trader.blotter.forget(at_ms)
            return
        for command in trader.wanted(moment, self.spec, lambda start_ms: self._holding(trader, start_ms)):
            self.messages["requests"] += 1
            self._apply(command)
        self._uncross(at_ms)

    def _uncross(self, interval_ms: int) -> None:
        """What rests may gain together, as a node asks after every batch."""
        began_s = time.process_time()
        worth_it = self._proposer.may_uncross(self.engine, AREA, interval_ms)
        uncross = self._proposer.uncross(self.engine, AREA, interval_ms, ends_auction=False) if worth_it else None
        self.deciding_s += time.process_time() - began_s
        self.counts["solver asked at rest"] += worth_it
        if uncross is not None:
            self._apply(uncross)

    def _holding(self, trader: Trader, interval_ms: int) -> tuple[int, int]:
        if interval_ms not in self.engine.areas[AREA].intervals:
            return trader.model.failsafe_export_w, trader.model.failsafe_import_w
        export_w, import_w = self.engine.holdings(AREA, interval_ms)
        return export_w[trader.position], import_w[trader.position]

    def _open(self, interval_ms: int) -> OpenInterval:
        """The envelopes of the band that the operator expects."""
        number = self.day.band[(interval_ms - START_MS) // INTERVAL_MS]
        limits = self._ground.bands[number].limits
        self.messages["limits"] += len(self.day.homes)
        return OpenInterval(AREA, interval_ms, self._rows[number].content_hash, limits.export_w, limits.import_w)

    def _keep_time(self, now_ms: int) -> None:
        engine = self.engine
        commands = due(self.schedule, AREA, now_ms, engine.phases(AREA), engine.next_expiry_ms(), self._open)
        for command in commands:
            if isinstance(command, OpenInterval) and command.rows_hash not in engine.areas[AREA].rows:
                self._apply(InstallRows(AREA, next(r for r in self._rows if r.content_hash == command.rows_hash).to_bytes()))
            self._apply(command)
        for interval_ms in auctions_over(self.schedule, now_ms, engine.phases(AREA), engine.auctions_since_ms(AREA)):
            began_s = time.process_time()
            uncross = self._proposer.uncross(engine, AREA, interval_ms, ends_auction=True)
            self.deciding_s += time.process_time() - began_s
            if uncross is not None:
                self._apply(uncross)

    def _apply(self, command: Command) -> None:
        """Decides as a node does: an order with the joint fills that the proposer finds for it."""
        began_s = time.process_time()
        proposed = self._proposer.propose(self.engine, command) if isinstance(command, Place) else None
        events = self.engine.apply(proposed or command)
        self.deciding_s += time.process_time() - began_s
        for event in events:
            is_proposal = isinstance(proposed or command, Sweep | Uncross)  # then it is matched as if there were none
            assert is_proposal or not isinstance(event, Refused), f"the exchange refused the operator: {event}"
            self.counts["proposals refused"] += isinstance(event, Refused)
            if isinstance(event, Traded):
                self.counts["trades"] += 1
                self.messages["limits"] += len(event.legs)
            for _, customer, report in private(event):
                self.messages["reports"] += 1
                self.traders[customer].blotter.take(cast("wire.AnyReport", report))


def _terms(home: HomeModel) -> CustomerTerms:
    ratings = home.rating_export_w, home.rating_import_w
    return CustomerTerms(home.customer, *ratings, home.failsafe_export_w, home.failsafe_import_w, order_w_max=max(*ratings, 1))


def traded(ground: Ground, day: Day) -> Lived:
    """A day of the market."""
    return Exchange(ground, day).run()
