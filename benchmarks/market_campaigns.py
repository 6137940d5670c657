"""Holdings on their way to saturation through the whole market: the engine itself, at network exchange rates.

The same starts and moods as in `benchmarks/campaigns.py`, but every change of a holding is the engine's: pairs at exchange rates in
both directions, left-over headroom, joint fills that the solver proposed, auctions, orders over two intervals, icebergs, and headroom
of single rows that the operator withholds and sells. Prices are random, failsafes are none, and homes may trade with themselves: what
an operator would forbid or nobody would want is where the network check has to hold alone.

Holdings are those of the first of two intervals; the second is there for orders that need both. Now and then all orders are
cancelled. In the end purchases at any price take what nobody holds, and what is less than a lot of it is given away.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchmarks.campaigns import Campaign
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import Command, InstallRows, OpenArea, OpenInterval, Place, Reinstate, Release, Suspend, Uncross, Withhold
from exchange.engine import Engine
from exchange.events import Traded
from exchange.proposer import Proposer
from riskcheck.headroom import Headroom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exchange.commands import Direction, Side
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

    Watts = NDArray[np.int64]

AREA, LENGTH_MS = "lv", 900_000
FIRST_MS, SECOND_MS = LENGTH_MS, 2 * LENGTH_MS
RULES = MarketSettings(matching="exchange_rate", sweeps=True, self_trade="allow")
LOT_W, PRICE_MCT = RULES.lot_w, 10_000
ASKED, BLOCK, ICEBERG, IN_SECOND, AT_ONCE = 0.1, 0.05, 0.2, 0.15, 0.3  # of the orders
KEPT_ORDERS = 300  # after so many the books are emptied
COLLECTED = 200  # orders of an opening auction


class MarketCampaign(Campaign):
    """`kinds` counts the engine's trades by kind."""

    def __init__(self, network: Network, polytope: Polytope, fair_w: Watts, rng: np.random.Generator, number: int) -> None:
        super().__init__(network, polytope, fair_w, rng, number)
        self._half = len(self._caps) // 2
        self._names = [f"c{position}" for position in range(self._half)]
        self._ids = count()
        self._engine, self._proposer = Engine(), Proposer()
        self._placed = 0
        self._withheld: list[str] = []
        self._open(polytope, is_auction=number % 2 == 0)
        self._interval = self._engine.areas[AREA].intervals[FIRST_MS]
        self._headroom = self._interval.headroom

    def _open(self, polytope: Polytope, *, is_auction: bool) -> None:
        most = int(self._caps.max(initial=0)) + LOT_W
        caps = self._caps.tolist()
        terms = tuple(
            CustomerTerms(name, caps[position], caps[position + self._half], 0, 0, most, 10**6) for position, name in enumerate(self._names)
        )
        limits = self.limits_w.tolist()
        opening = OpenInterval(AREA, FIRST_MS, polytope.content_hash, tuple(limits[: self._half]), tuple(limits[self._half :]))
        self._apply(OpenArea(AREA, RULES, terms))
        self._apply(InstallRows(AREA, polytope.to_bytes()))
        self._apply(msgspec.structs.replace(opening, phase="auction" if is_auction else "continuous"))
        self._apply(msgspec.structs.replace(opening, interval_ms=SECOND_MS))

    def trade(self, count: int) -> None:
        rng = self._rng
        away = 1 / self._weight
        sides = rng.random(count) < 0.5
        buyers = rng.choice(2 * self._half, size=count, p=self._weight)
        sellers = rng.choice(2 * self._half, size=count, p=away / away.sum())
        wanted = np.exp(rng.uniform(0, np.log(np.quantile(self._caps, 0.9) + 1), count)).astype(np.int64)
        self._withhold()
        for is_buy, buyer, seller, watts in zip(sides.tolist(), buyers.tolist(), sellers.tolist(), wanted.tolist(), strict=True):
            self._ask("buy" if is_buy else "sell", buyer if is_buy else seller, watts)
        self._uncross()
        self.trades += count
        self.limits_w[:] = self._interval.ledger.holding_w[: 2 * self._half]

    def _ask(self, side: Side, right: int, watts: int) -> None:
        """One random order, with joint fills for some; the books are emptied when they have grown."""
        rng, ledger = self._rng, self._interval.ledger
        draw = rng.random(5).tolist()
        free_w = ledger.buyable_w(right) if side == "buy" else ledger.sellable_w(right)
        quantity_w = min(watts, free_w) // LOT_W * LOT_W
        if quantity_w <= 0:
            return
        is_block, is_iceberg = draw[0] < BLOCK, draw[1] < ICEBERG and quantity_w >= 4 * LOT_W
        price_mct = int(rng.integers(0, PRICE_MCT) // 10 * 10) + (PRICE_MCT // 2 if side == "buy" else 0)
        place = Place(
            AREA, self._names[right % self._half], f"o{next(self._ids)}", SECOND_MS if draw[2] < IN_SECOND and not is_block else FIRST_MS,
            "export" if right < self._half else "import", side, quantity_w, price_mct,
            "ioc" if draw[3] < AT_ONCE else "gate", 0,
            quantity_w // 3 // LOT_W * LOT_W if is_iceberg and not is_block else 0, 2 if is_block else 1,
        )  # fmt: skip
        proposal = self._proposer.propose(self._engine, place) if draw[4] < ASKED else None
        self._apply(proposal or place)
        self._placed += 1
        if self._placed == COLLECTED and self._interval.phase == "auction":
            self._uncross()
        if self._placed % max(KEPT_ORDERS, 2 * self._half) == 0:
            self._uncross()
            self._empty()

    def _uncross(self) -> None:
        is_over = self._interval.phase == "auction"
        uncross = self._proposer.uncross(self._engine, AREA, FIRST_MS, ends_auction=is_over)
        if uncross is not None or is_over:
            self._apply(uncross or Uncross(AREA, FIRST_MS, self._interval.rows_hash, (), ends_auction=True))

    def _empty(self) -> None:
        self._apply(Suspend(AREA, None, "the books are emptied"))
        self._apply(Reinstate(AREA, None, "the books are emptied"))

    def _withhold(self) -> None:
        """The operator offers what is left over of a row, drawn at random."""
        labels = self._polytope.labels
        if not labels:
            return
        label = labels[int(self._rng.integers(len(labels)))]
        name, price_mct = f"w{next(self._ids)}", int(self._rng.integers(0, PRICE_MCT) // 10 * 10)
        offered_w = int(self._rng.integers(1, 100)) * LOT_W
        self._apply(Withhold(AREA, name, FIRST_MS, label.kind, label.element, label.phase, "sell", offered_w, price_mct, "for sale"))
        self._withheld.append(name)

    def sell_headroom(self) -> None:
        """Purchases take what is left over, in lots; then as in any campaign, by the watt."""
        self._empty()
        for name in self._withheld:
            self._apply(Release(AREA, name, FIRST_MS, "nobody bought it"))
        order = self._rng.choice(2 * self._half, size=2 * self._half, replace=False, p=self._weight)
        for right in order.tolist():
            free_w = self._interval.ledger.buyable_w(right) // LOT_W * LOT_W
            if free_w:
                direction: Direction = "export" if right < self._half else "import"
                customer = self._names[right % self._half]
                self._apply(Place(AREA, customer, f"o{next(self._ids)}", FIRST_MS, direction, "buy", free_w, PRICE_MCT, "ioc"))
        self._engine.check()
        self.limits_w[:] = self._interval.ledger.holding_w[: 2 * self._half]
        self._headroom = Headroom(self._polytope, self.limits_w)
        super().sell_headroom()

    def _apply(self, command: Command) -> None:
        traded = [event.kind for event in self._engine.apply(command) if isinstance(event, Traded)]
        self.kinds.update(traded)
        self.accepted += len(traded)
