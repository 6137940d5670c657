"""The operator's hand: halts and their scopes, the kill switch, amended bounds. Every action is recorded with its reason."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from exchange import commands as c
from exchange.bounds import FIXED_SETTINGS, MarketSettings
from exchange.snapshot import dump, load
from tests.rulebook import AREA, OPEN, SETTINGS, UNKNOWN, Market
from tests.story import story
from tests.test_engine_network import COLUMNS, feeder

LATER = OPEN + 900_000
Scope = tuple[str | None, int | None, c.Direction | None]
#                                          what is halted of (export, import) in OPEN, and in LATER
SCOPES: list[tuple[Scope, tuple[bool, bool, bool, bool]]] = [
    ((None, None, None), (True, True, True, True)),
    ((AREA, None, None), (True, True, True, True)),
    ((None, OPEN, None), (True, True, False, False)),
    ((AREA, OPEN, None), (True, True, False, False)),
    ((AREA, OPEN, "import"), (False, True, False, False)),
    ((None, OPEN, "export"), (True, False, False, False)),
    ((AREA, UNKNOWN, None), (False, False, False, False)),
]


def market(rows: object = None, **settings: object) -> Market:
    made = Market(rows, msgspec.structs.replace(SETTINGS, **settings))  # type: ignore[arg-type]
    made.do(c.OpenInterval(AREA, LATER, made.rows.content_hash, made.allocation, made.allocation))
    return made


def halt(made: Market, scope: Scope, reason: str = "storm") -> str:
    return story(made.do(c.Halt(scope[0], scope[1], reason, scope[2])))


def resume(made: Market, scope: Scope, reason: str = "calm") -> str:
    return story(made.do(c.Resume(scope[0], scope[1], reason, scope[2])))


def place(made: Market, name: str, customer: str, side: c.Side, quantity_w: int, price_mct: int, **fields: object) -> str:
    command = c.Place(AREA, customer, name, OPEN, "export", side, quantity_w, price_mct)
    return story(made.do(msgspec.structs.replace(command, **fields)))


# --- halts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "halted"), SCOPES)
def test_a_halt_stops_what_lies_in_its_scope_and_nothing_else(scope: Scope, halted: tuple[bool, ...]) -> None:
    made = market()
    halt(made, scope)
    told = [
        place(made, f"{start_ms}{direction}", "alice", "sell", 100, 9_000, interval_ms=start_ms, direction=direction)
        for start_ms, direction in product((OPEN, LATER), ("export", "import"))
    ]
    assert [answer == "rejected halted" for answer in told] == list(halted)


def test_cancels_work_in_a_halted_market_and_replacing_does_not() -> None:
    made = market()
    place(made, "A1", "alice", "sell", 500, 9_000)
    assert halt(made, (AREA, OPEN, "export")) == f"halted {AREA} {OPEN} export for storm"
    assert story(made.do(c.Replace(AREA, "alice", "r1", "A1", 300, 9_000))) == "rejected halted"
    assert story(made.do(c.Cancel(AREA, "alice", "x1", "A1"))) == "cancelled A1 500 request"


def test_a_book_is_named_with_its_interval() -> None:
    made = market()
    for area in (AREA, None):
        assert halt(made, (area, None, "export")) == "refused unknown_interval"
        assert resume(made, (area, None, "export")) == "refused unknown_interval"
    assert halt(made, ("nowhere", None, "export")) == resume(made, ("nowhere", None, "export")) == "refused unknown_area"


def test_a_resume_takes_back_the_halt_of_its_own_scope_only() -> None:
    made = market()
    halt(made, (None, None, None))
    halt(made, (AREA, OPEN, "export"))
    assert resume(made, (AREA, OPEN, None)) == "refused not_halted"
    assert resume(made, (None, None, None)) == "resumed all for calm"
    assert place(made, "A1", "alice", "sell", 100, 9_000) == "rejected halted"
    assert resume(made, (AREA, OPEN, "export")) == f"resumed {AREA} {OPEN} export for calm"
    assert place(made, "A2", "alice", "sell", 100, 9_000) == "accepted A2"


def test_an_empty_exchange_can_be_halted() -> None:
    made = market()
    made.engine.areas.clear()
    assert (halt(made, (None, None, None)), resume(made, (None, None, None))) == ("halted all for storm", "resumed all for calm")


ROOMY = feeder([[take // 2 for take in takes] for takes in COLUMNS])


def blocked(scope: Scope, **settings: object) -> Market:
    """C2 crosses A2 and is blocked; then there is a halt, and while it lasts rows come that have room."""
    made = market(feeder(), **settings).play("""
        place A1 alice sell 1660 @ 10000          rested 1660
        place C1 carol buy 1660 @ 10000           traded 1660 @ 10000 maker A1
        """)
    place(made, "A2", "alice", "sell", 400, 9_000)
    place(made, "C2", "carol", "buy", 300, 9_000)
    halt(made, scope)
    made.do(c.InstallRows(AREA, ROOMY.to_bytes()))
    export_w, import_w = made.engine.holdings(AREA, OPEN)
    change = c.ChangeRows(AREA, OPEN, ROOMY.content_hash, tuple(export_w + import_w), "limits", "cooler")
    assert story(made.do(change)) == "changed limits", "nobody trades under a halt"
    return made


@pytest.mark.parametrize("scope", [scope for scope, halted in SCOPES if halted[0]])
def test_what_new_rows_allowed_during_a_halt_trades_when_it_ends(scope: Scope) -> None:
    assert resume(blocked(scope), scope).split("; ")[1:] == ["pair C2 +300 A2 -300"]


def test_nothing_trades_before_the_last_halt_has_ended() -> None:
    made = blocked((AREA, None, None))
    halt(made, (None, OPEN, "export"))
    assert resume(made, (AREA, None, None)) == f"resumed {AREA} for calm"
    assert resume(made, (None, OPEN, "export")) == f"resumed {OPEN} export for calm; pair C2 +300 A2 -300"


def test_with_call_auctions_the_end_of_a_halt_begins_an_auction_in_every_interval_that_traded() -> None:
    made = blocked((AREA, None, None), call_auctions=True)
    assert resume(made, (AREA, None, None), "calm") == f"resumed {AREA} for calm; auction for calm; auction for calm"
    phases = {start: interval.phase for start, interval in made.engine.areas[AREA].intervals.items()}
    assert (phases[OPEN], phases[LATER]) == ("auction", "auction")


def test_a_call_auction_waits_for_the_last_halt_of_either_book_and_a_frozen_interval_has_none() -> None:
    made = market(call_auctions=True)
    made.do(c.EnterPhase(AREA, LATER, "frozen", "refresh"))
    for scope in ((AREA, None, None), (AREA, OPEN, "import")):
        halt(made, scope)
    assert resume(made, (AREA, None, None)) == f"resumed {AREA} for calm"
    assert resume(made, (AREA, OPEN, "import")) == f"resumed {AREA} {OPEN} import for calm; auction for calm"


def test_a_book_that_trades_again_beside_a_halted_one_wakes_and_the_auction_comes_with_the_other() -> None:
    made = blocked((AREA, OPEN, "export"), call_auctions=True)
    halt(made, (AREA, OPEN, "import"))
    assert resume(made, (AREA, OPEN, "export")) == f"resumed {AREA} {OPEN} export for calm; pair C2 +300 A2 -300"
    assert resume(made, (AREA, OPEN, "import")) == f"resumed {AREA} {OPEN} import for calm; auction for calm"


# --- the kill switch ----------------------------------------------------------------------------------------------


def suspend(made: Market, customer: str | None) -> str:
    return story(made.do(c.Suspend(AREA, customer, "fraud")))


def reinstate(made: Market, customer: str | None) -> str:
    return story(made.do(c.Reinstate(AREA, customer, "cleared")))


def full() -> Market:
    made = market()
    place(made, "A3", "alice", "sell", 300, 9_000, interval_ms=LATER)
    place(made, "A1", "alice", "sell", 100, 9_000)
    place(made, "A2", "alice", "buy", 200, 8_000)
    place(made, "B1", "bob", "sell", 100, 9_000)
    place(made, "K1", "alice", "buy", 100, 1_000, intervals=2)
    return made


def test_a_suspension_takes_the_orders_out_interval_by_interval_and_the_blocks_at_last() -> None:
    made = full()
    cancelled = "cancelled A2 200 suspended; cancelled A1 100 suspended; cancelled A3 300 suspended; cancelled K1 100 suspended"
    assert suspend(made, "alice") == f"{cancelled}; suspended alice for fraud"
    assert made.engine.open_orders(AREA, "alice") == []
    assert len(made.engine.open_orders(AREA, "bob")) == 1


def test_all_are_suspended_at_once() -> None:
    made = full()
    told = suspend(made, None).split("; ")
    assert [phrase.split()[1] for phrase in told] == ["A2", "A1", "B1", "A3", "K1", "None"]
    assert [place(made, f"{name}9", name, "sell", 100, 9_000) for name in ("alice", "bob", "carol")] == ["rejected suspended"] * 3
    assert reinstate(made, "alice") == "refused not_suspended", "that scope is not suspended, all are"
    assert reinstate(made, None) == "reinstated None for cleared"
    assert place(made, "A8", "alice", "sell", 100, 9_000) == "accepted A8"


def test_who_is_suspended_cannot_place_nor_replace_and_others_can() -> None:
    made = market()
    place(made, "A0", "alice", "sell", 500, 9_000)
    suspend(made, "alice")
    assert place(made, "A1", "alice", "sell", 100, 9_000) == "rejected suspended"
    assert place(made, "B1", "bob", "sell", 100, 9_000) == "accepted B1"
    assert story(made.do(c.MassCancel(AREA, "alice", "x1"))) == "0 orders"
    assert story(made.do(c.Replace(AREA, "alice", "r1", "A0", 300, 9_000))) == "rejected unknown_order", "what she had is cancelled"
    assert reinstate(made, "alice") == "reinstated alice for cleared"
    assert reinstate(made, "alice") == "refused not_suspended"
    assert place(made, "A2", "alice", "sell", 100, 9_000) == "accepted A2"


def test_a_suspension_of_all_does_not_end_that_of_one() -> None:
    made = market()
    suspend(made, "alice")
    suspend(made, None)
    reinstate(made, None)
    assert place(made, "A1", "alice", "sell", 100, 9_000) == "rejected suspended"
    assert place(made, "B1", "bob", "sell", 100, 9_000) == "accepted B1"


@pytest.mark.parametrize("command", [c.Suspend, c.Reinstate])
def test_the_kill_switch_names_an_area_and_a_customer_of_it(command: type) -> None:
    made = market()
    assert story(made.do(command("nowhere", "mallory", "fraud"))) == "refused unknown_area"
    assert story(made.do(command(AREA, "mallory", "fraud"))) == "refused unknown_customer"
    assert story(made.do(command(AREA, "~operator", "fraud"))) == "refused unknown_customer"


# --- bounds -------------------------------------------------------------------------------------------------------


def test_amended_terms_bound_the_orders_to_come_of_that_customer() -> None:
    made = market()
    place(made, "A1", "alice", "sell", 300, 9_000)
    assert story(made.do(c.AmendTerms(AREA, "alice", 200, 1, "audit"))) == "amended alice for audit"
    assert place(made, "A2", "alice", "sell", 210, 9_000) == "rejected quantity_over_bound"
    assert place(made, "A3", "alice", "sell", 200, 9_000) == "rejected too_many_open_orders"
    assert place(made, "B1", "bob", "sell", 300, 9_100) == "accepted B1"
    assert [order.open_w for order in made.engine.open_orders(AREA, "alice")] == [300], "what rests stays"


def test_terms_that_do_not_hold_together_or_of_nobody_are_refused() -> None:
    made = market()
    for bounds in ((0, 1), (1, 0), (-5, 1)):
        assert story(made.do(c.AmendTerms(AREA, "alice", *bounds, "audit"))) == "refused invalid_settings"
    assert story(made.do(c.AmendTerms("nowhere", "alice", 1, 1, "audit"))) == "refused unknown_area"
    assert story(made.do(c.AmendTerms(AREA, "mallory", 0, 1, "audit"))) == "refused unknown_customer"


def amend(made: Market, **fields: object) -> str:
    return story(made.do(c.AmendSettings(AREA, msgspec.structs.replace(SETTINGS, **fields), "review")))


OTHER = {"interval_ms": 1_800_000, "tick_mct": 20, "lot_w": 20, "self_trade": "allow", "matching": "exchange_rate"}


@pytest.mark.parametrize("name", FIXED_SETTINGS)
def test_what_an_area_is_built_on_cannot_be_amended(name: str) -> None:
    made = market()
    (refused,) = made.do(c.AmendSettings(AREA, msgspec.structs.replace(SETTINGS, **{name: OTHER[name]}), "review"))
    assert (story([refused]), refused.detail) == (  # type: ignore[union-attr]
        "refused invalid_settings", f"{name} is {getattr(SETTINGS, name)} for as long as the area lives",
    )  # fmt: skip


def test_amended_settings_hold_for_the_orders_to_come() -> None:
    made = market()
    place(made, "A1", "alice", "sell", 100, 9_000)
    assert amend(made, price_mct_max=5_000, call_auctions=True) == "amended settings for review"
    assert place(made, "A2", "alice", "sell", 100, 9_000) == "rejected price_out_of_band"
    assert made.engine.queue(AREA, OPEN, "export", "sell") == [("alice", "A1", 9_000, 100)]
    halt(made, (AREA, OPEN, None))
    assert resume(made, (AREA, OPEN, None)).endswith("auction for calm")


def test_settings_that_do_not_hold_together_are_refused() -> None:
    assert amend(market(), price_mct_max=-1) == "refused invalid_settings"
    assert story(market().do(c.AmendSettings("nowhere", MarketSettings(), "review"))) == "refused unknown_area"


# --- what is kept -------------------------------------------------------------------------------------------------


def test_what_the_operator_did_survives_a_snapshot() -> None:
    made = full()
    halt(made, (None, LATER, "import"))
    suspend(made, None)
    suspend(made, "bob")
    amend(made, collar_mct=500)
    made.do(c.AmendTerms(AREA, "carol", 10, 1, "audit"))
    again = load(dump(made.engine))
    assert dump(again) == dump(made.engine)
    assert again.halts == {(None, LATER, "import"): "storm"}
    assert again.areas[AREA].suspended == {None: "fraud", "bob": "fraud"}
    assert (again.areas[AREA].terms, again.areas[AREA].settings) == (made.engine.areas[AREA].terms, made.engine.areas[AREA].settings)
