"""The engine against the model in small markets, with Hypothesis choosing the commands: what fails, fails in a few lines.

The market is the hand-made feeder of test_engine_network.py, so that crossings are blocked often. Quantities are few and
coarse on purpose: equal prices, exact fills and full rows come up again and again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exchange import commands as c
from exchange.bounds import MATCHING, PRICING, SELF_TRADE
from tests.rulebook import AREA, CUSTOMERS, OPEN, SETTINGS, terms_of
from tests.test_engine_network import COLUMNS, LABELS, feeder
from tests.test_model import Pair

NEXT = OPEN + SETTINGS.interval_ms
customers = st.sampled_from(CUSTOMERS)
directions = st.sampled_from(["export", "import"])
sides = st.sampled_from(["buy", "sell"])
quantities = st.sampled_from([10, 20, 500, 1_000, 1_660, 1_670, 4_000])
prices = st.sampled_from([4_000, 9_990, 10_000, 10_010])
forces = st.sampled_from(["gate", "gate", "gate", "until", "ioc", "fok"])
displays = st.sampled_from([0, 0, 0, 10, 100, 500])
totals = st.one_of(quantities, st.sampled_from([0, 30, 400, 990]))
picks = st.integers(0, 30)
starts = st.sampled_from([OPEN, NEXT])
changes = st.lists(st.tuples(st.integers(0, 7), st.sampled_from([-500, -10, 10, 20, 500, 1_000])), max_size=4)
phases = st.sampled_from(["auction", "continuous", "continuous", "frozen", "delivery"])


class Exchange(RuleBasedStateMachine):
    @initialize(
        matching=st.sampled_from(MATCHING), self_trade=st.sampled_from(SELF_TRADE), pricing=st.sampled_from(PRICING),
        call_auctions=st.booleans(), pause_mct=st.sampled_from([0, 0, 15]), requests_max=st.sampled_from([4, 10_000, 10_000]),
        held_w=st.sampled_from([5_000, 5_700]),
    )  # fmt: skip
    def open(
        self, matching: str, self_trade: str, pricing: str, call_auctions: bool, pause_mct: int, requests_max: int, held_w: int
    ) -> None:
        self.pair, self.ids, self.sent = Pair(), 0, list[Any]()
        rules = {"matching": matching, "self_trade": self_trade, "auction_pricing": pricing, "call_auctions": call_auctions}
        market = msgspec.structs.replace(SETTINGS, pause_mct=pause_mct, requests_max=requests_max, **rules)
        rows, limits = feeder(), (held_w,) * 3
        self.pair.apply(c.OpenArea(AREA, market, terms_of(*CUSTOMERS, open_orders_max=6)))
        self.pair.apply(c.InstallRows(AREA, rows.to_bytes()))
        for start_ms in (OPEN, NEXT):
            self.pair.apply(c.OpenInterval(AREA, start_ms, rows.content_hash, limits, limits))

    def _send(self, command: c.CustomerCommand | c.Sweep) -> None:
        self.sent.append(command)
        self.pair.apply(command)

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"

    def _order(self, pick: int) -> tuple[str, str]:
        """(customer, order id) of an order that rests, or of one that never was."""
        live = [(name, order.order_id) for name in CUSTOMERS for order in self.pair.engine.open_orders(AREA, name)]
        return live[pick % len(live)] if live else ("alice", "none")

    @rule(customer=customers, direction=directions, side=sides, quantity=quantities, price=prices, force=forces, start=starts,
          display=displays, proposed=st.none() | changes)  # fmt: skip
    def place(
        self, customer: str, direction: c.Direction, side: c.Side, quantity: int, price: int, force: c.TimeInForce, start: int,
        display: int, proposed: list[tuple[int, int]] | None,
    ) -> None:  # fmt: skip
        until_ms = self.pair.model.now_ms + 10
        place = c.Place(AREA, customer, self._id(), start, direction, side, quantity, price, force, until_ms, display)
        self._send(place if proposed is None else c.Sweep(place, tuple(c.Change(*change) for change in proposed)))

    @rule(customer=customers, direction=directions, side=sides, quantity=quantities, price=prices, force=forces)
    def place_block(
        self, customer: str, direction: c.Direction, side: c.Side, quantity: int, price: int, force: c.TimeInForce
    ) -> None:  # fmt: skip
        until_ms = self.pair.model.now_ms + 10
        self._send(c.Place(AREA, customer, self._id(), OPEN, direction, side, quantity, price, force, until_ms, 0, 2))

    @rule(pick=picks, total=totals, price=prices)
    def replace(self, pick: int, total: int, price: int) -> None:
        customer, order_id = self._order(pick)
        self._send(c.Replace(AREA, customer, self._id(), order_id, total, price))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        customer, order_id = self._order(pick)
        self._send(c.Cancel(AREA, customer, self._id(), order_id))

    @rule(customer=customers, interval_ms=st.none() | starts)
    def cancel_all(self, customer: str, interval_ms: int | None) -> None:
        self._send(c.MassCancel(AREA, customer, self._id(), interval_ms))

    @rule(pick=picks)
    def repeat(self, pick: int) -> None:
        if self.sent:
            self.pair.apply(self.sent[-1 - pick % len(self.sent)])

    @rule(more_ms=st.integers(0, 12))
    def advance(self, more_ms: int) -> None:
        self.pair.apply(c.Advance(self.pair.model.now_ms + more_ms))

    @rule(area=st.sampled_from([None, AREA]), interval_ms=st.none() | starts, direction=st.none() | directions)
    def halt(self, area: str | None, interval_ms: int | None, direction: c.Direction | None) -> None:
        self.pair.apply(c.Halt(area, interval_ms, "storm", direction))

    @rule(pick=picks)
    def resume(self, pick: int) -> None:
        halts = self.pair.model.halts or [(AREA, None, None)]
        area, interval_ms, direction = halts[pick % len(halts)]
        self.pair.apply(c.Resume(area, interval_ms, "calm", direction))  # type: ignore[arg-type]

    @rule(customer=st.none() | customers, on=st.booleans())
    def suspend_or_reinstate(self, customer: str | None, on: bool) -> None:
        self.pair.apply(c.Suspend(AREA, customer, "unpaid") if on else c.Reinstate(AREA, customer, "paid"))

    @rule(start=starts, phase=phases)
    def enter_phase(self, start: int, phase: c.Phase) -> None:
        self.pair.apply(c.EnterPhase(AREA, start, phase, "plan"))

    @rule(start=starts, proposed=changes, ends=st.booleans(), row_price=st.sampled_from([(), (0, 0, 0), (9_000, 0, 0), (1,)]))
    def uncross(self, start: int, proposed: list[tuple[int, int]], ends: bool, row_price: tuple[int, ...]) -> None:
        known = self.pair.model.areas[AREA].intervals.get(start)
        rows_hash = known.rows.name if known else ""
        self.pair.apply(c.Uncross(AREA, start, rows_hash, tuple(c.Change(*change) for change in proposed), ends, row_price))

    @rule(start=starts, row=st.sampled_from(LABELS), side=sides, quantity=quantities, price=prices)
    def withhold(self, start: int, row: Any, side: c.Side, quantity: int, price: int) -> None:
        named = (row.kind, row.element, row.phase)
        self.pair.apply(c.Withhold(AREA, self._id(), start, *named, side, quantity, price, "reserve"))

    @rule(start=starts, pick=picks)
    def release(self, start: int, pick: int) -> None:
        known = self.pair.model.areas[AREA].intervals.get(start)
        held = [order.order_id for order in known.withheld] if known else []
        self.pair.apply(c.Release(AREA, held[pick % len(held)] if held else "none", start, "no need"))

    @rule(start=starts, retire=st.booleans())
    def close_or_retire(self, start: int, retire: bool) -> None:
        self.pair.apply(c.RetireInterval(AREA, start) if retire else c.CloseGate(None, start))

    @rule(
        start=starts,
        lower=st.lists(st.sampled_from([0, 10, 1_000, 3_000]), min_size=6, max_size=6),
        raised=st.just(()) | st.lists(st.sampled_from([0, 0, 10, 500]), min_size=6, max_size=6),
        roomy=st.booleans(),
    )
    def change_rows(self, start: int, lower: list[int], raised: list[int], roomy: bool) -> None:
        rows = feeder([[take // 2 for take in takes] for takes in COLUMNS]) if roomy else feeder()
        self.pair.apply(c.InstallRows(AREA, rows.to_bytes()))
        known = self.pair.model.areas[AREA].intervals.get(start)
        held = known.holding() if known else [5_000] * 6
        limit_w = tuple(max(1_000, watts - less) for watts, less in zip(held, lower, strict=True))
        self.pair.apply(c.ChangeRows(AREA, start, rows.content_hash, limit_w, "limits", "", (), tuple(raised)))

    @rule()
    def restart(self) -> None:
        self.pair.restart()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()
            self.pair.compare_state()


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
