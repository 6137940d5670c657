"""Rows that change while the market is open: who loses what, what is paid for it, which orders go, and what is refused.

The feeder and its figures are those of test_engine_network.py. A compensation without a trade is 10,000 mct/kWh: 1,000 W for a
quarter of an hour are 0.25 kWh, so 2,500 mct.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange.rejects import Reason
from exchange.snapshot import dump, load
from replay import tape
from replay.rebuild import moment, rebuild
from replay.verify import verify
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, CLOSED, OPEN, SETTINGS, UNKNOWN, Market
from tests.story import story
from tests.test_node import decide, opening, place

FIVE = (5_000,) * 6
LABEL = [RowLabel("thermal", "transformer", "abc")]
ROWS = Polytope(np.ones((6, 1), dtype=np.int32), 30_000, LABEL)
TOO_TIGHT = Polytope(np.ones((6, 1), dtype=np.int32), 5_999, LABEL)  # the failsafe envelopes are 6,000 W
TAP = c.DeviceSetting("transformer", "tap", -1)
ABSORB = c.DeviceSetting("bob", "reactive_var", -700)


def market(rows: Polytope | None = None, **settings: object) -> Market:
    made = Market(rows, msgspec.structs.replace(SETTINGS, **settings))
    for other in (ROWS, TOO_TIGHT):
        made.do(c.InstallRows(AREA, other.to_bytes()))
    return made


def tell(made: Market, command: c.Command) -> str:
    return story(made.do(command))


def change(limit_w: tuple[int, ...] = FIVE, rows: Polytope = ROWS, **fields: object) -> c.ChangeRows:
    command = c.ChangeRows(AREA, OPEN, rows.content_hash, limit_w, "topology", "switch 4 opened")
    return msgspec.structs.replace(command, **fields)


def limits(**lower_w: int) -> tuple[int, ...]:
    """5,000 W each, but for those named: alice's export limit, and so on."""
    names = ("alice", "bob", "carol", "alice_import", "bob_import", "carol_import")
    return tuple(lower_w.get(name, 5_000) for name in names)


def test_holdings_fall_to_the_limits_and_the_operator_pays() -> None:
    made = market()
    told = tell(made, change(limits(alice=4_000, carol_import=3_000)))
    assert told == (
        "changed topology; rebased alice export to 4000 paid 2500 @ 10000; rebased carol import to 3000 paid 5000 @ 10000"
    )  # fmt: skip
    assert made.engine.holdings(AREA, OPEN) == ([4_000, 5_000, 5_000], [5_000, 5_000, 3_000])
    assert made.engine.cash(AREA) == {"alice": 2_500, "bob": 0, "carol": 5_000}
    assert made.engine.operator_cash(AREA) == -7_500


def test_the_price_is_that_of_the_last_trade_of_the_same_book_up_to_the_compensation() -> None:
    """Twice traded in the export book, at last at 12,300; nobody has traded in the import book."""
    traded = """
        place A1 alice sell 400 @ 12500           rested 400
        place B1 bob buy 200 @ 12500              traded 200 @ 12500 maker A1
        place A2 alice sell 200 @ 12300           rested 200
        place B2 bob buy 200 @ 12300              traded 200 @ 12300 maker A2
        """
    lower = change(limits(bob=5_300, carol=4_000, carol_import=4_000))
    for compensation_mct, export_mct, import_mct in ((20_000, 12_300, 20_000), (12_300, 12_300, 12_300), (4_000, 4_000, 4_000)):
        made = market(compensation_mct=compensation_mct).play(traded)
        assert tell(made, lower).split("; ")[1:] == [
            f"rebased bob export to 5300 paid {export_mct // 40} @ {export_mct}",
            f"rebased carol export to 4000 paid {export_mct // 4} @ {export_mct}",
            f"rebased carol import to 4000 paid {import_mct // 4} @ {import_mct}",
        ]


def test_a_proposal_is_never_stale() -> None:
    """It was made when all held 5,000 W. Meanwhile bob bought 1,000 W from alice: he loses more, and she gets nothing back."""
    made = market()
    made.play("""
        place A1 alice sell 1000 @ 12000          rested 1000
        place B1 bob buy 1000 @ 12000             traded 1000 @ 12000 maker A1
        """)
    assert tell(made, change(limits(alice=4_500, bob=4_500))) == "changed topology; rebased bob export to 4500 paid 3750 @ 10000"
    assert made.engine.holdings(AREA, OPEN)[0] == [4_000, 4_500, 5_000]


def test_sales_that_no_longer_fit_go_whole_and_the_last_in_priority_first() -> None:
    """Of 4,000 W above the failsafe 3,600 W are offered; at 3,000 W only 2,000 W can be: A2 (1,000 W, the dearest), then A4, the later
    of the two at 9,000."""
    made = market()
    made.play("""
        place A1 alice sell 1000 @ 9000           rested 1000
        place A2 alice sell 1000 @ 9100           rested 1000
        place A3 alice sell 600 @ 8900            rested 600
        place A4 alice sell 1000 @ 9000           rested 1000
        place A5 alice buy 700 @ 8000             rested 700
        place A6 alice sell 400 @ 9900 import     rested 400
        place B1 bob sell 4000 @ 9900             rested 4000
        """)
    assert tell(made, change(limits(alice=3_000))) == (
        "changed topology; cancelled A2 1000 rebased; cancelled A4 1000 rebased; rebased alice export to 3000 paid 5000 @ 10000"
    )
    made.play("""
        asks                                      8900: A3 600; 9000: A1 1000; 9900: B1 4000
        bids                                      8000: A5 700
        asks import                               9900: A6 400
        place A7 alice sell 400 @ 9000            rested 400
        place A8 alice sell 10 @ 9000             rejected not_covered
        """)


def test_behind_a_closed_gate_holdings_fall_as_before_it_and_the_account_is_settled_at_the_end() -> None:
    made = market()
    assert tell(made, change(limits(bob=4_000), interval_ms=CLOSED)) == "changed topology; rebased bob export to 4000 paid 2500 @ 10000"
    assert made.engine.holdings(AREA, CLOSED)[0] == [5_000, 4_000, 5_000]
    made.do(c.RetireInterval(AREA, CLOSED))
    assert (made.engine.cash(AREA)["bob"], made.engine.operator_cash(AREA)) == (2_500, -2_500)


def test_a_halted_interval_is_changed_and_stays_halted() -> None:
    made = market()
    made.do(c.Halt(None, None, "storm"))
    assert tell(made, change(limits(bob=4_000))) == "changed topology; rebased bob export to 4000 paid 2500 @ 10000"
    assert made.ask("place B1 bob buy 500 @ 9000") == "rejected halted"


def test_a_proposal_made_from_rows_that_are_no_longer_in_force_is_refused() -> None:
    """An audit has tightened the rows while a recourse was computed on the old ones: it must not loosen them again."""
    made = market()
    before, tighter = made.rows.content_hash, change(cause="audit", replaces_hash=made.rows.content_hash)
    assert tell(made, tighter) == "changed audit"
    assert tell(made, change(cause="recourse", replaces_hash=before)) == "refused stale_rows"
    assert tell(made, change(cause="recourse", replaces_hash=ROWS.content_hash)) == "changed recourse"


def spoil(**fields: object) -> Callable[[c.ChangeRows], c.ChangeRows]:
    return lambda command: msgspec.structs.replace(command, **fields)


SPOILERS: dict[Reason, Callable[[c.ChangeRows], c.ChangeRows]] = {
    Reason.UNKNOWN_AREA: spoil(area="nowhere"),
    Reason.UNKNOWN_INTERVAL: spoil(interval_ms=UNKNOWN),
    Reason.UNKNOWN_ROWS: spoil(rows_hash="no such rows"),
    Reason.STALE_ROWS: spoil(replaces_hash=TOO_TIGHT.content_hash),
    Reason.INVALID_LIMITS: spoil(limit_w=FIVE[1:]),
    Reason.LIMIT_OUT_OF_BOUNDS: spoil(limit_w=limits(alice=999)),
    Reason.INSECURE_FAILSAFE: spoil(rows_hash=TOO_TIGHT.content_hash),
    Reason.INSECURE_LIMITS: spoil(limit_w=limits(alice=5_010)),
    Reason.INVALID_RAISE: spoil(raise_w=(1,)),
    Reason.INSECURE_RAISE: spoil(raise_w=(10, 0, 0, 0, 0, 0)),
    Reason.INVALID_DEVICE_SETTING: spoil(settings=(c.DeviceSetting("mallory", "reactive_var", 1),)),
}
# These spoil the same field, so that the later of the two hides the earlier.
SAME = [
    [Reason.INVALID_LIMITS, Reason.LIMIT_OUT_OF_BOUNDS, Reason.INSECURE_LIMITS],
    [Reason.UNKNOWN_ROWS, Reason.INSECURE_FAILSAFE],
    [Reason.INVALID_RAISE, Reason.INSECURE_RAISE],
]
PAIRS = [pair for pair in combinations(SPOILERS, 2) if not any(set(pair) <= set(same) for same in SAME)]


@pytest.mark.parametrize("reasons", [*combinations(SPOILERS, 1), *PAIRS], ids="+".join)
def test_a_change_is_refused_for_the_earlier_reason_and_nothing_changes(reasons: tuple[Reason, ...]) -> None:
    made, command = market(), change()
    before = dump(made.engine)
    for reason in reasons:
        command = SPOILERS[reason](command)
    assert tell(made, command) == f"refused {reasons[0]}"
    made.engine.sequence -= 1
    assert dump(made.engine) == before


@pytest.mark.parametrize("limit_w", [limits(bob=-1), limits(bob=10_001), limits(bob=2**40)], ids=["negative", "over the rating", "huge"])
def test_a_limit_lies_between_failsafe_and_rating(limit_w: tuple[int, ...]) -> None:
    assert tell(market(), change(limit_w)) == "refused limit_out_of_bounds"


@pytest.mark.parametrize(
    "settings",
    [
        (c.DeviceSetting("", "tap", 0),),
        (TAP, TAP),
        (c.DeviceSetting("transformer", "reactive_var", 0),),
        (c.DeviceSetting("bob", "tap", 2**31),),
    ],
    ids=["no name", "twice", "no customer", "out of bounds"],
)
def test_settings_name_each_device_once(settings: tuple[c.DeviceSetting, ...]) -> None:
    assert tell(market(), change(settings=settings)) == "refused invalid_device_setting"


def test_the_refusal_names_the_row_that_breaks() -> None:
    (refused,) = market().do(change(rows=TOO_TIGHT, limit_w=(1_000,) * 6))
    assert "failsafe envelopes break overload of transformer phase abc" in refused.detail  # type: ignore[union-attr]


def test_a_state_with_lowered_holdings_comes_back_with_its_accounts() -> None:
    made = market()
    made.do(change(limits(alice=4_000)))
    again = load(dump(made.engine))
    assert dump(again) == dump(made.engine)
    assert again.operator_cash(AREA) == -2_500
    assert made.do(change(limits(alice=3_000))) == again.apply(change(limits(alice=3_000)))


def test_a_journal_with_changed_rows_leads_to_the_same_events_and_is_told_in_words(tmp_path: Path) -> None:
    half = 5 * 10**7
    rows = Polytope(np.ones((4, 1), dtype=np.int32), 2**40, LABEL)
    lower = c.ChangeRows("lv", 0, rows.content_hash, (half - 1_000, half, half, half), "limits", "line 3 cooled less", (TAP,))
    path = tmp_path / "journal.sqlite"
    decide(path, [*opening(), place(1)])
    _, released = decide(path, [c.InstallRows("lv", rows.to_bytes()), lower])
    told = "\n".join(tape.lines(released[-1]))
    assert f"in lv has other rows (limits: line 3 cooled less): 1 rows, hash {rows.content_hash}, transformer tap -1" in told
    assert "REBASED alice -1000 W export (holds 49999000 W), paid 2500 mct at 10.00 ct/kWh: limits" in told
    decide(path, [c.CloseGate(None, 0), c.RetireInterval("lv", 0)])
    assert verify(path).snapshots == 3
    engine, _ = rebuild(path)
    assert moment(engine, 3)["areas"]["lv"] == {"cash_mct": {"alice": 2_500, "bob": 0}, "operator_mct": -2_500, "intervals": {}}
