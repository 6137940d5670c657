"""Settlement: watts add up by right, cash by interval, from events alone; what does not is named."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from exchange.engine import Engine
from exchange.events import Event, IntervalOpened, Leg, Raised, Rebased, Settled, Traded
from replay.settlement import OPERATOR, SETTLEMENT, Books, settle, totals
from replay.tabular import write
from tests.recorded import HOMES, day

OPENED = IntervalOpened(1, "lv", 0, "rows", ("anna", "ben"), (100, 200), (300, 400), "continuous")


def leg(customer: str, direction: str, change_w: int, cash_mct: int, holding_w: int) -> Leg:
    side = "buy" if change_w > 0 else "sell"
    return Leg(customer, "o", side, direction, change_w, 0, cash_mct, 0, holding_w, 0)  # type: ignore[arg-type]


def trade(*legs: Leg, operator_mct: int = 0) -> Traded:
    return Traded(2, "lv", 0, legs, "pair", operator_mct)


def events(seed: int, **settings: object) -> list[Event]:
    engine = Engine()
    return [event for command in day(seed, **settings) for event in engine.apply(command)]


def test_what_happened_to_a_right_is_booked_by_kind() -> None:
    told = [
        OPENED,
        trade(leg("anna", "export", 30, -500, 130), leg("ben", "import", -60, 450, 340), operator_mct=50),
        Rebased(3, "lv", 0, "anna", "export", 20, 1_000, 7, "limits", 110),
        Raised(4, "lv", 0, "ben", "export", 5, "refresh", 205),
    ]
    (statement,), problems = settle(told)
    assert problems == []
    anna, ben = statement.accounts
    assert (anna.allocation_w, anna.bought_w, anna.rebased_w, anna.holding_w) == ((100, 300), (30, 0), (20, 0), (110, 300))
    assert (ben.raised_w, ben.sold_w, ben.holding_w) == ((5, 0), (0, 60), (205, 340))
    assert (anna.cash_mct, anna.compensated_mct, ben.cash_mct, statement.operator_mct) == (-493, 7, 450, 43)
    assert (statement.state, statement.balance_mct()) == ("open", 0)


def test_the_operators_headroom_counts_as_its_cash_and_nobodys_watts() -> None:
    (statement,), problems = settle([OPENED, trade(leg("anna", "export", 30, -500, 130), leg(OPERATOR, "export", -30, 500, 70))])
    assert problems == []
    assert (statement.operator_mct, statement.accounts[0].cash_mct) == (500, -500)


@pytest.mark.parametrize("matching", ["one_to_one", "exchange_rate"])
@pytest.mark.parametrize("seed", range(3))
def test_a_day_adds_up_and_is_what_the_exchange_settled(seed: int, matching: str) -> None:
    told = events(seed, matching=matching)
    statements, problems = settle(told)
    assert problems == []
    assert [statement.state for statement in statements] == ["settled", "open"]
    assert all(statement.balance_mct() == 0 for statement in statements)
    (settled,) = (event for event in told if isinstance(event, Settled))
    assert tuple(account.cash_mct for account in statements[0].accounts) == settled.cash_mct
    assert any(account.compensated_mct for account in statements[0].accounts)


def test_the_open_interval_holds_what_the_engine_says() -> None:
    engine = Engine()
    told = [event for command in day(4) for event in engine.apply(command)]
    statement = settle(told)[0][-1]
    export_w, import_w = engine.holdings("lv", statement.interval_ms)
    assert [account.holding_w for account in statement.accounts] == list(zip(export_w, import_w, strict=True))


def test_totals_are_by_customer_and_sum_to_zero_with_the_operator() -> None:
    statements, _ = settle(events(1))
    found = totals(statements)
    assert [total.customer for total in found] == [*HOMES, OPERATOR]
    assert sum(total.cash_mct for total in found) == sum(total.compensated_mct for total in found) == 0
    assert totals([]) == []


def test_what_does_not_add_up_is_named() -> None:
    books = Books()
    books.take(OPENED)
    books.take(trade(leg("anna", "export", 30, -500, 131), leg("ben", "export", -30, 499, 170)))
    assert books.problems == [
        "trade 2: the cash of its legs and the operator comes to -1 mct, not to zero",
        "event 2: anna holds 130 W of export, the event says 131 W",
    ]
    books.open()
    assert books.problems[-1] == "interval 01 Jan 00:00 of lv: cash comes to -1 mct, not to zero"


def test_a_settlement_that_its_events_do_not_come_to_is_named() -> None:
    told = events(1)
    wrong = [
        msgspec.structs.replace(event, bought_w=(event.bought_w[0] + 1, *event.bought_w[1:])) if isinstance(event, Settled) else event
        for event in told
    ]
    assert any("bought_w as settled is not what its events come to" in problem for problem in settle(wrong)[1])


def test_the_table_has_a_row_for_each_customer_and_the_operator_and_cash_sums_to_zero(tmp_path: Path) -> None:
    statements, _ = settle(events(1))
    rows = [row for statement in statements for row in statement.rows()]
    write(tmp_path / "s.csv", SETTLEMENT, rows)
    with (tmp_path / "s.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["customer"] for row in read] == [*HOMES, OPERATOR] * 2
    for interval in {row["interval"] for row in read}:
        assert sum(int(row["cash_mct"]) for row in read if row["interval"] == interval) == 0
    for row in read:
        if row["customer"] != OPERATOR:
            gained = sum(int(row[f"{what}_export_w"]) for what in ("allocation", "raised", "bought"))
            assert gained - int(row["sold_export_w"]) - int(row["rebased_export_w"]) == int(row["holding_export_w"])
