"""The engine against the model in small markets, with Hypothesis choosing the commands: what fails, fails in a few lines.

The market is the hand-made feeder of test_engine_network.py, so that crossings are blocked often. Quantities are few and
coarse on purpose: equal prices, exact fills and full rows come up again and again.
"""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exchange import commands as c
from tests.rulebook import AREA, CUSTOMERS, OPEN, SETTINGS, terms_of
from tests.test_engine_network import COLUMNS, feeder
from tests.test_model import Pair

customers = st.sampled_from(CUSTOMERS)
directions = st.sampled_from(["export", "import"])
sides = st.sampled_from(["buy", "sell"])
quantities = st.sampled_from([10, 20, 500, 1_000, 1_660, 1_670, 4_000])
prices = st.sampled_from([9_990, 10_000, 10_010])
forces = st.sampled_from(["gate", "gate", "gate", "until", "ioc", "fok"])
totals = st.one_of(quantities, st.sampled_from([0, 30, 400, 990]))
picks = st.integers(0, 30)


class Exchange(RuleBasedStateMachine):
    @initialize(self_trade=st.sampled_from(["cancel_incoming", "allow"]), both=st.booleans())
    def open(self, self_trade: str, both: bool) -> None:
        self.pair, self.ids, self.sent = Pair(), 0, []
        rows, limits = feeder(), (5_000, 5_000, 5_000)
        self.pair.apply(c.OpenArea(AREA, msgspec.structs.replace(SETTINGS, self_trade=self_trade), terms_of(*CUSTOMERS, open_orders_max=6)))
        self.pair.apply(c.InstallRows(AREA, rows.to_bytes()))
        for start_ms in (OPEN, 2 * OPEN) if both else (OPEN,):
            self.pair.apply(c.OpenInterval(AREA, start_ms, rows.content_hash, limits, limits))

    def _send(self, command: c.CustomerCommand) -> None:
        self.sent.append(command)
        self.pair.apply(command)

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"

    def _order(self, pick: int) -> tuple[str, str]:
        """(customer, order id) of an order that rests, or of one that never was."""
        live = [order for customer in CUSTOMERS for order in self._live(customer)]
        return live[pick % len(live)] if live else ("alice", "none")

    def _live(self, customer: str) -> list[tuple[str, str]]:
        return [(customer, order.order_id) for order in self.pair.engine.open_orders(AREA, customer)]

    @rule(customer=customers, direction=directions, side=sides, quantity=quantities, price=prices, force=forces, later=st.booleans())
    def place(
        self, customer: str, direction: c.Direction, side: c.Side, quantity: int, price: int, force: c.TimeInForce, later: bool
    ) -> None:
        interval_ms, until_ms = (2 * OPEN if later else OPEN), self.pair.model.now_ms + 10
        self._send(c.Place(AREA, customer, self._id(), interval_ms, direction, side, quantity, price, force, until_ms))

    @rule(pick=picks, total=totals, price=prices)
    def replace(self, pick: int, total: int, price: int) -> None:
        customer, order_id = self._order(pick)
        self._send(c.Replace(AREA, customer, self._id(), order_id, total, price))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        customer, order_id = self._order(pick)
        self._send(c.Cancel(AREA, customer, self._id(), order_id))

    @rule(customer=customers, interval_ms=st.sampled_from([None, OPEN, 2 * OPEN]))
    def cancel_all(self, customer: str, interval_ms: int | None) -> None:
        self._send(c.MassCancel(AREA, customer, self._id(), interval_ms))

    @rule(pick=picks)
    def repeat(self, pick: int) -> None:
        if self.sent:
            self.pair.apply(self.sent[-1 - pick % len(self.sent)])

    @rule(more_ms=st.integers(0, 12))
    def advance(self, more_ms: int) -> None:
        self.pair.apply(c.Advance(self.pair.model.now_ms + more_ms))

    @rule(area=st.sampled_from([None, AREA]), interval_ms=st.sampled_from([None, OPEN]), on=st.booleans())
    def halt_or_resume(self, area: str | None, interval_ms: int | None, on: bool) -> None:
        self.pair.apply(c.Halt(area, interval_ms, "storm") if on else c.Resume(area, interval_ms, "calm"))

    @rule(interval_ms=st.sampled_from([OPEN, 2 * OPEN]), retire=st.booleans())
    def close_or_retire(self, interval_ms: int, retire: bool) -> None:
        self.pair.apply(c.RetireInterval(AREA, interval_ms) if retire else c.CloseGate(None, interval_ms))

    @rule(
        interval_ms=st.sampled_from([OPEN, 2 * OPEN]),
        lower=st.lists(st.sampled_from([0, 10, 1_000, 3_000]), min_size=6, max_size=6),
        roomy=st.booleans(),
        picks=st.lists(picks, max_size=3),
    )
    def change_rows(self, interval_ms: int, lower: list[int], roomy: bool, picks: list[int]) -> None:
        rows = feeder([[take // 2 for take in takes] for takes in COLUMNS]) if roomy else feeder()
        self.pair.apply(c.InstallRows(AREA, rows.to_bytes()))
        known = self.pair.model.areas[AREA].intervals.get(interval_ms)
        held = known.holding() if known else [5_000] * 6
        limit_w = tuple(max(1_000, watts - less) for watts, less in zip(held, lower, strict=True))
        wake = tuple(c.OrderRef(*self._order(pick)) for pick in picks)
        self.pair.apply(c.ChangeRows(AREA, interval_ms, rows.content_hash, limit_w, "limits", "", (), wake))

    @rule()
    def restart(self) -> None:
        self.pair.restart()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "pair"):
            self.pair.engine.check()
            self.pair.compare_state()


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
