"""The ledger's arithmetic: what a holding is made of, what is reserved, and whose the cash is. Two customers, four rights."""

from __future__ import annotations

import pytest

from exchange.ledger import Ledger, cash_of

ALLOCATION = (5_000, 4_000, 3_000, 2_000)


def ledger() -> Ledger:
    return Ledger(ALLOCATION, (1_000,) * 4, (10_000,) * 4)


def test_a_holding_is_allocation_raised_bought_less_sold_and_rebased() -> None:
    made = ledger()
    made.raise_(0, 300)
    made.wanted_w[0], made.offered_w[0] = 200, 100
    made.receive(0, 200)
    made.give(0, 100)
    made.rebase(0, 50, 0)
    made.check()
    assert made.holding_w == [5_350, 4_000, 3_000, 2_000]
    assert (made.raised_w[0], made.bought_w[0], made.sold_w[0], made.rebased_w[0]) == (300, 200, 100, 50)


def test_what_is_offered_and_wanted_already_is_not_free_and_a_fill_takes_it_from_there() -> None:
    made = ledger()
    made.wanted_w[1], made.offered_w[1] = 700, 200
    assert (made.sellable_w(1), made.buyable_w(1)) == (2_800, 5_300)
    made.receive(1, 300)
    made.give(1, 150)
    assert (made.wanted_w[1], made.offered_w[1], made.holding_w[1]) == (400, 50, 4_150)


def test_customers_hold_two_rights_each() -> None:
    assert Ledger((1,) * 6, (0,) * 6, (1,) * 6).customers_rights == 6


def test_a_purchase_may_reach_the_rating() -> None:
    made = ledger()
    made.wanted_w[0] = 5_000
    made.check()


def test_what_is_raised_can_be_sold_and_takes_from_what_can_be_bought() -> None:
    made = ledger()
    assert (made.sellable_w(1), made.buyable_w(1)) == (3_000, 6_000)
    made.raise_(1, 500)
    assert (made.sellable_w(1), made.buyable_w(1)) == (3_500, 5_500)


def test_the_operator_pays_what_a_customer_is_compensated() -> None:
    made = ledger()
    made.rebase(1, 100, 70)
    made.rebase(3, 100, 30)
    made.check()
    assert (made.cash_mct, made.compensated_mct, made.operator_mct) == ([0, 100, -100], [0, 100], -100)


def test_a_right_of_the_operator_is_bounded_by_what_it_holds_and_by_no_rating() -> None:
    made = ledger()
    assert (made.customers_rights, made.add_right(700), made.add_right(0)) == (4, 4, 5)
    assert (made.sellable_w(4), made.buyable_w(5)) == (700, 2**62)
    made.offered_w[4] = 700
    made.give(4, 500)
    made.check()
    assert (made.holding_w[4], made.raised_w[4], made.sold_w[4]) == (200, 700, 500)


def test_what_the_operator_withheld_it_takes_back_for_nothing() -> None:
    made = ledger()
    right = made.add_right(700)
    made.lower(right, 700)
    made.check()
    assert (made.holding_w[right], made.cash_mct, made.compensated_mct) == (0, [0, 0, 0], [0, 0])


def test_the_operators_rights_end_when_they_are_empty_and_its_cash_stays() -> None:
    made = ledger()
    right = made.add_right(700)
    with pytest.raises(AssertionError, match="still holds"):
        made.drop_rights()
    made.rebase(0, 10, 7)
    made.lower(right, 700)
    made.drop_rights()
    made.check()
    assert (made.holding_w, made.operator_mct) == ([4_990, 4_000, 3_000, 2_000], -7)
    assert made.add_right(1) == right


def lost(made: Ledger) -> None:
    made.cash_mct[0] += 1


def raised(made: Ledger) -> None:
    made.raised_w[0] += 1


def operators(made: Ledger) -> None:
    made.holding_w[made.add_right(5)] -= 1


def uncovered(made: Ledger) -> None:
    made.offered_w[0] = 4_001


def oversold(made: Ledger) -> None:
    made.offered_w[made.add_right(5)] = 6


def above(made: Ledger) -> None:
    made.wanted_w[0] = 5_001


def negative(made: Ledger) -> None:
    made.raise_(0, -1)


@pytest.mark.parametrize("spoil", [lost, raised, operators, uncovered, oversold, above, negative])
def test_check_notices(spoil: object) -> None:
    made = ledger()
    made.check()
    assert callable(spoil)
    spoil(made)
    with pytest.raises(AssertionError):
        made.check()


def test_cash_is_rounded_down_to_the_milli_cent() -> None:
    """1 kW at 1 mct/kWh for an hour is 1 mct; a watt less is not."""
    assert (cash_of(1_000, 1, 3_600_000), cash_of(999, 1, 3_600_000)) == (1, 0)
