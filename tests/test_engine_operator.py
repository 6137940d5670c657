"""What opens the market and drives its clock: done whole, or refused with the first reason that holds in the documented order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import msgspec
import pytest

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.events import Refused
from exchange.rejects import Reason
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, CLOSED, OPEN, SETTINGS, UNKNOWN, Market, terms_of
from tests.story import story

ROWS = Polytope.from_rows([[1.0] * 6], [40_000.0], [RowLabel("thermal", "transformer", "abc")], [10_000] * 6)
FIVE = (5_000, 5_000, 5_000)
OPENING = c.OpenInterval(AREA, 4 * OPEN, ROWS.content_hash, FIVE, FIVE)


def change(**fields: object) -> Callable[[c.OpenInterval], c.OpenInterval]:
    return lambda command: msgspec.structs.replace(command, **fields)


OPENING_SPOILERS: dict[Reason, Callable[[c.OpenInterval], c.OpenInterval]] = {
    Reason.UNKNOWN_AREA: change(area="nowhere"),
    Reason.UNKNOWN_ROWS: change(rows_hash="no such rows"),
    Reason.INTERVAL_EXISTS: change(interval_ms=OPEN),
    Reason.OFF_GRID: change(interval_ms=4 * OPEN + 1),
    Reason.INVALID_ALLOCATION: change(export_w=(5_000, 5_000, 999)),
    Reason.INSECURE_ALLOCATION: change(import_w=(10_000, 10_000, 9_000)),
}


# An interval that exists is on the grid: these two cannot hold together.
OPENING_PAIRS = [pair for pair in combinations(OPENING_SPOILERS, 2) if pair != (Reason.INTERVAL_EXISTS, Reason.OFF_GRID)]


@pytest.mark.parametrize("reasons", [*combinations(OPENING_SPOILERS, 1), *OPENING_PAIRS], ids="+".join)
def test_opening_an_interval_names_the_earlier_reason(reasons: tuple[Reason, ...]) -> None:
    market, command = Market(), OPENING
    market.do(c.InstallRows(AREA, ROWS.to_bytes()))
    for reason in reversed(reasons):
        command = OPENING_SPOILERS[reason](command)
    assert market.tell(command) == f"refused {reasons[0]}"
    assert market.tell(OPENING) == "opened"


@pytest.mark.parametrize(
    "export_w",
    [(), (5_000,) * 2, (5_000,) * 4, (5_000, 5_000, 10_010), (5_000, 5_000, -1), (5_000, 5_000, 990)],
    ids=["none", "too few", "too many", "above the rating", "negative", "below the failsafe"],
)
def test_an_allocation_lies_between_failsafe_and_rating(export_w: tuple[int, ...]) -> None:
    market = Market()
    assert market.tell(c.OpenInterval(AREA, 4 * OPEN, market.rows.content_hash, export_w, FIVE)) == "refused invalid_allocation"
    assert market.tell(c.OpenInterval(AREA, 4 * OPEN, market.rows.content_hash, FIVE, export_w)) == "refused invalid_allocation"


SETTINGS_PROBLEMS = [
    MarketSettings(tick_mct=0), MarketSettings(lot_w=0), MarketSettings(interval_ms=0), MarketSettings(self_trade="sometimes"),
    MarketSettings(price_mct_min=10, price_mct_max=0), MarketSettings(price_mct_min=-1), MarketSettings(price_mct_max=2 * 10**9),
]  # fmt: skip
TERMS_PROBLEMS = [
    (), terms_of("alice", "alice"), terms_of(""), terms_of("alice", failsafe_w=2, rating_w=1), terms_of("alice", failsafe_w=-1),
    terms_of("alice", open_orders_max=0), (CustomerTerms("alice", 2**31, 1, 0, 0),), (CustomerTerms("alice", 1, 1, 0, 0, 0),),
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS_PROBLEMS)
def test_settings_that_do_not_hold_together_are_refused(settings: MarketSettings) -> None:
    assert Market().tell(c.OpenArea("other", settings, terms_of("alice"))) == "refused invalid_settings"


@pytest.mark.parametrize("terms", TERMS_PROBLEMS)
def test_terms_that_do_not_hold_together_are_refused(terms: tuple[CustomerTerms, ...]) -> None:
    assert Market().tell(c.OpenArea("other", SETTINGS, terms)) == "refused invalid_settings"


REFUSALS: list[tuple[c.OperatorCommand, str]] = [
    (c.OpenArea(AREA, SETTINGS, terms_of("alice")), "refused area_exists"),
    (c.OpenArea(AREA, MarketSettings(tick_mct=0), terms_of("alice")), "refused invalid_settings"),
    (c.InstallRows("nowhere", b""), "refused unknown_area"),
    (c.InstallRows(AREA, b""), "refused invalid_rows"),
    (c.InstallRows(AREA, b"\x93\x06\x01"), "refused invalid_rows"),
    (c.InstallRows(AREA, Polytope.unlimited(4).to_bytes()), "refused invalid_rows"),
    (c.OpenArea(AREA, SETTINGS, terms_of("alice", "~operator")), "refused invalid_settings"),
    (c.CloseGate("nowhere", OPEN), "refused unknown_area"),
    (c.CloseGate(AREA, UNKNOWN), "refused unknown_interval"),
    (c.CloseGate(None, UNKNOWN), "refused unknown_interval"),
    (c.CloseGate(AREA, CLOSED), "refused gate_closed"),
    (c.CloseGate(None, CLOSED), "refused gate_closed"),
    (c.RetireInterval("nowhere", CLOSED), "refused unknown_area"),
    (c.RetireInterval(AREA, UNKNOWN), "refused unknown_interval"),
    (c.RetireInterval(AREA, OPEN), "refused gate_open"),
    (c.Halt("nowhere", None, "storm"), "refused unknown_area"),
    (c.Resume("nowhere", None, "calm"), "refused unknown_area"),
    (c.Resume(AREA, None, "calm"), "refused not_halted"),
    (c.Advance(-1), "refused time_backwards"),
]


@pytest.mark.parametrize(("command", "answer"), REFUSALS, ids=lambda value: str(value)[:60])
def test_the_operator_is_refused_by_name_and_nothing_changes(command: c.OperatorCommand, answer: str) -> None:
    market = Market()
    events = market.do(command)
    assert market.told(events) == answer
    assert isinstance(events[0], Refused) and events[0].command == command.__struct_config__.tag and events[0].detail
    market.play("""
        place A1 alice sell 500 @ 12300       rested 500
        close 2700000                         cancelled A1 500 gate; closed
        """)


def test_time_that_passes_ends_orders_in_the_order_of_their_ends_block_orders_too() -> None:
    """Of two that end at once, the one that came first."""
    market = Market()
    market.do(c.OpenInterval(AREA, 4 * 900_000, market.rows.content_hash, FIVE, FIVE))
    for name, until_ms, fields in (
        ("A1", 300, {}), ("A2", 100, {"intervals": 2}), ("A3", 100, {"display_w": 50}), ("A4", 400, {}), ("A5", 200, {"side": "buy"}),
    ):  # fmt: skip
        command = c.Place(AREA, "alice", name, OPEN, "export", "sell", 100, 10 if fields.get("side") else 20, "until", until_ms)
        market.do(msgspec.structs.replace(command, **fields))
    assert story(market.do(c.Advance(300))) == (
        "cancelled A2 100 expired; cancelled A3 100 expired; cancelled A5 100 expired; cancelled A1 100 expired; advanced 300"
    )
    assert [order.order_id for order in market.engine.open_orders(AREA, "alice")] == ["A4"]
    assert market.engine.next_expiry_ms() == 400


def test_closing_the_gate_everywhere_goes_through_the_areas_by_name() -> None:
    market, rows = Market(), Polytope.unlimited(2)
    for name in ("west", "east"):
        market.do(c.OpenArea(name, SETTINGS, terms_of("alice")))
        market.do(c.InstallRows(name, rows.to_bytes()))
        market.do(c.OpenInterval(name, OPEN, rows.content_hash, (5_000,), (5_000,)))
        market.do(c.Place(name, "alice", "A1", OPEN, "export", "sell", 100, 10))
    closed = market.do(c.CloseGate(None, OPEN))
    assert story(closed) == (
        "cancelled A1 100 gate; closed east 2700000; closed feeder 2700000; cancelled A1 100 gate; closed west 2700000"
    )  # fmt: skip
    assert [event.sequence for event in closed] == list(range(closed[0].sequence, closed[0].sequence + 5))
