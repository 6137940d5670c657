"""What new rows bring, beside what they take: raises, the operator's headroom released, and orders that may trade by now.

The feeder and its figures are those of test_engine_network.py, the helpers those of test_engine_rebase.py.
"""

from __future__ import annotations

import msgspec
import pytest

from exchange import commands as c
from exchange.events import Blocked, Raised, RowsChanged, Traded
from exchange.snapshot import dump, load
from riskcheck.polytope import Polytope
from tests.rulebook import AREA, CLOSED, OPEN, Market
from tests.test_engine_network import COLUMNS, feeder
from tests.test_engine_rebase import FIVE, LABEL, change, limits, market, tell

TAP = c.DeviceSetting("transformer", "tap", -1)
ABSORB = c.DeviceSetting("bob", "reactive_var", -700)
WIDE = Polytope.from_rows([[1.0] * 6], [40_000.0], LABEL, [10_000] * 6)  # 10,000 W more than all hold
ALL = (6_000,) * 6  # nobody holds more


def raises(**raise_w: int) -> tuple[int, ...]:
    names = ("alice", "bob", "carol", "alice_import", "bob_import", "carol_import")
    return tuple(raise_w.get(name, 0) for name in names)


def wide() -> Market:
    made = market()
    made.do(c.InstallRows(AREA, WIDE.to_bytes()))
    return made


def place(made: Market, name: str, customer: str, side: c.Side, quantity_w: int, price_mct: int, **fields: object) -> str:
    command = c.Place(AREA, customer, name, OPEN, "export", side, quantity_w, price_mct)
    return tell(made, msgspec.structs.replace(command, **fields))


# --- raises -------------------------------------------------------------------------------------------------------


def test_more_room_is_given_on_top_of_what_each_holds_for_nothing() -> None:
    made = wide()
    raised = change(ALL, WIDE, cause="refresh", raise_w=raises(bob=300, alice_import=200))
    assert tell(made, raised) == "changed refresh; raised bob export +300 to 5300; raised alice import +200 to 5200"
    assert made.engine.holdings(AREA, OPEN) == ([5_000, 5_300, 5_000], [5_200, 5_000, 5_000])
    assert (set(made.engine.cash(AREA).values()), made.engine.operator_cash(AREA)) == ({0}, 0)


def test_what_one_loses_another_may_be_given_in_the_same_change() -> None:
    made = wide()
    swap = change(limits(alice=4_000), cause="refresh", raise_w=raises(alice=100, carol=900))
    assert tell(made, swap) == (
        "changed refresh; rebased alice export to 4000 paid 2500 @ 10000; "
        "raised alice export +100 to 4100; raised carol export +900 to 5900"
    )


def test_a_raise_tells_whom_where_and_why() -> None:
    _, raised = wide().do(change(ALL, WIDE, cause="refresh", raise_w=raises(bob=300)))
    assert raised == Raised(raised.sequence, AREA, OPEN, "bob", "export", 300, "refresh", 5_300)


def test_a_raise_is_measured_by_what_is_held_and_wanted_when_it_comes() -> None:
    """Bob's rating is 10,000 W. He wants 2,000 W besides the 5,000 W that he holds, 500 W of them as a block."""
    made = wide()
    made.do(c.OpenInterval(AREA, OPEN + 900_000, WIDE.content_hash, FIVE[:3], FIVE[3:]))
    place(made, "B1", "bob", "buy", 1_500, 9_000)
    place(made, "K1", "bob", "buy", 500, 1_000, intervals=2)
    assert tell(made, change(ALL, WIDE, raise_w=raises(bob=3_010))) == "refused invalid_raise"
    assert tell(made, change(ALL, WIDE, raise_w=raises(bob=3_000))) == "changed topology; raised bob export +3000 to 8000"


def test_what_was_bought_since_a_raise_was_computed_refuses_it_where_the_rows_have_no_room() -> None:
    """One more watt of carol's takes 4 of the far end, of which 5,000 were left: 1,250 W of them. Since alice sold
    her 1,000 W, 2,000 are."""
    made = market(feeder())
    place(made, "A1", "alice", "sell", 1_000, 9_000)
    place(made, "C1", "carol", "buy", 1_000, 9_000)
    assert tell(made, recourse(made, feeder(), raise_w=raises(carol=1_250))) == "refused insecure_raise"
    assert tell(made, recourse(made, feeder(), raise_w=raises(carol=500))) == "changed recourse; raised carol export +500 to 6500"


@pytest.mark.parametrize(
    "raise_w",
    [(1,) * 5, (1,) * 7, raises(carol_import=-1), raises(alice=5_001), raises(bob=2**31)],
    ids=["too few", "too many", "negative", "above the rating", "huge"],
)
def test_raises_are_one_for_each_right_and_fit_below_the_rating(raise_w: tuple[int, ...]) -> None:
    assert tell(wide(), change(ALL, WIDE, raise_w=raise_w)) == "refused invalid_raise"


def test_behind_a_closed_gate_holdings_rise_as_before_it() -> None:
    made = wide()
    assert tell(made, change(ALL, WIDE, interval_ms=CLOSED, raise_w=raises(bob=10))) == "changed topology; raised bob export +10 to 5010"


def test_what_was_raised_can_be_sold() -> None:
    made = wide()
    assert place(made, "A1", "alice", "sell", 4_010, 9_000) == "rejected not_covered"
    tell(made, change(ALL, WIDE, raise_w=raises(alice=10)))
    assert place(made, "A2", "alice", "sell", 4_010, 9_000) == "accepted A2"


# --- block orders and the operator's headroom ----------------------------------------------------------------------


def test_block_orders_that_lost_their_cover_go_before_the_orders_of_the_line() -> None:
    """Alice can sell 4,000 W and offers all: 1,000 W at once and two blocks of 1,500 W. At 3,900 W the dearer block goes, at 2,400 W
    the other; at 2,390 W nothing less than the order itself."""
    for limit_w, gone in ((3_900, ["K2"]), (2_400, ["K2", "K1"]), (2_000, ["K2", "K1"]), (1_990, ["K2", "K1", "A1"])):
        made = wide()
        made.do(c.OpenInterval(AREA, OPEN + 900_000, WIDE.content_hash, FIVE[:3], FIVE[3:]))
        place(made, "K2", "alice", "sell", 1_500, 9_100, intervals=2)
        place(made, "K1", "alice", "sell", 1_500, 9_000, intervals=2)
        place(made, "A1", "alice", "sell", 1_000, 9_900)
        told = tell(made, change(limits(alice=limit_w))).split("; ")
        assert [phrase.split()[1] for phrase in told if phrase.startswith("cancelled")] == gone


def test_a_block_loses_its_cover_in_any_of_its_intervals() -> None:
    made = wide()
    made.do(c.OpenInterval(AREA, OPEN + 900_000, WIDE.content_hash, FIVE[:3], FIVE[3:]))
    place(made, "K1", "alice", "sell", 1_500, 9_000, intervals=2)
    told = tell(made, change(limits(alice=2_000), interval_ms=OPEN + 900_000))
    assert told == "changed topology; cancelled K1 1500 rebased; rebased alice export to 2000 paid 7500 @ 10000"


def test_what_the_operator_withheld_is_released_before_its_rows_end() -> None:
    made = wide()
    made.do(change(ALL, WIDE))
    for name, side in (("W1", "sell"), ("W2", "buy")):
        made.do(c.Withhold(AREA, name, OPEN, "thermal", "transformer", "abc", side, 500, 50_000 if side == "sell" else 10, "reserve"))  # type: ignore[arg-type]
    assert tell(made, change()) == "released W1 500 and 500 open; released W2 0 and 500 open; changed topology"
    assert made.engine.areas[AREA].intervals[OPEN].withheld == {}
    assert len(made.engine.areas[AREA].intervals[OPEN].ledger.holding_w) == 6


# --- orders that may trade by now -----------------------------------------------------------------------------------

ROOMY = feeder([[take // 2 for take in takes] for takes in COLUMNS])  # as if an inverter held the voltage: half of each coefficient


def blocked() -> Market:
    made = market(feeder())
    place(made, "A1", "alice", "sell", 1_660, 10_000)
    place(made, "C1", "carol", "buy", 1_660, 10_000)
    place(made, "A2", "alice", "sell", 400, 9_000)
    place(made, "C2", "carol", "buy", 300, 9_000)
    place(made, "C3", "carol", "buy", 300, 9_000)
    made.do(c.InstallRows(AREA, ROOMY.to_bytes()))
    return made


def recourse(made: Market, rows: Polytope = ROOMY, **fields: object) -> c.ChangeRows:
    export_w, import_w = made.engine.holdings(AREA, OPEN)
    return change(tuple(export_w + import_w), rows, cause="recourse", settings=(TAP, ABSORB), **fields)


def test_the_trade_that_a_recourse_was_made_for_happens_in_the_same_command_and_by_priority() -> None:
    made = blocked()
    assert tell(made, recourse(made)) == "changed recourse; pair C2 +300 A2 -300; pair C3 +100 A2 -100"
    made.play("bids                                      9000: C3 200")
    assert made.engine.areas[AREA].intervals[OPEN].settings == (TAP, ABSORB)


def test_an_order_that_still_rests_keeps_its_place() -> None:
    made = blocked()
    made.do(c.Cancel(AREA, "alice", "x1", "A2"))
    assert tell(made, recourse(made)) == "changed recourse"
    made.play("bids                                   9000: C2 300, C3 300")


def test_an_order_that_the_change_itself_took_away_does_not_trade() -> None:
    made = blocked()
    lower = recourse(made)
    lower = msgspec.structs.replace(lower, limit_w=(1_000, *lower.limit_w[1:]))
    assert tell(made, lower) == "changed recourse; cancelled A2 400 rebased; rebased alice export to 1000 paid 5850 @ 10000"


def test_what_is_raised_is_no_longer_there_for_trades() -> None:
    """Holdings of 5,000 W (bob) and 6,660 W (carol, at 2 for a watt) leave 540 of this slack: 270 W for carol, by trade or by raise."""
    rows = Polytope(ROOMY.columns, 18_320 + 540, ROOMY.labels)
    for raised_w in (0, 270):
        made = blocked()
        made.do(c.InstallRows(AREA, rows.to_bytes()))
        told = tell(made, recourse(made, rows, raise_w=raises(carol=raised_w)))
        assert ("pair C2 +270 A2 -270" in told) == (raised_w == 0)
        assert int(made.engine.areas[AREA].intervals[OPEN].headroom.residual.min()) == 0


@pytest.mark.parametrize("phase", ["auction", "frozen"])
def test_nothing_trades_in_an_interval_that_does_not_trade_continuously(phase: c.Phase) -> None:
    made = blocked()
    made.do(c.EnterPhase(AREA, OPEN, phase, "plan"))
    assert tell(made, recourse(made)) == "changed recourse"


def test_what_owners_were_told_of_the_old_rows_is_told_again_of_the_new_ones() -> None:
    made = blocked()
    events = made.do(recourse(made, feeder()))
    assert [event.order_id for event in events if isinstance(event, Blocked)] == ["C2", "A2"]
    assert not any(isinstance(event, Traded) for event in events)


def test_settings_are_recorded_survive_a_snapshot_and_give_way_to_the_next_ones() -> None:
    made = blocked()
    made.do(recourse(made))
    raw = dump(made.engine)
    made.engine = load(raw)
    assert dump(made.engine) == raw
    assert made.engine.areas[AREA].intervals[OPEN].settings == (TAP, ABSORB)
    (changed,) = made.do(msgspec.structs.replace(recourse(made), settings=(TAP,)))
    assert isinstance(changed, RowsChanged)
    assert (changed.rows_hash, changed.rows, changed.detail, changed.settings) == (ROOMY.content_hash, 3, "switch 4 opened", (TAP,))
    assert made.engine.areas[AREA].intervals[OPEN].settings == (TAP,)
