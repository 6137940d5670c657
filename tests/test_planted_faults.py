"""Faults planted into the engine, one at a time: the race against the naive model must find each of them, and soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from exchange import engine, ledger, market, matching, rebase, snapshot
from exchange.book import Order, Queue
from exchange.receipts import Account
from exchange.rejects import Reason
from riskcheck.headroom import Headroom
from tests.test_model import run

COMMANDS, SEED = 12_000, 3
Patch = pytest.MonkeyPatch


def cash_rounded_up(patch: Patch) -> None:
    patch.setattr(matching, "cash_of", lambda quantity_w, price, ms: -(-quantity_w * price * ms // ledger.MCT_W_MS_PER_KWH))


def no_time_priority(patch: Patch) -> None:
    """The newest of a price level goes first."""
    add = Queue.add

    def put_first(queue: Queue, order: Order) -> None:
        queue.arrivals -= 2
        add(queue, order)

    patch.setattr(Queue, "add", put_first)


def time_priority_by_birth(patch: Patch) -> None:
    """A replaced order comes back to where its first acceptance puts it."""
    add = Queue.add

    def put_by_birth(queue: Queue, order: Order) -> None:
        queue.arrivals = order.born - 1
        add(queue, order)

    patch.setattr(Queue, "add", put_by_birth)


def trades_at_the_takers_price(patch: Patch) -> None:
    fill = matching._fill

    def at_takers_price(area: Any, interval: Any, taker: Order, maker: Order, *rest: int) -> Any:
        resting, maker.price_mct = maker.price_mct, taker.price_mct
        event = fill(area, interval, taker, maker, *rest)
        maker.price_mct = resting
        return event

    patch.setattr(matching, "_fill", at_takers_price)


def lot_forgotten(patch: Patch) -> None:
    trade = Headroom.trade_or_row
    patch.setattr(Headroom, "trade_or_row", lambda self, buyer, seller, wanted_w, lot_w=1: trade(self, buyer, seller, wanted_w, 1))


def unverified_quantity_executed(patch: Patch) -> None:
    """What a published prototype does after five failed shrinks."""
    sound = Headroom.trade_or_row

    def trade(self: Headroom, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> tuple[int, int]:
        quantity_w = wanted_w
        for _ in range(5):
            if (traded := sound(self, buyer, seller, quantity_w, lot_w)[0]) == quantity_w:
                return quantity_w, -1
            self.change(buyer, -traded)
            self.change(seller, traded)
            quantity_w = quantity_w // 2 // lot_w * lot_w
        self.change(buyer, quantity_w)
        self.change(seller, -quantity_w)
        return quantity_w, -1

    patch.setattr(Headroom, "trade_or_row", trade)


def network_ignored(patch: Patch) -> None:
    def trade(self: Headroom, buyer: int, seller: int, wanted_w: int, lot_w: int = 1) -> tuple[int, int]:
        self.change(buyer, wanted_w)
        self.change(seller, -wanted_w)
        return wanted_w, -1

    patch.setattr(Headroom, "trade_or_row", trade)


def killed_order_keeps_headroom(patch: Patch) -> None:
    patch.setattr(Headroom, "change", lambda self, right, change_w: None)


def blocked_pairs_never_asked_again(patch: Patch) -> None:
    """The memory of blocked pairs outlives the change of headroom that should end it."""
    shut_to = market.Interval.shut_to

    def remembered(interval: market.Interval, right: int, is_buy: bool) -> dict[int, int]:
        interval._shut = {key: (interval.changes, shut) for key, (_, shut) in interval._shut.items()}
        return shut_to(interval, right, is_buy)

    patch.setattr(market.Interval, "shut_to", remembered)


def owners_told_again_and_again(patch: Patch) -> None:
    blocked = matching._blocked

    def forgetful(area: Any, interval: Any, order: Order, *rest: int) -> Any:
        event = blocked(area, interval, order, *rest)
        order.told_row = -1
        return event

    patch.setattr(matching, "_blocked", forgetful)


def failsafe_forgotten(patch: Patch) -> None:
    patch.setattr(ledger.Ledger, "sellable_w", lambda self, right: self.holding_w[right] - self.offered_w[right])


def purchases_at_rest_not_counted(patch: Patch) -> None:
    patch.setattr(ledger.Ledger, "buyable_w", lambda self, right: self.rating_w[right] - self.holding_w[right])


def halts_of_an_interval_ignored(patch: Patch) -> None:
    patch.setattr(engine.Engine, "is_halted", lambda self, area, interval_ms: (None, None) in self.halts or (area, None) in self.halts)


def strangers_may_cancel(patch: Patch) -> None:
    accounts: list[Account] = []
    init, live_order = Account.__init__, Account.live_order

    def remember(self: Account, *rest: Any) -> None:
        init(self, *rest)
        accounts.append(self)

    patch.setattr(Account, "__init__", remember)
    patch.setattr(Account, "live_order", lambda self, order_id: next((o for a in accounts if (o := live_order(a, order_id))), None))


def ids_outlive_their_interval(patch: Patch) -> None:
    retire = market.Area.retire

    def keep(self: market.Area, interval: market.Interval) -> None:
        interval.remembered.clear()
        retire(self, interval)

    patch.setattr(market.Area, "retire", keep)


def snapshot_forgets_what_expires(patch: Patch) -> None:
    load = snapshot.load

    def forgetful(raw: bytes) -> engine.Engine:
        loaded = load(raw)
        loaded.expiries.clear()
        return loaded

    patch.setattr("tests.test_model.load", forgetful)


def compensation_from_nowhere(patch: Patch) -> None:
    """It is paid to the customer, and not booked on the operator."""
    rebase_right = ledger.Ledger.rebase

    def forgetful(self: ledger.Ledger, right: int, quantity_w: int, cash_mct: int) -> None:
        operator_mct = self.operator_mct
        rebase_right(self, right, quantity_w, cash_mct)
        self.operator_mct = operator_mct

    patch.setattr(ledger.Ledger, "rebase", forgetful)


def holdings_rise_to_the_limits(patch: Patch) -> None:
    """The limit instead of min(holding, limit)."""
    patch.setattr(rebase, "_exceeded", lambda interval, limits_w: [
        (right, limit_w) for right, limit_w in enumerate(limits_w) if limit_w != interval.ledger.holding_w[right]
    ])  # fmt: skip


def old_rows_stay_in_force(patch: Patch) -> None:
    install = market.Interval.install

    def keep(self: market.Interval, rows: Any, settings: Any) -> None:
        headroom = self.headroom
        install(self, rows, settings)
        self.headroom = headroom

    patch.setattr(market.Interval, "install", keep)


def insecure_limits_accepted(patch: Patch) -> None:
    refuse_limits = rebase._refuse_limits

    def trusting(*given: Any) -> Any:
        refusal = refuse_limits(*given)
        return None if refusal is not None and refusal[0] is Reason.INSECURE_LIMITS else refusal

    patch.setattr(rebase, "_refuse_limits", trusting)


def sales_left_uncovered(patch: Patch) -> None:
    patch.setattr(rebase, "_uncovered", lambda interval, direction, right, quantity_w: [])


def snapshot_forgets_the_last_price(patch: Patch) -> None:
    load = snapshot.load

    def forgetful(raw: bytes) -> engine.Engine:
        loaded = load(raw)
        for area in loaded.areas.values():
            for interval in area.intervals.values():
                interval.last_price_mct = {}
        return loaded

    patch.setattr("tests.test_model.load", forgetful)


FAULTS: list[Callable[[Patch], None]] = [
    cash_rounded_up, no_time_priority, time_priority_by_birth, trades_at_the_takers_price, lot_forgotten, unverified_quantity_executed,
    network_ignored, killed_order_keeps_headroom, blocked_pairs_never_asked_again, owners_told_again_and_again, failsafe_forgotten,
    purchases_at_rest_not_counted, halts_of_an_interval_ignored, strangers_may_cancel, ids_outlive_their_interval,
    snapshot_forgets_what_expires, compensation_from_nowhere, holdings_rise_to_the_limits, old_rows_stay_in_force, insecure_limits_accepted,
    sales_left_uncovered, snapshot_forgets_the_last_price,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    fault(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        run(COMMANDS, SEED)
