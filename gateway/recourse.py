"""Recourse in the running exchange: settings of the operator's devices that make blocked trades secure, found while the market goes on.

    Blocked -> take -> [the newest first] -> crossing -> ask in the worker -> found -> still fits? -> InstallRows, ChangeRows

* The crossing is that of the order that was told and the best resting one that it meets, as the books are when its turn comes.
  One that is gone, or in an interval that is closed or halted, is forgotten. An open gate means that delivery has not begun.
* What is found was made from holdings of a while ago. It is used if the same two orders still cross, the same rows, settings and
  network are in force, and both what is held now and what would be held after the trade are inside the new rows, in integers.
  Else it is dropped, and nothing changes.
* The two commands go before all that waits, so that the engine decides them in the state that was looked at. The limits are
  the holdings of that state: nobody is lowered. New rows wake every blocked order, and these trade by the rules of the market.

One question at a time, for the whole of what is open. It is not asked again of the same pair, quantity and rows. The worker may
fail as it likes: the market goes on without recourse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from envelopes.recourse import Found, Question, ask, in_words, prepare
from exchange.book import Order
from exchange.commands import ChangeRows, InstallRows, Side
from exchange.engine import Engine
from exchange.events import Blocked, Traded
from exchange.market import DIRECTIONS, Area, Interval
from exchange.recovery import Batch
from gateway.changing import held_w
from gateway.worker import Worker, WorkerEndedError, WorkerError
from replay.tape import interval_name
from riskcheck.levers import levers_of
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from gateway.changing import Exchange
    from riskcheck.network import Network

PATIENCE_S = 600.0  # rows of a large network take minutes
RETRY_S = 10.0
WAITING_MAX = 100
ASKED_MAX = 10_000
K = TypeVar("K")


class OrderRef(NamedTuple):
    """Names an order: ids are the customers' own."""

    customer: str
    order_id: str


class Crossing(NamedTuple):
    """Two resting orders that would trade if the network had room: the one that was told, and the best that it meets."""

    interval_ms: int
    told: OrderRef
    other: OrderRef
    buyer_right: int
    seller_right: int
    quantity_w: int

    def after_w(self, holding_w: tuple[int, ...]) -> tuple[int, ...]:
        """Holdings once the whole of it is traded."""
        after = list(holding_w)
        after[self.buyer_right] += self.quantity_w
        after[self.seller_right] -= self.quantity_w
        return tuple(after)


class Tally(NamedTuple):
    """What came of all questions."""

    asked: int = 0
    without: int = 0
    stale: int = 0
    traded: int = 0

    def __str__(self) -> str:
        outcome = f"{self.traded} made, {self.without} beyond all settings, {self.stale} stale"
        return f"recourse: {self.asked} blocked trades asked about, {outcome}"


def crossing_of(engine: Engine, area: str, interval_ms: int, ref: OrderRef) -> Crossing | None:
    """The order and the best that it meets; None where either is gone or nothing may be matched."""
    interval = engine.areas[area].intervals.get(interval_ms)
    if interval is None or interval.phase != "continuous" or engine.shut(area, interval_ms):
        return None
    account = engine.areas[area].accounts.get(ref.customer)
    told = account.live_order(ref.order_id) if account is not None else None
    other = _best(engine.areas[area], interval, told) if told is not None and told.line.interval_ms == interval_ms else None
    if told is None or other is None:
        return None
    buyer, seller = (told, other) if told.side == "buy" else (other, told)
    met = OrderRef(other.account.customer, other.order_id)
    return Crossing(interval_ms, ref, met, buyer.right, seller.right, min(told.open_w, other.open_w))


def _best(area: Area, interval: Interval, order: Order) -> Order | None:
    """The best-priced first order of other customers that it crosses: of its own book, or at exchange rates of both."""
    other_side: Side = "sell" if order.side == "buy" else "buy"
    directions = DIRECTIONS if area.at_rates else (order.direction,)
    lines = [line for direction in directions for line in interval.lines(direction, other_side) if line.entries]
    firsts = [line.first for line in lines if line.first.account is not order.account]
    sign = 1 if other_side == "sell" else -1
    best = min(firsts, key=lambda first: (sign * first.price_mct, first.arrival), default=None)
    return best if best is not None and sign * best.price_mct <= sign * order.price_mct else None


class Desk:
    """Give `take` every batch, and `run` a task of its own; `say` tells the operator."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._worker = Worker()
        self._waiting: dict[tuple[int, OrderRef], None] = {}
        self._arrived = asyncio.Event()
        self._prepared: tuple[int | None, str] = (None, "")
        self._asked: dict[tuple[str, frozenset[OrderRef], int], None] = {}
        self.tally = Tally()

    def take(self, batch: Batch, area: str) -> None:
        """Notes the orders that this batch's events call blocked; the oldest are forgotten where there are too many."""
        told = (event for events in batch.events for event in events if isinstance(event, Blocked) and event.area == area)
        for event in told:
            key = event.interval_ms, OrderRef(event.customer, event.order_id)
            self._waiting.pop(key, None)
            self._waiting[key] = None
            self._arrived.set()
        _forget(self._waiting, WAITING_MAX)

    async def run(self, exchange: Exchange) -> None:
        """Answers until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                await self._turn(exchange)
        finally:
            await self._worker.stop()

    async def _turn(self, exchange: Exchange) -> None:
        """The newest of what waits."""
        if not self._waiting:
            self._arrived.clear()
            return
        (interval_ms, ref), _ = self._waiting.popitem()
        crossing = crossing_of(exchange.engine, exchange.plan.area, interval_ms, ref)
        if crossing is None:
            return
        try:
            await self._answer(exchange, crossing)
        except (WorkerError, WorkerEndedError) as error:
            self._say(f"RECOURSE: the search failed, the trade stays blocked: {error}")
            await asyncio.sleep(RETRY_S)

    async def _answer(self, exchange: Exchange, crossing: Crossing) -> None:
        network, question = exchange.plan.network, question_of(exchange, crossing)
        if question is None or not levers_of(network) or not self._is_news(crossing, question):
            return
        self.tally = self.tally._replace(asked=self.tally.asked + 1)
        found = await self._ask(network, question)
        if isinstance(found, str):
            self.tally = self.tally._replace(without=self.tally.without + 1)
            return
        rows = Polytope.from_bytes(found.rows)
        async with exchange.settling:
            if network is exchange.plan.network and still_fits(exchange, crossing, question, rows):
                await self._set(exchange, crossing, question, found, rows)
            else:
                self.tally = self.tally._replace(stale=self.tally.stale + 1)

    def _is_news(self, crossing: Crossing, question: Question) -> bool:
        key = question.rows_hash, frozenset((crossing.told, crossing.other)), crossing.quantity_w
        if key in self._asked:
            return False
        self._asked[key] = None
        _forget(self._asked, ASKED_MAX)
        return True

    async def _ask(self, network: Network, question: Question) -> Found | str:
        """The worker must have the network in force; after a restart, or a change of the network, it has not."""
        if self._prepared != (self._worker.process_id, network.content_hash) or self._worker.process_id is None:
            await self._worker.call(PATIENCE_S, prepare, network)
            self._prepared = self._worker.process_id, network.content_hash
        return await self._worker.call(PATIENCE_S, ask, network.content_hash, question)

    async def _set(self, exchange: Exchange, crossing: Crossing, question: Question, found: Found, rows: Polytope) -> None:
        """Nothing is awaited between the last look at the state and the queueing of the commands."""
        area, at = exchange.plan.area, crossing.interval_ms
        detail = f"{crossing.quantity_w} W between {crossing.told.customer} and {crossing.other.customer}: {in_words(found.settings)}"
        change = ChangeRows(
            area, at, rows.content_hash, held_w(exchange.engine.areas[area].intervals[at]), "recourse", detail, found.settings,
            replaces_hash=question.rows_hash,
        )  # fmt: skip
        decided = await exchange.submit([InstallRows(area, found.rows), change], at_once=True)
        made = any(isinstance(event, Traded) for event in decided.events)
        self.tally = self.tally._replace(traded=self.tally.traded + made)
        outcome = "; ".join(refused.detail for refused in decided.refused) or ("traded" if made else "nothing traded")
        self._say(f"RECOURSE: interval {interval_name(at)} of area {area}: {detail}: {outcome}")


def question_of(exchange: Exchange, crossing: Crossing) -> Question | None:
    """None where the network has room for all of the trade: something smaller, as a shown part, stands in its way."""
    interval = exchange.engine.areas[exchange.plan.area].intervals[crossing.interval_ms]
    holding_w = held_w(interval)
    after_w = crossing.after_w(holding_w)
    if interval.headroom.polytope.is_secure(after_w):
        return None
    return Question(interval.settings, interval.rows_hash, holding_w, after_w, crossing.quantity_w)


def still_fits(exchange: Exchange, crossing: Crossing, question: Question, rows: Polytope) -> bool:
    """Whether settings found for this question serve the market as it is now."""
    area = exchange.plan.area
    if crossing_of(exchange.engine, area, crossing.interval_ms, crossing.told) != crossing:
        return False
    interval = exchange.engine.areas[area].intervals[crossing.interval_ms]
    if (interval.rows_hash, interval.settings) != (question.rows_hash, question.settings):
        return False
    holding_w = held_w(interval)
    return rows.is_secure(holding_w) and rows.is_secure(crossing.after_w(holding_w))


def _forget(kept: dict[K, None], most: int) -> None:
    """The oldest go."""
    while len(kept) > most:
        del kept[next(iter(kept))]
